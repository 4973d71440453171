//! Where in Python threads were that waited long for an interpreter lock.
//!
//! In: the waiters' own frames (read once in an attempt, at one of its late calls), ends of attempts, what
//! threads serve. Out: waiting time by waiter and place. Frames belong to the attempt that contains the entry
//! of their call.

use profiler_common::record::frames::LONG_NS;
use rustc_hash::FxHashMap;

use super::gil_stack::{MAX_LISTED, MAX_PENDING, MAX_STACKS, Named, Stack, cut};
use crate::bounded::{BoundedMap, push_if_room};
use crate::event::{Slice, Tid};
use crate::model::gil::Contender;
use crate::model::gil_place::{Block, Blocked, Spot};

/// Ended attempts kept of one thread, until it is known what the thread served.
const MAX_ENDED: usize = 64;
/// Number of the unknown contender.
const UNKNOWN: u32 = 0;

/// Attempts of one waiter in one place.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    wait_ns: u64,
    waits: u64,
    longest_ns: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
        self.waits = self.waits.saturating_add(other.waits);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }
}

/// Waiters' frames, and the time waited there.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    /// By thread: the entry of the call at which its frames were read, and the stack.
    pending: BoundedMap<Tid, (u64, Stack), MAX_PENDING>,
    /// By thread: its attempts that have ended since it was asked what it serves.
    ended: BoundedMap<Tid, Vec<(Stack, u64)>, MAX_PENDING>,
    /// By waiter (a contender's number) and stack.
    sums: BoundedMap<(u32, Stack), Sum, MAX_STACKS>,
    samples: u64,
    without_sample: u64,
    /// Attempts that found no place.
    evicted: u64,
}

impl Blocks {
    /// A thread that has waited for long by `enter_ns` read its own frames. A stack without frames: it found
    /// none.
    pub(in crate::machine) fn sample(&mut self, tid: Tid, enter_ns: u64, stack: Stack) {
        self.samples = self.samples.saturating_add(1);
        self.pending.insert(tid, (enter_ns, stack));
    }

    /// The stack that a thread read at the call of this slice.
    pub(in crate::machine) fn sampled_at(&self, slice: &Slice) -> Option<&Stack> {
        let (enter_ns, stack) = self.pending.get(&slice.tid)?;
        (*enter_ns == slice.enter_ns && stack.0 == slice.tgid).then_some(stack)
    }

    /// An attempt of a thread of process `tgid` has ended; `wait_ns` of it are in the window. Returns where
    /// the thread was.
    pub(in crate::machine) fn attempt_ended(
        &mut self,
        tgid: Tid,
        tid: Tid,
        span_ns: (u64, u64),
        wait_ns: u64,
    ) -> Option<Stack> {
        let (start_ns, end_ns) = span_ns;
        let is_of_it = |(enter_ns, (of, _)): &(u64, Stack)| {
            *of == tgid && (start_ns..=end_ns).contains(enter_ns) && wait_ns > 0
        };
        let Some((_, stack)) = self.pending.remove(&tid).filter(is_of_it) else {
            if wait_ns >= LONG_NS {
                self.without_sample = self.without_sample.saturating_add(1);
            }
            return None;
        };
        if let Some(attempts) = self.ended.get_or_default(tid) {
            push_if_room(attempts, MAX_ENDED, (stack.clone(), wait_ns), &mut self.evicted);
        }
        Some(stack)
    }

    /// What found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.pending.evicted() + self.ended.evicted() + self.sums.evicted() + self.evicted
    }

    /// Whether the thread has ended attempts that are not settled yet.
    pub fn has_ended(&self, tid: Tid) -> bool {
        !self.ended.is_empty() && self.ended.contains_key(&tid)
    }

    /// Attributes what the thread has waited to the contender of this number.
    pub fn settle(&mut self, tid: Tid, waiter: u32) {
        for (stack, wait_ns) in self.ended.remove(&tid).unwrap_or_default() {
            if let Some(sum) = self.sums.get_or_default((waiter, stack)) {
                sum.add(Sum { wait_ns, waits: 1, longest_ns: wait_ns });
            }
        }
    }

    /// A thread has ended.
    pub(in crate::machine) fn forget(&mut self, tid: Tid) {
        self.pending.remove(&tid);
        self.settle(tid, UNKNOWN);
    }

    /// The next window begins: sums start at zero, attempts under way continue.
    pub(in crate::machine) fn roll(&mut self, has_ended: impl Fn(Tid) -> bool) {
        let (mut pending, mut ended) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.ended));
        pending.retain(|_, (_, (tgid, _))| !has_ended(*tgid));
        ended.retain(|_, attempts| attempts.iter().all(|((tgid, _), _)| !has_ended(*tgid)));
        *self = Self { pending, ended, ..Self::default() };
    }

    /// The blocks of the window; `name` gives the place of a stack, `contender` the contender of a number.
    pub(in crate::machine) fn finish<'a>(
        mut self,
        name: impl Fn(&Stack) -> Option<Named<'a>>,
        contender: impl Fn(u32) -> Contender,
    ) -> Blocked {
        for tid in self.ended.keys().copied().collect::<Vec<_>>() {
            self.settle(tid, UNKNOWN);
        }
        let mut blocked =
            Blocked { samples: self.samples, without_sample: self.without_sample, ..Blocked::default() };
        let mut sums: FxHashMap<(u32, &Spot, Option<&Spot>), Sum> = FxHashMap::default();
        for ((waiter, stack), sum) in self.sums.iter() {
            if stack.1.is_empty() {
                blocked.elsewhere = blocked.elsewhere.saturating_add(sum.waits);
                continue;
            }
            let Some((at, from)) = name(stack) else {
                blocked.unreadable = blocked.unreadable.saturating_add(sum.waits);
                continue;
            };
            sums.entry((*waiter, at, from)).or_default().add(*sum);
        }
        let mut listed: Vec<Block> = sums
            .into_iter()
            .map(|((waiter, at, from), sum)| Block {
                waiter: contender(waiter),
                at: at.clone(),
                called_from: from.cloned(),
                wait_ns: sum.wait_ns,
                waits: sum.waits,
                longest_ns: sum.longest_ns,
            })
            .collect();
        listed.sort_unstable_by(|a, b| {
            let place = |block: &Block| (block.at.clone(), block.called_from.clone(), block.waiter.clone());
            b.wait_ns.cmp(&a.wait_ns).then_with(|| place(a).cmp(&place(b)))
        });
        blocked.other_ns = cut(&mut listed, MAX_LISTED, |block| block.wait_ns);
        blocked.listed = listed;
        blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Frames;
    use crate::fact::frame::FrameSeen;
    use crate::machine::lock::gil_place::Samples;

    const MS: u64 = 1_000_000;

    fn samples() -> Samples {
        let mut samples = Samples::default();
        samples.wanted = true;
        for (code, file, function, line) in [
            (16, "/usr/lib/python3.11/socket.py", "SocketIO.readinto", 706),
            (32, "/srv/shop/views.py", "render", 41),
        ] {
            let (file, function) = (file.into(), function.into());
            samples.see(FrameSeen { tgid: 1, code, instruction: code + 8, file, function, line });
        }
        samples
    }

    fn own(tid: Tid, codes: &[u64]) -> Frames {
        let frames = codes.iter().map(|code| (*code, *code + 8)).collect();
        Frames { tgid: 1, tid, frames, of_waiter: true, ..Frames::default() }
    }

    fn finish(samples: Samples) -> Blocked {
        let contender = |number: u32| match number {
            UNKNOWN => Contender::Unknown,
            number => Contender::Endpoint(format!("GET /{number}")),
        };
        samples.finish(contender).expect("wanted").blocked
    }

    #[test]
    fn attempt_is_attributed_to_the_place_where_its_thread_stood_and_to_what_it_served() {
        let mut samples = samples();
        for (start_ns, wait_ns) in [(100, 30 * MS), (100 * MS, 8 * MS)] {
            samples.sample(own(2, &[16, 32]), start_ns + 5 * MS);
            samples.blocks.attempt_ended(1, 2, (start_ns, start_ns + wait_ns), wait_ns);
        }
        assert!(samples.blocks.has_ended(2) && !samples.blocks.has_ended(3));
        samples.blocks.settle(2, 7);
        assert!(!samples.blocks.has_ended(2));
        let blocked = finish(samples);
        let [block] = blocked.listed.as_slice() else { panic!("{blocked:?}") };
        assert_eq!(block.waiter, Contender::Endpoint("GET /7".into()));
        assert_eq!((block.at.function.as_str(), block.at.line), ("SocketIO.readinto", 706));
        assert_eq!((block.applications().function.as_str(), block.applications().line), ("render", 41));
        assert_eq!((block.wait_ns, block.waits, block.longest_ns), (38 * MS, 2, 30 * MS));
        assert_eq!((blocked.samples, blocked.unreadable, blocked.without_sample), (2, 0, 0));
    }

    #[test]
    fn waiters_frames_are_never_taken_for_the_holders_nor_the_holders_for_the_waiters() {
        use crate::event::{Call, Slice};
        use crate::machine::lock::gil_holder::HeldBy;
        const OTHER: HeldBy = HeldBy { contender: 1, tid: 9 };
        let mut samples = samples();
        samples.sample(Frames { of_waiter: false, ..own(2, &[32]) }, 5 * MS);
        samples.sample(own(2, &[16, 32]), 5 * MS);
        let call = Call::FutexWait { address: 0, operation: 137, has_timeout: true };
        let slice = Slice { tgid: 1, tid: 2, enter_ns: 5 * MS, ..Slice::blank(call) };
        samples.waited(&slice, 4 * MS, OTHER, false);
        samples.blocks.attempt_ended(1, 2, (0, 9 * MS), 9 * MS);
        let places = samples.finish(|_| Contender::Unknown).expect("wanted");
        let held: Vec<_> = places.places.iter().map(|place| (place.at.line, place.wait_ns)).collect();
        let stood: Vec<_> =
            places.blocked.listed.iter().map(|block| (block.at.line, block.wait_ns)).collect();
        assert_eq!(
            (held.as_slice(), stood.as_slice()),
            ([(41, 4 * MS)].as_slice(), [(706, 9 * MS)].as_slice())
        );
        assert_eq!((places.samples, places.blocked.samples), (1, 1));
    }

    #[test]
    fn frames_of_another_attempt_or_process_are_not_used_and_long_waits_without_any_are_counted() {
        let mut samples = samples();
        samples.sample(own(2, &[32]), 5 * MS);
        samples.blocks.attempt_ended(1, 2, (6 * MS, 20 * MS), 14 * MS);
        samples.sample(own(2, &[32]), 35 * MS);
        samples.blocks.attempt_ended(9, 2, (30 * MS, 40 * MS), 10 * MS);
        // First a short wait, as nearly all are. Then a thread that runs another interpreter, and a function
        // without a name.
        samples.blocks.attempt_ended(1, 2, (50 * MS, 51 * MS), MS);
        samples.sample(own(3, &[]), 65 * MS);
        samples.blocks.attempt_ended(1, 3, (60 * MS, 70 * MS), 10 * MS);
        samples.sample(own(4, &[80]), 65 * MS);
        samples.blocks.attempt_ended(1, 4, (60 * MS, 70 * MS), 10 * MS);
        let blocked = finish(samples);
        assert!(blocked.listed.is_empty(), "{blocked:?}");
        let (elsewhere, unreadable) = (blocked.elsewhere, blocked.unreadable);
        assert_eq!((blocked.samples, elsewhere, unreadable, blocked.without_sample), (4, 1, 1, 2));
    }

    #[test]
    fn attempt_under_way_as_a_window_ends_counts_in_the_next_unless_its_process_is_gone() {
        let mut samples = samples();
        samples.sample(own(2, &[32]), 5 * MS);
        samples.sample(own(3, &[32]), 5 * MS);
        samples.roll(|_| false);
        samples.blocks.attempt_ended(1, 2, (0, 20 * MS), 12 * MS);
        assert_eq!(finish(samples.clone()).listed.first().map(|block| block.wait_ns), Some(12 * MS));
        samples.roll(|tgid| tgid == 1);
        samples.blocks.attempt_ended(1, 3, (0, 30 * MS), 10 * MS);
        let blocked = finish(samples);
        assert_eq!((blocked.listed.len(), blocked.without_sample), (0, 1));
    }

    #[test]
    fn thread_that_ends_leaves_its_waits_with_nobody_in_particular() {
        let mut samples = samples();
        samples.sample(own(2, &[32]), 5 * MS);
        samples.blocks.attempt_ended(1, 2, (0, 20 * MS), 20 * MS);
        samples.sample(own(2, &[32]), 45 * MS);
        samples.forget(2);
        samples.blocks.attempt_ended(1, 2, (40 * MS, 50 * MS), 10 * MS);
        let blocked = finish(samples);
        let waits: Vec<_> = blocked.listed.iter().map(|block| (&block.waiter, block.wait_ns)).collect();
        assert_eq!(waits, [(&Contender::Unknown, 20 * MS)]);
        assert_eq!(blocked.without_sample, 1);
    }
}
