//! The patrol: a thread that looks, ten times a second, at threads of the target that have slept for long,
//! once in each sleep.
//!
//! In: the accounts, [`Looks`]. Out: facts, each with the moment at which it was true. It is a thread of its
//! own, so that a look that takes the kernel long keeps nobody waiting: not the rings, and the end for little
//! more than half a second.

mod clock;
mod step;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use profiler_core::fact::Fact;
use profiler_core::fact::asleep::{AsleepSeen, LOOKED_AT_NS, Patrol as Counts};
use profiler_core::fact::place::PlaceSeen;

use self::clock::{Clock, SamplesRead, Ticks, clock};
use self::table::Table;
use super::pace::pause_after;
use crate::attach::Settings;
use crate::fact::Proc;
use crate::fact::asleep::{Asleep, Look, Looks, Reader};
use crate::fact::budget::{Budget, Spent};
use crate::source::live::LiveSource;
use crate::source::live::clock::monotonic_ns;
use crate::source::live::sleepers::{Sleeper, Sleepers};

/// Shortest pause between two rounds. Pauses differ, so that threads that sleep for the same time again and
/// again are met at any point of it; together they make ten rounds a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(60);
/// What a pause may be longer.
const PAUSES_DIFFER_BY: Duration = Duration::from_millis(80);
/// Looks at a time.
const MAX_LOOKS: usize = 20;
/// Looks when it begins, at whoever is asleep then.
const MAX_FIRST_LOOKS: usize = 256;
/// After so long, of CPU time in the first round, the rest of them waits for the next.
const MAX_ROUND: Duration = Duration::from_millis(40);
/// Looks that wait for the session.
const MAX_WAITING: usize = 1024;
/// A look that is older when the session takes it is taken only if the thread still sleeps, and as of then:
/// the stream does not take what is much older than what it has had.
const FRESH_NS: u64 = 50_000_000;
/// CPU time that is saved up for the first looks, and for many threads that hang at once.
const SAVED: Duration = Duration::from_millis(25);
/// How long the end waits for a look that is under way.
const LAST_LOOK: Duration = Duration::from_millis(50);
/// How long it then waits for whose code is what was seen, once nothing is traced any more.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A look, and when it was true.
struct Taken {
    sleeper: Sleeper,
    at_ns: u64,
    seen: AsleepSeen,
    /// Where in Python it is, if that is told for the first time.
    place: Option<PlaceSeen>,
}

/// What both sides know.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// All looks are in the stream.
    has_looked: AtomicBool,
    counts: Mutex<Counts>,
    /// Whose code is what was seen, as far as that is not in the stream yet.
    whose: Mutex<Vec<Fact>>,
}

impl Shared {
    fn whose(&self) -> MutexGuard<'_, Vec<Fact>> {
        self.whose.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's end of it.
pub(super) struct Patrol {
    shared: Arc<Shared>,
    taken: Receiver<Taken>,
    sleepers: Sleepers,
    ticks: Option<Ticks>,
    thread: JoinHandle<()>,
}

impl Patrol {
    /// Begins, with a look at everyone who is asleep. `None`: it is not wanted, or cannot be.
    /// `own`: what the user names as own code.
    pub(super) fn begin(
        source: &mut LiveSource,
        proc: &Proc,
        settings: &Settings,
        own: &[String],
    ) -> Option<Self> {
        let looks = settings.looks;
        if looks == Looks::Off {
            return None;
        }
        let sleepers = source.sleepers().ok()?;
        let shared = Arc::new(Shared::default());
        let (sender, taken) = sync_channel(MAX_WAITING);
        let theirs = source.sleepers().ok()?;
        let reader = Reader::new(proc.clone(), looks);
        let reader = if settings.reads_places() { reader.with_places(own) } else { reader };
        let samples = source.take_samples().filter(|_| settings.reads_places());
        let (clock, ticks) = samples.map(|(ring, step)| clock(ring, step)).unzip();
        let round = Round {
            shared: Arc::clone(&shared),
            table: Table::new(theirs.capacity()),
            sleepers: theirs,
            reader,
            looks,
            sender,
            clock,
        };
        let thread = std::thread::Builder::new().name("patrol".to_owned()).spawn(move || round.run()).ok()?;
        Some(Self { shared, taken, sleepers, ticks, thread })
    }

    /// What was seen since this was asked last, each with its time.
    pub(super) fn take(&mut self) -> Vec<(u64, Fact)> {
        // Taken first, told last: what it says more of is on its way by now.
        let whose = std::mem::take(&mut *self.shared.whose());
        let mut facts = Vec::new();
        let mut went_on = 0;
        while let Ok(Taken { sleeper, at_ns, seen, place }) = self.taken.try_recv() {
            let now_ns = monotonic_ns();
            // Later looks name it, too.
            facts.extend(
                place.map(|place| (at_ns.max(now_ns.saturating_sub(FRESH_NS)), Fact::PlaceSeen(place))),
            );
            let at_ns = if now_ns.saturating_sub(at_ns) <= FRESH_NS { Some(at_ns) } else { None };
            let sleeps_on = || self.sleepers.sleeps_on(&sleeper).then_some(now_ns);
            match at_ns.or_else(sleeps_on) {
                Some(at_ns) => facts.push((at_ns, Fact::AsleepSeen(seen))),
                None => went_on += 1,
            }
        }
        if went_on > 0 {
            self.shared.counts().went_on += went_on;
        }
        facts.extend(self.ticks.iter().flat_map(Ticks::take));
        let now_ns = monotonic_ns();
        facts.extend(whose.into_iter().map(|fact| (now_ns, fact)));
        facts
    }

    /// What it has done so far.
    pub(super) fn counts(&self) -> Counts {
        *self.shared.counts()
    }

    /// Ends it; a look that the kernel holds up is left to itself.
    pub(super) fn end(&self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.thread.thread().unpark();
        wait_for(LAST_LOOK, || self.shared.has_looked.load(Ordering::Acquire));
    }

    /// Whose code is what was seen, as far as that became known after the end.
    pub(super) fn last_answers(&self) -> Vec<Fact> {
        wait_for(LAST_ANSWERS, || self.thread.is_finished());
        std::mem::take(&mut *self.shared.whose())
    }
}

impl Drop for Patrol {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }
}

/// Waits until something is so, but not for longer than `limit`.
fn wait_for(limit: Duration, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !is_so() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Pauses as if drawn at random (xorshift, Marsaglia 2003).
struct Pauses(u32);

impl Default for Pauses {
    fn default() -> Self {
        Self(0x9e37_79b9)
    }
}

impl Pauses {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        SHORTEST_PAUSE + PAUSES_DIFFER_BY.mul_f64(f64::from(self.0) / f64::from(u32::MAX))
    }
}

/// The thread's end of it.
struct Round {
    shared: Arc<Shared>,
    sleepers: Sleepers,
    table: Table,
    reader: Reader,
    looks: Looks,
    sender: SyncSender<Taken>,
    clock: Option<Clock>,
}

impl Round {
    fn run(mut self) {
        let mut budget = Budget::with_savings(SAVED);
        let (mut shortest_ns, mut max_looks) = (0, MAX_FIRST_LOOKS);
        let mut pauses = Pauses::default();
        while !self.shared.is_over.load(Ordering::Acquire) {
            if budget.pause().is_none() {
                let spent = Spent::begin();
                self.go(shortest_ns, max_looks, spent);
                budget.spend(spent);
                (shortest_ns, max_looks) = (LOOKED_AT_NS, MAX_LOOKS);
            }
            self.pause(pauses.next());
        }
        self.read_clock();
        self.tell_whose();
        self.shared.counts().left_out += self.table.finish();
        self.shared.has_looked.store(true, Ordering::Release);
        wait_for(LAST_ANSWERS, || {
            self.tell_whose();
            self.reader.is_settled()
        });
    }

    /// Tells whose code is what was seen, as far as that has become known.
    fn tell_whose(&mut self) {
        let places = self.reader.take_owned().into_iter().map(Fact::PlaceSeen);
        // Answers are heard by now.
        let own = self.reader.take_own().into_iter().map(Fact::OwnCode);
        let known: Vec<Fact> = places.chain(own).collect();
        if !known.is_empty() {
            self.shared.whose().extend(known);
        }
    }

    /// Waits for the next round. Meanwhile stacks are named while their code objects are there.
    fn pause(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.shared.is_over.load(Ordering::Acquire) {
            let found = self.read_clock();
            self.tell_whose();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            park_timeout(if self.clock.is_some() { left.min(pause_after(found)) } else { left });
        }
    }

    /// Reads the samples that have come; returns how many.
    fn read_clock(&mut self) -> u64 {
        let Some(clock) = &mut self.clock else { return 0 };
        let is_over = self.shared.is_over.load(Ordering::Acquire);
        let SamplesRead { found, lost } = clock.go(&mut self.reader, is_over);
        if lost > 0 {
            self.shared.counts().unplaced += lost;
        }
        found
    }

    /// Looks at those who have slept for `shortest_ns`, at most so many.
    fn go(&mut self, shortest_ns: u64, max_looks: usize, spent: Spent) {
        let began = Instant::now();
        // Those that hang since before the trace still do when others had the CPU for long.
        let round_took = |spent: Spent| if shortest_ns == 0 { spent.so_far() } else { began.elapsed() };
        let now_ns = monotonic_ns();
        self.table.begin(now_ns, shortest_ns);
        let mut target = Vec::new();
        self.sleepers.each(|sleeper| {
            if target.last() != Some(&sleeper.tgid) {
                target.push(sleeper.tgid);
            }
            self.table.note(sleeper);
        });
        let mut counts = Counts { left_out: self.table.take_left_out(), ..Counts::default() };
        let chosen = self.table.choose(max_looks);
        if self.looks == Looks::Own && !chosen.is_empty() {
            self.reader.follow(self.sleepers.processes());
        } else if !chosen.is_empty() {
            // Who holds what somebody waits for sleeps too, or will soon.
            target.sort_unstable();
            target.dedup();
            self.reader.follow(target);
        }
        let mut taken = Vec::new();
        for sleeper in chosen {
            if self.shared.is_over.load(Ordering::Acquire) || round_took(spent) > MAX_ROUND {
                break;
            }
            self.table.looked_at(&sleeper, monotonic_ns());
            counts.looks += 1;
            taken.extend(self.look(sleeper, &mut counts));
        }
        self.pass_on(taken, &mut counts);
        let mut shared = self.shared.counts();
        shared.looks += counts.looks;
        shared.went_on += counts.went_on;
        shared.refused += counts.refused;
        shared.left_out += counts.left_out;
        shared.unplaced += self.reader.take_unplaced();
    }

    fn look(&mut self, sleeper: Sleeper, counts: &mut Counts) -> Option<(Sleeper, u64, Look)> {
        let Sleeper { tgid, tid, since_ns, .. } = sleeper;
        let looked = self.reader.look(Asleep { tgid, tid, since_ns });
        let at_ns = monotonic_ns();
        if !self.sleepers.sleeps_on(&sleeper) {
            counts.went_on += 1;
            // If it was only its account that was written, it is still in the same sleep.
            self.table.look_again(&sleeper, (at_ns, 0));
            return None;
        }
        match looked {
            Ok(look) => Some((sleeper, at_ns, look)),
            Err(_) => {
                counts.refused += 1;
                None
            }
        }
    }

    /// Finds who is at the other ends, and hands everything to the session.
    fn pass_on(&mut self, taken: Vec<(Sleeper, u64, Look)>, counts: &mut Counts) {
        let (mut sleepers, mut looks) = (Vec::new(), Vec::new());
        for (sleeper, at_ns, look) in taken {
            sleepers.push((sleeper, at_ns));
            looks.push(look);
        }
        let has_more =
            if looks.iter().any(Look::is_open) { self.reader.find_others(&mut looks) } else { vec![] };
        for (index, ((sleeper, mut at_ns), mut look)) in sleepers.into_iter().zip(looks).enumerate() {
            if has_more.get(index).copied().unwrap_or(false) {
                let now_ns = monotonic_ns();
                if self.sleepers.sleeps_on(&sleeper) {
                    at_ns = now_ns;
                } else {
                    // What was seen before is true of that moment; who was found since may not be.
                    look.forget_others();
                }
            }
            let place = self.reader.number_place(&mut look);
            if let Some(pause) = look.again {
                let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
                self.table.look_again(&sleeper, (at_ns, pause_ns));
            }
            // The session takes them far more often than this fills up; if it does not, it is lost.
            let taken = Taken { sleeper, at_ns, seen: look.seen, place };
            if let Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) =
                self.sender.try_send(taken)
            {
                counts.left_out += 1;
                if let Some(place) = lost.place {
                    self.reader.forget_place(&place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_ten_rounds_a_second_and_a_sleep_of_the_same_length_is_met_at_any_point() {
        let mut pauses = Pauses::default();
        let (mut now, mut tenths) = (Duration::ZERO, [0_u32; 10]);
        for _ in 0..1000 {
            now += pauses.next();
            tenths[usize::try_from(now.as_millis() % 100 / 10).unwrap()] += 1;
        }
        assert!((95..105).contains(&now.as_secs()), "{now:?}");
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }
}
