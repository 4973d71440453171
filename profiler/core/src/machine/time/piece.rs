//! A thread's time, piece by piece: what it did since it last finished something.
//!
//! In: slices, in the order of the thread. Out: [`Piece`]s, contiguous, until they are given to a request or
//! to the slot.

use std::collections::VecDeque;

use profiler_common::record::slice::{FLAG_GAP_BLOCKED_MIXED, NO_CALL, PAGE_FAULT};
use profiler_common::system_call::CLOSE;

use crate::event::{Slice, Tid};
use crate::fact::Account;
use crate::machine::lock::gil::Part;
use crate::machine::lock::gil_held::Held;
use crate::machine::lock::gil_holder::{HeldBy, Holders};
use crate::machine::lock::gil_waits::{EndedAttempt, EndedAttempts};
use crate::machine::world::classify::{Idle, Meaning, gap_sleep_phase};
use crate::model::slot::Holding;
use crate::phase::{Phase, Phases};
use crate::timeline::ThreadState;

/// Pieces kept one by one; older ones are added up.
const MAX_PIECES: usize = 256;

/// A stretch of a thread's time with its account: a gap or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Start.
    pub start_ns: u64,
    /// End; the account adds up to the difference.
    pub end_ns: u64,
    /// Where its time went.
    pub account: Account,
    /// The part of the sleep that was page faults.
    pub fault_ns: u64,
    /// The part of the sleep that may have been run queue or CPU: its end was not seen.
    pub undecided_ns: u64,
    /// Phase of its CPU time.
    pub cpu: Phase,
    /// Phase of its sleep beside page faults.
    pub blocked: Phase,
    /// The piece is a wait for the client to send: what follows the arrival is the wakeup.
    pub waits_for_client: bool,
    /// What holds the slot meanwhile if no request does; `None`: the slot is free.
    pub holding: Option<Holding>,
    /// Who had the interpreter lock, if it is a wait for that.
    pub held_by: Holders,
}

/// Whether the decided sleep of the gap was for several things, or may have been: it is not known how much
/// for each.
const fn slept_for_several(slice: &Slice) -> bool {
    slice.flags & FLAG_GAP_BLOCKED_MIXED != 0 || slice.undecided.gap_ns > 0 && slice.in_gap.fault_ns > 0
}

impl Piece {
    /// The gap before a slice.
    #[inline]
    pub fn gap(slice: &Slice) -> Self {
        let is_awake = slice.gap.blocked_ns == 0 && slice.in_gap.blocked_call == NO_CALL;
        let (fault_ns, undecided_ns, blocked) =
            if is_awake { (0, 0, Phase::FaultWait) } else { Self::sleep_of_gap(slice) };
        Self {
            start_ns: slice.gap_start_ns(),
            end_ns: slice.enter_ns,
            account: slice.gap,
            fault_ns,
            undecided_ns,
            cpu: Phase::Cpu,
            blocked,
            waits_for_client: false,
            holding: Some(Holding::Housekeeping),
            held_by: Holders::NONE,
        }
    }

    /// Of the sleep in the gap before a slice: page faults, what is undecided, and the phase of the rest.
    fn sleep_of_gap(slice: &Slice) -> (u64, u64, Phase) {
        let undecided_ns = slice.gap_undecided_ns();
        let decided_ns = slice.gap.blocked_ns.saturating_sub(undecided_ns);
        let fault_ns = if undecided_ns == 0 { slice.in_gap.fault_ns.min(decided_ns) } else { 0 };
        let other_sleep = decided_ns > fault_ns;
        let blocked = match slice.in_gap.blocked_call {
            NO_CALL | PAGE_FAULT if other_sleep => Phase::Unexplained,
            NO_CALL | PAGE_FAULT => Phase::FaultWait,
            _ if slept_for_several(slice) => Phase::Unexplained,
            call => gap_sleep_phase(call),
        };
        (fault_ns, undecided_ns, blocked)
    }

    /// The gap after the close of a file. A sleep on the way out of that call is the file system's: `__fput`
    /// runs as the thread's own work, after the call's end (fs/file_table.c).
    pub const fn after_close_of_file(mut self, slice: &Slice) -> Self {
        if !slept_for_several(slice) && slice.in_gap.blocked_call == CLOSE as i32 {
            self.blocked = Phase::FileWait;
        }
        self
    }

    /// The call of a slice.
    pub fn call(slice: &Slice, meaning: &Meaning) -> Self {
        Self {
            start_ns: slice.enter_ns,
            end_ns: slice.exit_ns,
            account: slice.inside,
            fault_ns: 0,
            undecided_ns: slice.call_undecided_ns(),
            cpu: meaning.cpu,
            blocked: meaning.blocked,
            waits_for_client: meaning.blocked == Phase::ClientReadStall,
            holding: Some(Holding::Housekeeping),
            held_by: Holders::NONE,
        }
    }

    /// A stretch of which nothing is known (lost slices).
    pub const fn unknown(start_ns: u64, end_ns: u64) -> Self {
        Self {
            start_ns,
            end_ns,
            account: Account { cpu_ns: 0, run_queue_ns: 0, blocked_ns: end_ns.saturating_sub(start_ns) },
            fault_ns: 0,
            undecided_ns: 0,
            cpu: Phase::Unexplained,
            blocked: Phase::Unexplained,
            waits_for_client: false,
            holding: Some(Holding::Housekeeping),
            held_by: Holders::NONE,
        }
    }

    /// Length.
    pub const fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Whether all of it lies from `from_ns` on, and its account is no longer than it is.
    fn is_sound(&self, from_ns: u64) -> bool {
        let Account { cpu_ns, run_queue_ns, blocked_ns } = self.account;
        let sum_ns = cpu_ns.checked_add(run_queue_ns).and_then(|sum_ns| sum_ns.checked_add(blocked_ns));
        self.start_ns >= from_ns
            && self.start_ns <= self.end_ns
            && sum_ns.is_some_and(|sum_ns| sum_ns <= self.length_ns())
            && self.fault_ns.saturating_add(self.undecided_ns) <= blocked_ns
    }

    /// The part from `from_ns` on, with an account no longer than itself. `None`: there is none, or it ends
    /// before it begins.
    fn sound(mut self, from_ns: u64) -> Option<Self> {
        self.start_ns = self.start_ns.max(from_ns);
        let length_ns = self.end_ns.checked_sub(self.start_ns)?;
        self.account = self.account.at_most(length_ns);
        self.undecided_ns = self.undecided_ns.min(self.account.blocked_ns);
        self.fault_ns = self.fault_ns.min(self.account.blocked_ns.saturating_sub(self.undecided_ns));
        Some(self)
    }

    /// Phases of the part from `from_ns` on; they add up to that part's length exactly.
    pub fn phases_from(&self, from_ns: u64) -> Phases {
        let mut phases = Phases::default();
        self.add_from(from_ns, &mut phases);
        phases
    }

    /// What the thread surely did in a part of it, or waited for at its own request. That is what the rest
    /// cannot hold, in whatever order things came. Waits for a CPU, a lock or a thread are left out, and
    /// so is what is not known.
    pub fn surely_done_within(&self, from_ns: u64, until_ns: u64) -> Phases {
        let mut phases = Phases::default();
        let part_ns = until_ns.min(self.end_ns).saturating_sub(from_ns.max(self.start_ns));
        let rest_ns = self.length_ns().saturating_sub(part_ns);
        let Account { cpu_ns, blocked_ns, .. } = self.account;
        let sleep_ns = blocked_ns.saturating_sub(self.fault_ns).saturating_sub(self.undecided_ns);
        let all = [(self.cpu, cpu_ns), (Phase::FaultWait, self.fault_ns), (self.blocked, sleep_ns)];
        let is_done = |phase| {
            !matches!(phase, Phase::RunQueue | Phase::GilWait | Phase::LockWait | Phase::PoolWait)
                && phase != Phase::Unexplained
        };
        for (phase, ns) in all.into_iter().filter(|(phase, _)| is_done(*phase)) {
            phases.add(phase, ns.saturating_sub(rest_ns).min(part_ns));
        }
        phases
    }

    /// Adds all of it, where all of its sleep was for one thing: nearly every piece.
    #[inline]
    fn add_whole(&self, phases: &mut Phases) {
        let Account { cpu_ns, run_queue_ns, blocked_ns } = self.account;
        phases.add(self.cpu, cpu_ns);
        if run_queue_ns > 0 {
            phases.add(Phase::RunQueue, run_queue_ns);
        }
        if blocked_ns > 0 {
            phases.add(self.blocked, blocked_ns);
        }
        let unknown_ns = self.length_ns().saturating_sub(self.account.total_ns());
        if unknown_ns > 0 {
            phases.add(Phase::Unexplained, unknown_ns);
        }
    }

    /// Adds the phases of the part from `from_ns` on to `phases`.
    fn add_from(&self, from_ns: u64, phases: &mut Phases) {
        let part_ns = self.end_ns.saturating_sub(from_ns.max(self.start_ns));
        if part_ns == 0 {
            return;
        }
        if part_ns == self.length_ns() && self.fault_ns == 0 && self.undecided_ns == 0 {
            return self.add_whole(phases);
        }
        let Account { cpu_ns, run_queue_ns, blocked_ns } = self.account;
        let sleep_ns = blocked_ns.saturating_sub(self.fault_ns).saturating_sub(self.undecided_ns);
        // By account: on a CPU, in the run queue, in page faults, asleep otherwise. What is undecided is in
        // none of them.
        let own_ns = if part_ns == self.length_ns() {
            [cpu_ns, run_queue_ns, self.fault_ns, sleep_ns]
        } else if run_queue_ns == 0 && blocked_ns == 0 {
            [part_ns, 0, 0, 0]
        } else if self.waits_for_client || blocked_ns > 0 && self.cpu != Phase::Cpu {
            // Only a part counts. A wait ends with its wakeup: sleep, then run queue, then CPU.
            let run_queue_ns = run_queue_ns.min(part_ns);
            let cpu_ns = cpu_ns.min(part_ns - run_queue_ns);
            let rest_ns =
                part_ns.saturating_sub(run_queue_ns).saturating_sub(cpu_ns).saturating_sub(self.undecided_ns);
            // What is left of a wait for the client after its bytes arrived is the wakeup itself.
            if self.waits_for_client {
                [cpu_ns + rest_ns, run_queue_ns, 0, 0]
            } else {
                [cpu_ns, run_queue_ns, 0, rest_ns]
            }
        } else {
            // In which order it ran and slept is not known. What the rest of the piece cannot hold lies in
            // the part.
            let length_ns = self.length_ns();
            [cpu_ns, run_queue_ns, self.fault_ns, sleep_ns]
                .map(|ns| part_ns.saturating_sub(length_ns.saturating_sub(ns)))
        };
        // By law 1 the account of a slice adds up, except for what is undecided. If it does not, the
        // difference is shown.
        let known_ns = own_ns.iter().fold(0u64, |sum, ns| sum.saturating_add(*ns));
        let [cpu_ns, run_queue_ns, fault_ns, sleep_ns] = own_ns;
        phases.add(self.cpu, cpu_ns);
        phases.add(Phase::RunQueue, run_queue_ns);
        phases.add(Phase::FaultWait, fault_ns);
        phases.add(self.blocked, sleep_ns);
        phases.add(Phase::Unexplained, part_ns.saturating_sub(known_ns));
    }
}

/// Adds the part of a piece from `from_ns` on, and who had the interpreter lock in it.
pub(in crate::machine) fn give(piece: &Piece, from_ns: u64, phases: &mut Phases, held: &mut Held) {
    if piece.held_by == Holders::NONE {
        return piece.add_from(from_ns, phases);
    }
    let before_ns = phases.get(Phase::GilWait);
    piece.add_from(from_ns, phases);
    let wait_ns = phases.get(Phase::GilWait).saturating_sub(before_ns);
    let Holders { first, then } = piece.held_by;
    let later =
        |(since_ns, by)| (piece.phases_from(from_ns.max(since_ns)).get(Phase::GilWait).min(wait_ns), by);
    let (later_ns, by) = then.map_or((0, HeldBy::UNKNOWN), later);
    held.add(first, wait_ns - later_ns);
    held.add(by, later_ns);
}

/// A thread with these sums was held from `start_ns` to `end_ns`.
pub(in crate::machine) fn hold(
    holding_ns: &mut [u64; Holding::COUNT],
    holding: Holding,
    start_ns: u64,
    end_ns: u64,
) {
    if let Some(sum_ns) = holding_ns.get_mut(holding as usize) {
        *sum_ns = sum_ns.saturating_add(end_ns.saturating_sub(start_ns));
    }
}

impl Part {
    /// Takes the wait into account in the meaning of the slice's call, and in the gap before it.
    #[inline]
    pub fn apply(self, meaning: &mut Meaning, gap: &mut Piece) {
        if self == Self::None {
            return;
        }
        meaning.idle = Idle::No;
        if self == Self::Handover {
            // The wait has no timeout, like a wait for work; it is none.
            meaning.state = ThreadState::LockWait;
            return;
        }
        if self == Self::Again {
            gap.cpu = Phase::GilWait;
        }
        (meaning.cpu, meaning.blocked) = (Phase::GilWait, Phase::GilWait);
        meaning.state = ThreadState::GilWait;
    }
}

/// The time of a thread, for a request to take.
#[derive(Debug)]
pub struct ThreadTime<'a> {
    /// Its process.
    pub tgid: Tid,
    /// The thread.
    pub tid: Tid,
    /// Start of what is known of it, as long as it has finished no request.
    pub new_since_ns: Option<u64>,
    /// What it did since it last finished something.
    pub pending: &'a mut Pending,
    /// Time by what held it beside requests.
    pub holding_ns: &'a mut [u64; Holding::COUNT],
    /// End of what requests have claimed of it.
    pub claimed_until_ns: u64,
}

/// What a thread did since it last finished something, in contiguous pieces.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    pieces: VecDeque<Piece>,
    folded: Phases,
    folded_until_ns: u64,
    /// Pieces that ended before they began, or began before the one before them ended.
    impossible: u64,
    /// Who had the interpreter lock in what is folded.
    folded_held: Held,
    /// Waits for it that have ended, where each is asked for.
    waits: EndedAttempts,
}

impl Pending {
    /// Adds the next piece. Beyond the bound the oldest one is added up with those before it. Each piece
    /// follows the one before: what lies before the end of the last one is cut off and counted.
    #[inline]
    pub fn push(&mut self, piece: Piece) {
        if self.pieces.len() < MAX_PIECES && piece.is_sound(self.end_ns()) {
            self.pieces.push_back(piece);
        } else {
            self.push_beyond(piece);
        }
    }

    /// Adds a piece that cannot be as it is reported, or that is one too many.
    #[cold]
    fn push_beyond(&mut self, mut piece: Piece) {
        let from_ns = self.end_ns();
        if !piece.is_sound(from_ns) {
            self.impossible = self.impossible.saturating_add(1);
            let Some(sound) = piece.sound(from_ns) else { return };
            piece = sound;
        }
        if self.pieces.len() >= MAX_PIECES
            && let Some(oldest) = self.pieces.pop_front()
        {
            give(&oldest, oldest.start_ns, &mut self.folded, &mut self.folded_held);
            self.folded_until_ns = oldest.end_ns;
        }
        self.pieces.push_back(piece);
    }

    /// What lies between these times held its thread by this; `None`: nothing held it.
    pub(in crate::machine) fn hold_by(&mut self, holding: Option<Holding>, (from_ns, until_ns): (u64, u64)) {
        let within = |piece: &&mut Piece| piece.start_ns >= from_ns && piece.end_ns <= until_ns;
        self.pieces.iter_mut().filter(within).for_each(|piece| piece.holding = holding);
    }

    /// A wait for the interpreter lock has ended.
    pub fn has_waited(&mut self, wait: EndedAttempt) {
        self.waits.add(wait);
    }

    /// Adds all of `other`, which comes after what is here.
    pub fn append(&mut self, mut other: Self) {
        if other.folded_until_ns > 0 {
            let start_ns = other.folded_until_ns.saturating_sub(other.folded.total_ns());
            self.push(Piece::unknown(start_ns, other.folded_until_ns));
        }
        for piece in other.pieces.drain(..) {
            self.push(piece);
        }
        self.waits.add_all(other.waits);
    }

    /// End of the last piece; 0: there is none.
    fn end_ns(&self) -> u64 {
        self.pieces.back().map_or(self.folded_until_ns, |piece| piece.end_ns)
    }

    /// Pieces since the last call of this that could not be true as reported.
    pub const fn take_impossible(&mut self) -> u64 {
        std::mem::replace(&mut self.impossible, 0)
    }

    /// Start of what is kept one by one.
    pub fn start_ns(&self) -> Option<u64> {
        self.pieces.front().map(|piece| piece.start_ns)
    }

    /// Whether in it the thread slept on purpose, or waited for a back end, a file or a child process.
    pub fn has_worked_and_waited(&self) -> bool {
        self.pieces.iter().any(|piece| {
            piece.account.blocked_ns > piece.fault_ns
                && matches!(
                    piece.blocked,
                    Phase::Sleep | Phase::BackendWait | Phase::FileWait | Phase::ChildWait
                )
        })
    }

    /// Gives all time from `from_ns` on to the caller. The phases add up to the time from `from_ns` to the
    /// end of the last piece (zero if that is earlier). `each` gets every piece with the point from which
    /// it was taken. Who had the interpreter lock meanwhile is added to `held`.
    pub fn take_from(&mut self, from_ns: u64, held: &mut Held, mut each: impl FnMut(&Piece, u64)) -> Phases {
        let mut phases = Phases::default();
        let end_ns = self.end_ns();
        if self.folded_until_ns > 0 {
            let folded_ns = self.folded.total_ns();
            if from_ns <= self.folded_until_ns.saturating_sub(folded_ns) {
                phases.add_all(&self.folded);
                held.add_all(&self.folded_held);
            } else {
                phases.add(Phase::Unexplained, self.folded_until_ns.saturating_sub(from_ns));
            }
        }
        for piece in &self.pieces {
            give(piece, from_ns, &mut phases, held);
            each(piece, from_ns.max(piece.start_ns).min(piece.end_ns));
        }
        self.pieces.clear();
        self.clear_folded();
        self.take_waits(from_ns, end_ns, held);
        let whole_ns = end_ns.saturating_sub(from_ns);
        phases.add(Phase::Unexplained, whole_ns.saturating_sub(phases.total_ns()));
        phases
    }

    /// Takes the pieces that end at `until_ns` or before: phases of their parts from `from_ns` on.
    pub fn take_until(&mut self, until_ns: u64, from_ns: u64, held: &mut Held) -> Phases {
        let mut phases = Phases::default();
        if self.folded_until_ns > 0 && self.folded_until_ns <= until_ns {
            let start_ns = self.folded_until_ns.saturating_sub(self.folded.total_ns());
            if from_ns <= start_ns {
                phases.add_all(&self.folded);
                held.add_all(&self.folded_held);
            } else {
                phases.add(Phase::Unexplained, self.folded_until_ns.saturating_sub(from_ns));
            }
            self.clear_folded();
        }
        while let Some(piece) = self.pieces.front().filter(|piece| piece.end_ns <= until_ns) {
            give(piece, from_ns, &mut phases, held);
            self.pieces.pop_front();
        }
        self.take_waits(from_ns, until_ns, held);
        phases
    }

    /// Moves the waits that ended at `until_ns` or before to `held`.
    fn take_waits(&mut self, from_ns: u64, until_ns: u64, held: &mut Held) {
        // Nearly always there are none.
        if !self.waits.is_empty() {
            held.waits.add_all(self.waits.take(from_ns, until_ns));
        }
    }

    /// Drops everything, giving each piece to the caller.
    pub fn drain(&mut self, mut each: impl FnMut(&Piece)) {
        if self.folded_until_ns > 0 {
            let start_ns = self.folded_until_ns.saturating_sub(self.folded.total_ns());
            each(&Piece::unknown(start_ns, self.folded_until_ns));
        }
        self.pieces.iter().for_each(each);
        self.pieces.clear();
        if !self.waits.is_empty() {
            self.waits = EndedAttempts::default();
        }
        self.clear_folded();
    }

    fn clear_folded(&mut self) {
        // Nothing was added before the moment was set.
        if self.folded_until_ns > 0 {
            self.folded = Phases::default();
            self.folded_until_ns = 0;
            self.folded_held = Held::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::record::slice::Undecided;

    use super::*;

    fn piece(start_ns: u64, cpu_ns: u64, run_queue_ns: u64, blocked_ns: u64) -> Piece {
        Piece {
            start_ns,
            end_ns: start_ns + cpu_ns + run_queue_ns + blocked_ns,
            account: Account { cpu_ns, run_queue_ns, blocked_ns },
            fault_ns: 0,
            undecided_ns: 0,
            cpu: Phase::ReadHead,
            blocked: Phase::ClientReadStall,
            waits_for_client: true,
            holding: None,
            held_by: Holders::NONE,
        }
    }

    /// ```text
    ///   read:  | cpu 5 |        asleep 80         | queue 10 | cpu 5 |
    ///   bytes:                            ^ 84
    /// ```
    #[test]
    fn sleep_before_the_arrival_is_the_client_s_think_time_and_not_the_request_s() {
        let phases = piece(0, 10, 10, 80).phases_from(84);
        assert_eq!(phases.get(Phase::ClientReadStall), 0);
        assert_eq!(phases.get(Phase::RunQueue), 10);
        assert_eq!(phases.get(Phase::ReadHead), 6);
        assert_eq!(phases.total_ns(), 16);
    }

    #[test]
    fn of_a_part_of_a_gap_that_ran_and_slept_only_what_is_sure_is_said() {
        let gap = Piece { cpu: Phase::Cpu, waits_for_client: false, ..piece(0, 80, 5, 15) };
        let phases = gap.phases_from(10);
        let shown = [Phase::Cpu, Phase::RunQueue, Phase::ClientReadStall, Phase::Unexplained];
        assert_eq!(shown.map(|phase| phases.get(phase)), [70, 0, 5, 15]);
        assert_eq!(phases.total_ns(), 90);
    }

    /// A call that slept twice, and the end of the second sleep was not seen; a gap of which as much is
    /// undecided.
    #[test]
    fn only_the_sleep_whose_end_was_not_seen_is_undecided() {
        const FSYNC: i32 = 74;
        let mut slice = Slice::blank(crate::event::Call::Sleep);
        (slice.undecided, slice.in_gap.fault_ns) = (Undecided { call_ns: 160, gap_ns: 320 }, 48);
        slice.gap = Account { cpu_ns: 10, run_queue_ns: 0, blocked_ns: 1_000 };
        slice.inside = Account { cpu_ns: 5, run_queue_ns: 10, blocked_ns: 1_000 };
        (slice.in_gap.blocked_call, slice.enter_ns, slice.exit_ns) = (FSYNC, 5_000, 6_015);
        let table = crate::machine::world::descriptor::Descriptors::default();
        let meaning = crate::machine::world::classify::classify(&slice, &table, |_| false);
        let call = Piece::call(&slice, &meaning).phases_from(0);
        let shown = [Phase::Sleep, Phase::RunQueue, Phase::Unexplained];
        assert_eq!(shown.map(|phase| call.get(phase)), [840, 10, 160]);
        assert_eq!(call.total_ns(), 1_015);
        // How much of the rest of the gap's sleep was that call, and how much page faults, is not known
        // beside it.
        let gap = Piece::gap(&slice).phases_from(0);
        assert_eq!((gap.get(Phase::Unexplained), gap.total_ns()), (1_000, 1_010));
        // Without page faults all the rest was that call.
        slice.in_gap.fault_ns = 0;
        let gap = Piece::gap(&slice).phases_from(0);
        let shown = [Phase::FileWait, Phase::Unexplained, Phase::Cpu];
        assert_eq!(shown.map(|phase| gap.get(phase)), [680, 320, 10]);
        // What is undecided of the call leaves the gap alone.
        slice.undecided.gap_ns = 0;
        assert_eq!(Piece::gap(&slice).phases_from(0).get(Phase::FileWait), 1_000);
        let mut thread = crate::machine::runtime::thread::Thread::default();
        let continuity = thread.continue_with(&slice).unwrap_or_default();
        assert_eq!(continuity.undecided_ns, 160);
    }

    #[test]
    fn of_a_part_of_a_wait_for_the_client_what_may_be_undecided_is_so() {
        let phases = Piece { undecided_ns: 8, ..piece(0, 10, 10, 80) }.phases_from(70);
        let shown = [Phase::Unexplained, Phase::RunQueue, Phase::ReadHead, Phase::ClientReadStall];
        assert_eq!(shown.map(|phase| phases.get(phase)), [8, 10, 12, 0]);
    }

    #[test]
    fn pieces_that_cannot_be_as_they_are_told_are_cut_and_counted() {
        let mut pending = Pending::default();
        pending.push(piece(100, 20, 30, 50));
        // Ends before it begins; begins before the end of the one before; says more than its length.
        pending.push(Piece { start_ns: 300, end_ns: 290, ..piece(0, 0, 0, 0) });
        pending.push(piece(150, 10, 10, 80));
        pending.push(Piece { end_ns: 260, ..piece(250, 10, 10, 80) });
        assert_eq!(pending.take_impossible(), 3);
        assert_eq!(pending.take_impossible(), 0);
        let phases =
            pending.take_from(110, &mut Held::default(), |piece, at_ns| assert!(at_ns <= piece.end_ns));
        assert_eq!(phases.total_ns(), 150);
    }

    #[test]
    fn time_taken_from_pending_adds_up_from_any_point() {
        for from_ns in [0, 5, 100, 101, 777, 60_000, 99_999] {
            let mut pending = Pending::default();
            for index in 0..1000 {
                pending.push(piece(index * 100, 20, 30, 50));
            }
            let phases = pending.take_from(from_ns, &mut Held::default(), |_, _| {});
            assert_eq!(phases.total_ns(), 100_000 - from_ns, "from {from_ns}");
            assert_eq!(pending.take_from(0, &mut Held::default(), |_, _| {}).total_ns(), 0);
        }
    }
}
