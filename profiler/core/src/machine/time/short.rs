//! What a thread did in pieces that are too short to be kept one by one: sums by kind.
//!
//! In: short pieces, in the order of the thread. Out: [`ShortRun`]s: contiguous, a few milliseconds long.

use crate::event::Slice;
use crate::machine::lock::gil::Part;
use crate::machine::time::piece::Piece;
use crate::phase::Phase;

/// What is shorter is not kept by itself: it is added up by kind.
pub const LONG_NS: u64 = 1_000_000;
/// A run is no longer: a long sum would blur when what happened.
const LONGEST_RUN_NS: u64 = 8_000_000;

/// Sums of what was short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Short {
    /// On a CPU.
    pub ran_ns: u32,
    /// Ready, without a CPU.
    pub queued_ns: u32,
    /// Waits for the interpreter lock.
    pub gil_ns: u32,
    /// Waits for work.
    pub idle_ns: u32,
    /// All other sleeps.
    pub slept_ns: u32,
    /// System calls.
    pub calls: u32,
    /// Of these: waits for descriptors that returned at once.
    pub looks: u32,
}

/// Nanoseconds of something short.
pub fn short_ns(ns: u64) -> u32 {
    u32::try_from(ns).unwrap_or(u32::MAX)
}

impl Short {
    /// Most of the calls look whether anything is ready, and something always is: more than five in a
    /// millisecond of computing, and nothing is done about it.
    pub(in crate::machine) const fn spins(&self) -> bool {
        self.calls > 0
            && self.looks.saturating_mul(10) >= self.calls.saturating_mul(9)
            && self.looks as u64 * 200_000 > self.ran_ns as u64
            && self.ran_ns > self.slept_ns
    }

    /// The parts that others are waited for in.
    pub(in crate::machine) const fn busy_ns(&self) -> u64 {
        self.ran_ns as u64 + self.queued_ns as u64 + self.gil_ns as u64 + self.slept_ns as u64
    }

    /// Adds a piece.
    pub fn take(&mut self, piece: &Piece, is_idle: bool) {
        let account = piece.account;
        let ran = if piece.cpu == Phase::GilWait { &mut self.gil_ns } else { &mut self.ran_ns };
        *ran = ran.saturating_add(short_ns(account.cpu_ns));
        self.queued_ns = self.queued_ns.saturating_add(short_ns(account.run_queue_ns));
        let slept = match piece.blocked {
            _ if is_idle => &mut self.idle_ns,
            Phase::GilWait => &mut self.gil_ns,
            _ => &mut self.slept_ns,
        };
        *slept = slept.saturating_add(short_ns(account.blocked_ns));
    }

    /// Adds the sums of another.
    pub fn add(&mut self, more: &Self) {
        self.ran_ns = self.ran_ns.saturating_add(more.ran_ns);
        self.queued_ns = self.queued_ns.saturating_add(more.queued_ns);
        self.gil_ns = self.gil_ns.saturating_add(more.gil_ns);
        self.idle_ns = self.idle_ns.saturating_add(more.idle_ns);
        self.slept_ns = self.slept_ns.saturating_add(more.slept_ns);
        self.calls = self.calls.saturating_add(more.calls);
        self.looks = self.looks.saturating_add(more.looks);
    }
}

/// A stretch of short pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortRun {
    /// Start; 0: there is none.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// The request that it was for, plus 1; 0: none.
    pub request: u64,
    /// What was done in it.
    pub short: Short,
}

impl ShortRun {
    /// Whether a stretch from `start_ns` to `end_ns`, for this request, can be part of it.
    #[inline]
    pub const fn can_take(&self, start_ns: u64, end_ns: u64, request: u64) -> bool {
        self.end_ns == start_ns
            && end_ns.saturating_sub(start_ns) < LONG_NS
            && end_ns.saturating_sub(self.start_ns) <= LONGEST_RUN_NS
            && (self.request == request || end_ns.saturating_sub(self.start_ns) < LONG_NS)
    }

    /// Adds a gap and the call after it. `part`: what they are of a wait for the interpreter lock.
    #[inline]
    pub fn take(&mut self, slice: &Slice, part: Part, is_idle: bool, request: u64) {
        self.end_ns = slice.exit_ns;
        if request > 0 {
            // A thread that turns to a request within the stretch worked for that, most likely.
            self.request = request;
        }
        let (gap, inside, sums) = (&slice.gap, &slice.inside, &mut self.short);
        sums.calls += 1;
        let queued_ns = gap.run_queue_ns.wrapping_add(inside.run_queue_ns);
        sums.queued_ns = sums.queued_ns.wrapping_add(low(queued_ns));
        if part != Part::None {
            return sums.take_wait(slice, part);
        }
        sums.ran_ns = sums.ran_ns.wrapping_add(low(gap.cpu_ns.wrapping_add(inside.cpu_ns)));
        if gap.blocked_ns | inside.blocked_ns != 0 {
            sums.slept_ns = sums.slept_ns.wrapping_add(low(gap.blocked_ns));
            let slept = if is_idle { &mut sums.idle_ns } else { &mut sums.slept_ns };
            *slept = slept.wrapping_add(low(inside.blocked_ns));
        }
    }
}

/// Of what is shorter than [`LONG_NS`] all of it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a slice that can be taken is shorter than a millisecond"
)]
const fn low(ns: u64) -> u32 {
    ns as u32
}

impl Short {
    /// Adds a gap and a call that are part of a wait for the interpreter lock.
    #[inline(never)]
    fn take_wait(&mut self, slice: &Slice, part: Part) {
        let (gap, inside) = (&slice.gap, &slice.inside);
        self.gil_ns = self.gil_ns.wrapping_add(low(inside.cpu_ns.wrapping_add(inside.blocked_ns)));
        let of_gap = if part == Part::Again { &mut self.gil_ns } else { &mut self.ran_ns };
        *of_gap = of_gap.wrapping_add(low(gap.cpu_ns));
        self.slept_ns = self.slept_ns.wrapping_add(low(gap.blocked_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Call;

    fn slice((gap_ns, enter_ns, exit_ns): (u64, u64, u64)) -> Slice {
        Slice::on_cpu(Call::Other, (gap_ns, enter_ns, exit_ns))
    }

    #[test]
    fn a_run_is_contiguous_and_short_and_for_one_request_if_it_is_long_enough() {
        let run = ShortRun { start_ns: 1_000_000, end_ns: 3_000_000, request: 5, ..ShortRun::default() };
        assert!(run.can_take(3_000_000, 3_500_000, 5));
        assert!(!run.can_take(3_000_001, 3_500_000, 5), "a hole");
        assert!(!run.can_take(3_000_000, 4_000_000, 5), "no short piece");
        assert!(!run.can_take(3_000_000, 3_500_000, 6), "another request");
        let young = ShortRun { start_ns: 2_900_000, ..run };
        assert!(young.can_take(3_000_000, 3_500_000, 6), "too short to be that one's alone");
        let old = ShortRun { start_ns: 1_000_000, end_ns: 8_800_000, ..run };
        assert!(!old.can_take(8_800_000, 9_100_000, 5), "it would blur");
    }

    #[test]
    fn sums_are_by_kind_and_the_last_request_counts() {
        let mut run = ShortRun { start_ns: 100, end_ns: 100, ..ShortRun::default() };
        run.take(&slice((100, 130, 150)), Part::None, false, 0);
        let mut sleeps = slice((150, 160, 200));
        (sleeps.inside.cpu_ns, sleeps.inside.blocked_ns) = (5, 35);
        run.take(&sleeps, Part::None, true, 7);
        run.take(&Slice { enter_ns: 210, exit_ns: 240, ..sleeps }, Part::First, false, 0);
        let expected = Short { ran_ns: 50 + 15 + 10, gil_ns: 40, idle_ns: 35, calls: 3, ..Short::default() };
        assert_eq!((run.short, run.request, run.end_ns), (expected, 7, 240));
    }
}
