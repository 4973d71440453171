//! Where in Python the holder of an interpreter lock was while others waited; which code the frames are of.
//!
//! In: samples of the holder's frames, the code of those frames (facts), parts of waits. Out: waiting time by
//! place. A sample is taken as a wait's call begins. It belongs to the slice with the same entry.

use rustc_hash::FxHashMap;

use super::gil_block::Blocks;
use super::gil_holder::HeldBy;
use super::gil_stack::{MAX_LISTED, MAX_PENDING, MAX_STACKS, Named, Stack, cut};
use super::gil_waits::{EndedAttempt, Parts};
use crate::bounded::BoundedMap;
use crate::event::{Frames, Slice, Tid};
use crate::fact::frame::FrameSeen;
use crate::model::gil::Contender;
use crate::model::gil_place::{Place, Places, Spot};
use crate::model::gil_waits::{Site, Sites};

/// Instructions that are known by name.
const MAX_SPOTS: usize = 65_536;
/// An instruction of a process: addresses of code object and instruction.
type Instruction = (Tid, u64, u64);
/// The code of instructions, by how many others had the same place before.
type Spots = BoundedMap<(Instruction, u32), Spot, MAX_SPOTS>;

/// Waits.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    wait_ns: u64,
    waits: u64,
}

impl Sum {
    const fn add(&mut self, other: Self) {
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
        self.waits = self.waits.saturating_add(other.waits);
    }
}

/// Samples, and the time waited.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Samples are taken.
    pub wanted: bool,
    spots: Spots,
    /// Instructions at the place of earlier ones: how many those were.
    replaced: FxHashMap<Instruction, u32>,
    /// By thread: the entry of the call that its last sample was taken at, and the stack.
    pending: BoundedMap<Tid, (u64, Stack), MAX_PENDING>,
    sums: BoundedMap<Stack, Sum, MAX_STACKS>,
    /// By thread: what the sleeps of its present attempt have found.
    under_way: BoundedMap<Tid, Parts, MAX_PENDING>,
    /// By thread: who took the lock in the middle of its last sleep, and how long it slept on. If the
    /// attempt continues, the thread's next sample shows where that holder is.
    unseen: BoundedMap<Tid, (HeldBy, u64), MAX_PENDING>,
    unknown_ns: u64,
    samples: u64,
    unstable: u64,
    unreadable: u64,
    /// Where the waiters were.
    pub blocks: Blocks,
}

impl Samples {
    /// Names an instruction's place.
    pub fn see(&mut self, seen: FrameSeen) {
        let place = (seen.tgid, seen.code, seen.instruction);
        let spot = Spot { file: seen.file, function: seen.function, line: seen.line };
        let mut before = self.before(place);
        match self.spots.get(&(place, before)) {
            Some(known) if *known == spot => return,
            Some(_) => before = before.saturating_add(1),
            None => {}
        }
        if self.spots.insert((place, before), spot) && before > 0 {
            self.replaced.insert(place, before);
        }
    }

    /// How many others had the place of this instruction before.
    fn before(&self, place: Instruction) -> u32 {
        if self.replaced.is_empty() { 0 } else { self.replaced.get(&place).copied().unwrap_or(0) }
    }

    /// A thread begins a call that waits. At `enter_ns` it read the frames of the holder, or its own.
    pub fn sample(&mut self, found: Frames, enter_ns: u64) {
        let at = |(code, at)| (code, at, self.before((found.tgid, code, at)));
        let stack: Stack = (found.tgid, found.frames.iter().copied().map(at).collect());
        if found.of_waiter {
            self.blocks.sample(found.tid, enter_ns, stack);
            return;
        }
        self.samples = self.samples.saturating_add(1);
        if found.unstable {
            self.unstable = self.unstable.saturating_add(1);
            return;
        }
        if found.frames.is_empty() {
            self.unreadable = self.unreadable.saturating_add(1);
            return;
        }
        self.pending.insert(found.tid, (enter_ns, stack));
    }

    /// The call of `slice` was `wait_ns` of its thread's waiting, because of `by`. With `named`, returns the
    /// names of where both were.
    pub fn waited(&mut self, slice: &Slice, wait_ns: u64, by: HeldBy, named: bool) -> Option<Box<Sites>> {
        if !self.wanted {
            return None;
        }
        let is_of_it = |(enter_ns, (tgid, _)): &(u64, Stack)| {
            // A thread that finds itself as holder had released the lock: the sample is its own frames.
            by != HeldBy::UNKNOWN && *enter_ns == slice.enter_ns && *tgid == slice.tgid
        };
        let found = self.pending.remove(&slice.tid).filter(is_of_it).map(|(_, stack)| stack);
        if let Some((other, unseen_ns)) = self.unseen.remove(&slice.tid) {
            let stack = found.clone().filter(|_| other.tid == by.tid);
            self.note(slice.tid, other, stack.clone(), unseen_ns);
            self.add(stack, Sum { wait_ns: unseen_ns, waits: 0 });
        }
        self.note(slice.tid, by, found.clone(), wait_ns);
        let sites = named.then(|| Sites {
            held_at: found.as_ref().and_then(|stack| self.site(stack)),
            stood_at: self.blocks.sampled_at(slice).and_then(|stack| self.site(stack)),
        });
        self.add(found, Sum { wait_ns, waits: 1 });
        sites.filter(|sites| *sites != Sites::default()).map(Box::new)
    }

    /// In the last `wait_ns` of that call another thread had the lock. There is no sample of it yet.
    pub fn waited_unseen(&mut self, tid: Tid, by: HeldBy, wait_ns: u64) {
        if !self.wanted {
            return;
        }
        if !self.unseen.insert(tid, (by, wait_ns)) {
            self.unknown_ns = self.unknown_ns.saturating_add(wait_ns);
        }
    }

    /// No sample shows where that holder was.
    fn stays_unseen(&mut self, tid: Tid) {
        if let Some((by, wait_ns)) = self.unseen.remove(&tid) {
            self.note(tid, by, None, wait_ns);
            self.add(None, Sum { wait_ns, waits: 0 });
        }
    }

    /// Notes what a part of a thread's present attempt has found.
    fn note(&mut self, tid: Tid, by: HeldBy, found: Option<Stack>, wait_ns: u64) {
        if let Some(parts) = self.under_way.get_or_default(tid) {
            parts.add(by, found, wait_ns);
        }
    }

    /// What found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.spots.evicted()
            + self.pending.evicted()
            + self.sums.evicted()
            + self.under_way.evicted()
            + self.unseen.evicted()
            + self.blocks.evicted()
    }

    /// An attempt of a thread of process `tgid` has ended; `wait_ns` of it are in the window.
    pub(in crate::machine) fn attempt_ended(
        &mut self,
        (tgid, tid): (Tid, Tid),
        span_ns: (u64, u64),
        wait_ns: u64,
    ) -> Option<Box<EndedAttempt>> {
        if !self.wanted {
            return None;
        }
        self.stays_unseen(tid);
        let stood = self.blocks.attempt_ended(tgid, tid, span_ns, wait_ns);
        let parts = self.under_way.remove(&tid).unwrap_or_default();
        Some(Box::new(parts.end(span_ns, stood)))
    }

    /// Where a stack is; `None`: its innermost function has no name.
    pub(in crate::machine) fn site(&self, stack: &Stack) -> Option<Site> {
        let (at, called_from) = named(&self.spots, stack)?;
        Some(Site { at: at.clone(), called_from: called_from.cloned() })
    }

    /// Adds waiting to the stack that was found.
    fn add(&mut self, found: Option<Stack>, sum: Sum) {
        match found.and_then(|stack| self.sums.get_or_default(stack)) {
            Some(known) => known.add(sum),
            None => self.unknown_ns = self.unknown_ns.saturating_add(sum.wait_ns),
        }
    }

    /// A thread has ended.
    pub fn forget(&mut self, tid: Tid) {
        self.pending.remove(&tid);
        self.stays_unseen(tid);
        self.under_way.remove(&tid);
        self.blocks.forget(tid);
    }

    /// A process executed another program: what was known of its code is void.
    pub fn exec(&mut self, tgid: Tid) {
        self.spots.retain(|((of, ..), _), _| *of != tgid);
        self.replaced.retain(|(of, ..), _| *of != tgid);
    }

    /// The next window begins: sums start at zero. Names stay, except those of processes that have ended.
    pub fn roll(&mut self, has_ended: impl Fn(Tid) -> bool) {
        // The window that ends has counted these times as unknown.
        for (tid, (by, wait_ns)) in std::mem::take(&mut self.unseen).into_map() {
            self.note(tid, by, None, wait_ns);
        }
        let (mut spots, pending) = (std::mem::take(&mut self.spots), std::mem::take(&mut self.pending));
        let mut replaced = std::mem::take(&mut self.replaced);
        replaced.retain(|(tgid, ..), _| !has_ended(*tgid));
        spots.retain(|(place, before), _| {
            !has_ended(place.0) && replaced.get(place).copied().unwrap_or(0) == *before
        });
        let (mut blocks, under_way) = (std::mem::take(&mut self.blocks), std::mem::take(&mut self.under_way));
        blocks.roll(&has_ended);
        *self = Self { wanted: self.wanted, spots, replaced, pending, blocks, under_way, ..Self::default() };
    }

    /// The places of the window; `None`: nobody asked for them. `contender` gives the contender of a number
    /// (`gil_edge`).
    pub fn finish(self, contender: impl Fn(u32) -> Contender) -> Option<Places> {
        if !self.wanted && self.samples == 0 {
            return None;
        }
        let (mut unknown_ns, mut unreadable) = (self.unknown_ns, self.unreadable);
        for (_, unseen_ns) in self.unseen.values() {
            unknown_ns = unknown_ns.saturating_add(*unseen_ns);
        }
        let mut sums: FxHashMap<(Spot, Option<Spot>), Sum> = FxHashMap::default();
        for (stack, sum) in self.sums.iter() {
            let Some((at, from)) = named(&self.spots, stack) else {
                unknown_ns = unknown_ns.saturating_add(sum.wait_ns);
                unreadable = unreadable.saturating_add(sum.waits);
                continue;
            };
            sums.entry((at.clone(), from.cloned())).or_default().add(*sum);
        }
        let blocked = self.blocks.finish(|stack| named(&self.spots, stack), contender);
        let mut places: Vec<Place> = sums
            .into_iter()
            .map(|((at, called_from), sum)| Place { at, called_from, wait_ns: sum.wait_ns, waits: sum.waits })
            .collect();
        places.sort_unstable_by(|a, b| {
            b.wait_ns.cmp(&a.wait_ns).then_with(|| (&a.at, &a.called_from).cmp(&(&b.at, &b.called_from)))
        });
        let other_ns = cut(&mut places, MAX_LISTED, |place| place.wait_ns);
        let (samples, unstable) = (self.samples, self.unstable);
        Some(Places { places, other_ns, unknown_ns, samples, unstable, unreadable, blocked })
    }
}

/// The names of a stack; `None`: its innermost function has none.
fn named<'a>(spots: &'a Spots, (tgid, stack): &Stack) -> Option<Named<'a>> {
    let known: Vec<Option<&Spot>> =
        stack.iter().map(|(code, at, before)| spots.get(&((*tgid, *code, *at), *before))).collect();
    let at = known.first().copied().flatten()?;
    Some((at, called_from(at, known.get(1..).unwrap_or_default())))
}

/// For a library's function: where the application called it, within the frames that were read. For the
/// application's own: its caller.
fn called_from<'a>(at: &Spot, callers: &[Option<&'a Spot>]) -> Option<&'a Spot> {
    if at.is_library() {
        return callers.iter().flatten().find(|spot| !spot.is_library()).copied();
    }
    callers.first().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Call;

    const OTHER: HeldBy = HeldBy { contender: 1, tid: 9 };

    fn seen(code: u64, file: &str, function: &str, line: u32) -> FrameSeen {
        FrameSeen { tgid: 1, code, instruction: code + 8, file: file.into(), function: function.into(), line }
    }

    fn found(codes: &[u64]) -> Frames {
        Frames {
            tgid: 1,
            tid: 1,
            frames: codes.iter().map(|code| (*code, *code + 8)).collect(),
            unstable: false,
            of_waiter: false,
        }
    }

    fn wait(enter_ns: u64) -> Slice {
        let call = Call::FutexWait { address: 0, operation: 137, has_timeout: true };
        Slice { enter_ns, ..Slice::blank(call) }
    }

    fn samples() -> Samples {
        let mut samples = Samples { wanted: true, ..Samples::default() };
        samples.see(seen(16, "/usr/lib/python3.11/json/encoder.py", "JSONEncoder.encode", 200));
        samples.see(seen(32, "/usr/lib/python3.11/json/__init__.py", "dumps", 231));
        samples.see(seen(48, "/srv/shop/views.py", "report", 88));
        samples.see(seen(64, "/srv/shop/app.py", "app", 7));
        samples
    }

    #[test]
    fn waiting_goes_to_the_place_of_its_own_sample_and_names_the_applications_line_behind_a_library() {
        let mut samples = samples();
        samples.sample(found(&[16, 32, 48, 64]), 100);
        samples.waited(&wait(100), 4_000, OTHER, false);
        samples.sample(found(&[16, 32, 48, 64]), 5_000);
        samples.waited(&wait(5_000), 6_000, OTHER, false);
        samples.sample(found(&[48, 64]), 20_000);
        samples.waited(&wait(20_000), 500, OTHER, false);
        let places = samples.finish(|_| Contender::Unknown).expect("wanted");
        let [first, second] = places.places.as_slice() else { panic!("{places:?}") };
        assert_eq!((first.at.function.as_str(), first.at.line), ("JSONEncoder.encode", 200));
        assert_eq!(first.called_from.as_ref().map(|spot| spot.line), Some(88));
        assert_eq!((first.wait_ns, first.waits), (10_000, 2));
        assert_eq!((second.at.line, second.wait_ns), (88, 500));
        assert_eq!(second.called_from.as_ref().map(|spot| spot.function.as_str()), Some("app"));
        assert_eq!((places.unknown_ns, places.samples), (0, 3));
    }

    #[test]
    fn waiting_without_a_sample_of_its_own_is_not_known_and_nothing_is_lost() {
        let mut samples = samples();
        // A sample of another call, which was folded. Then none at all, then one that cannot be used, then
        // one without a name.
        samples.sample(found(&[48]), 100);
        samples.waited(&wait(101), 1, OTHER, false);
        samples.waited(&wait(200), 10, OTHER, false);
        samples.sample(Frames { unstable: true, ..found(&[48]) }, 300);
        samples.waited(&wait(300), 100, OTHER, false);
        samples.sample(found(&[]), 400);
        samples.waited(&wait(400), 1_000, OTHER, false);
        samples.sample(found(&[80, 48]), 500);
        samples.waited(&wait(500), 10_000, OTHER, false);
        // Nobody had the lock: the frames are the waiter's own.
        samples.sample(found(&[48]), 600);
        samples.waited(&wait(600), 100_000, HeldBy::UNKNOWN, false);
        let places = samples.finish(|_| Contender::Unknown).expect("wanted");
        assert!(places.places.is_empty());
        assert_eq!(places.unknown_ns, 111_111);
        assert_eq!((places.samples, places.unstable, places.unreadable), (5, 1, 2));
    }

    #[test]
    fn what_another_had_of_a_sleep_goes_to_where_the_next_look_finds_that_one_or_to_nowhere() {
        let (before, taker) = (HeldBy { contender: 1, tid: 6 }, HeldBy { contender: 2, tid: 7 });
        let slept = || {
            let mut samples = samples();
            samples.sample(found(&[64]), 100);
            samples.waited(&wait(100), 100, before, false);
            samples.waited_unseen(1, taker, 400);
            assert_eq!(
                samples.clone().finish(|_| Contender::Unknown).map(|places| places.unknown_ns),
                Some(400)
            );
            samples
        };
        let told = |samples: Samples| {
            let places = samples.finish(|_| Contender::Unknown).expect("wanted");
            let found = places.places.iter().map(|place| (place.at.line, place.wait_ns, place.waits));
            (found.collect::<Vec<_>>(), places.unknown_ns)
        };
        for (next, expected) in
            [(taker, (vec![(88, 450, 1), (7, 100, 1)], 0)), (before, (vec![(7, 100, 1), (88, 50, 1)], 400))]
        {
            let mut samples = slept();
            samples.sample(found(&[48]), 603);
            samples.waited(&wait(603), 50, next, false);
            let waited = samples.attempt_ended((1, 1), (100, 653), 553).expect("wanted");
            assert_eq!((waited.by.tid, waited.held_ns), if next == taker { (7, 450) } else { (7, 400) });
            assert_eq!(told(samples), expected);
        }
        // The waiter had the lock after that sleep, or has ended: the next wait is another attempt.
        let mut samples = slept();
        let waited = samples.attempt_ended((1, 1), (100, 600), 500).expect("wanted");
        assert_eq!((waited.by.tid, waited.held_ns, waited.found), (7, 400, None));
        samples.sample(found(&[48]), 603);
        samples.waited(&wait(603), 50, taker, false);
        assert_eq!(told(samples), (vec![(7, 100, 1), (88, 50, 1)], 400));
        let mut samples = slept();
        samples.forget(1);
        assert_eq!(told(samples), (vec![(7, 100, 1)], 400));
    }

    #[test]
    fn what_was_waited_stays_with_the_function_that_was_there_then() {
        let mut samples = samples();
        samples.sample(found(&[48]), 100);
        samples.waited(&wait(100), 5, OTHER, false);
        // Its code object is gone, and that of another function has its place.
        samples.see(seen(48, "/srv/shop/new.py", "list", 3));
        samples.see(seen(48, "/srv/shop/new.py", "list", 3));
        samples.sample(found(&[48]), 200);
        samples.waited(&wait(200), 7, OTHER, false);
        let named = |samples: &Samples| -> Vec<(String, u64)> {
            let places = samples.clone().finish(|_| Contender::Unknown).expect("wanted").places;
            places.into_iter().map(|place| (place.at.function, place.wait_ns)).collect()
        };
        assert_eq!(named(&samples), [("list".to_owned(), 7), ("report".to_owned(), 5)]);
        samples.roll(|_| false);
        samples.sample(found(&[48]), 300);
        samples.waited(&wait(300), 9, OTHER, false);
        assert_eq!(named(&samples), [("list".to_owned(), 9)]);
    }

    #[test]
    fn next_window_starts_at_zero_and_keeps_names() {
        let mut samples = samples();
        samples.sample(found(&[48]), 100);
        samples.waited(&wait(100), 5, OTHER, false);
        samples.sample(found(&[48]), 200);
        samples.roll(|_| false);
        samples.waited(&wait(200), 7, OTHER, false);
        let places = samples.clone().finish(|_| Contender::Unknown).expect("wanted");
        assert_eq!(places.places.first().map(|place| (place.at.line, place.wait_ns)), Some((88, 7)));
        samples.roll(|tgid| tgid == 1);
        samples.sample(found(&[48]), 300);
        samples.waited(&wait(300), 9, OTHER, false);
        assert_eq!(
            samples.finish(|_| Contender::Unknown).map(|places| places.unknown_ns),
            Some(9),
            "its process has ended"
        );
    }

    #[test]
    fn nothing_is_said_where_nobody_asked() {
        let mut samples = Samples::default();
        samples.waited(&wait(1), 5, OTHER, false);
        assert_eq!(samples.finish(|_| Contender::Unknown), None);
    }
}
