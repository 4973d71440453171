//! Waits for the interpreter lock, told by system calls alone.
//!
//! In: where the locks are (facts), slices in the order of their thread. Out: what part of a wait a slice is, and
//! episodes: all sleeps of one attempt to take the lock. The lock is a `struct _gil_runtime_state`: a flag under a mutex
//! and a condition variable, at the same distances from each other in CPython 3.8 to 3.15 on `x86_64` with glibc.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::{Call, Slice, Tid};
use crate::fact::{InterpreterLock, InterpreterSeen, ThreadNumbers};
use crate::machine::classify::{Idle, Meaning};
use crate::machine::gil_edge::Edges;
use crate::machine::gil_measure::{Attempt, Measure, Sleep};
use crate::machine::thread::Piece;
use crate::model::gil::{Gil, Lock, Waiter};
use crate::model::latency::Latency;
use crate::phase::Phase;
use crate::timeline::ThreadState;
use profiler_common::record::slice::{NO_CALL, PAGE_FAULT};

/// Where the condition variable of takers begins, from the lock's address.
const COND: u64 = 32;
/// Where the mutex begins.
const MUTEX: u64 = 80;
/// Where the condition variable of a forced switch begins: only who has dropped the lock waits there.
const SWITCH_COND: u64 = 120;
/// Length of the whole.
const LENGTH: u64 = 208;
/// `FUTEX_CMD_MASK` without the private and clock flags, include/uapi/linux/futex.h.
const COMMAND: u32 = 127;
/// `FUTEX_WAIT`: a mutex.
const FUTEX_WAIT: u32 = 0;
/// `FUTEX_WAIT_BITSET`: a condition variable.
const FUTEX_WAIT_BITSET: u32 = 9;
/// Most CPU time between two sleeps of one attempt: a few µs of looking at the flag, with room for interrupts. Who ran
/// for longer had the lock meanwhile.
const LOOP_MAX_CPU_NS: u64 = 50_000;
/// Processes whose locks are remembered.
const MAX_PROCESSES: usize = 4096;
/// Locks of one process.
const MAX_LOCKS: usize = 64;
/// Threads whose waits are added up one by one.
const MAX_WAITERS: usize = 16_384;
/// Threads that the report lists.
const MAX_LISTED: usize = 32;

/// Whether a futex wait this far from a lock's address is one of a thread that wants to take the lock.
#[must_use]
pub const fn is_take_wait(distance: u64, operation: u32) -> bool {
    match operation & COMMAND {
        FUTEX_WAIT_BITSET => distance >= COND && distance < MUTEX,
        FUTEX_WAIT => distance >= MUTEX && distance < SWITCH_COND,
        _ => false,
    }
}

/// Why no wait for the lock can be told in processes with these interpreters; `None`: in one at least it can.
pub fn not_measured<'a>(seen: impl Iterator<Item = &'a InterpreterSeen>) -> Option<String> {
    const IN_LOCK_WAIT: &str = "; waits for the interpreter lock, if there is one, are part of lock_wait";
    let (mut refused, mut free_threaded, mut without) = (None, false, false);
    for interpreter in seen {
        if !interpreter.locks.is_empty() {
            return None;
        }
        match &interpreter.refused {
            Some(reason) if refused.is_none() => refused = Some(reason.as_str()),
            Some(_) => {}
            None if interpreter.free_threaded => free_threaded = true,
            None => without = true,
        }
    }
    Some(match refused {
        Some(reason) => format!("{reason}{IN_LOCK_WAIT}"),
        None if free_threaded => "the interpreter is a free-threaded build: it has no GIL".to_owned(),
        None if without => "no process of the target has a Python interpreter".to_owned(),
        None => format!("nothing is known of the target's interpreters{IN_LOCK_WAIT}"),
    })
}

/// One attempt to take a lock: all its sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    tgid: Tid,
    lock: InterpreterLock,
    start_ns: u64,
    end_ns: u64,
    run_queue_ns: u64,
    sleeps: u64,
    attempt: Attempt,
    /// By how much its last sleep made a request longer that was not honoured.
    not_honoured_ns: u64,
}

/// A thread's waiting for a lock, as of its last slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The attempt that it is in, or was in.
    pub episode: Option<Episode>,
    /// It had given the lock up by force, and waited until another had taken it.
    pub gave_up: bool,
}

/// What a slice is for its thread's waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// No wait for the lock.
    None,
    /// The call is a wait; the gap before it is not.
    First,
    /// The call goes on with the wait of the slice before: the gap belongs to it.
    Again,
    /// The call waits on the lock's memory, but not to take it: until another has taken what the thread gave up.
    Handover,
}

impl Part {
    /// How much of a slice that ended at `exit_ns` is a wait within the window; `None`: it is none.
    #[must_use]
    pub const fn wait_ns(self, slice: &Slice, exit_ns: u64, window_start_ns: u64) -> Option<u64> {
        let start_ns = match self {
            Self::First => slice.enter_ns,
            Self::Again => slice.gap_start_ns(),
            Self::None | Self::Handover => return None,
        };
        let start_ns = if start_ns > window_start_ns { start_ns } else { window_start_ns };
        if exit_ns > start_ns { Some(exit_ns - start_ns) } else { None }
    }

    /// The meaning of the slice's call, and the gap before it, with the wait taken into account.
    #[must_use]
    pub fn apply(self, meaning: Meaning, mut gap: Piece) -> (Meaning, Piece) {
        match self {
            Self::None => return (meaning, gap),
            // Without a limit of time, as waits for work are; it is none.
            Self::Handover => {
                return (Meaning { idle: Idle::No, state: ThreadState::LockWait, ..meaning }, gap);
            }
            Self::Again => gap.cpu = Phase::GilWait,
            Self::First => {}
        }
        let (cpu, blocked, state) = (Phase::GilWait, Phase::GilWait, ThreadState::GilWait);
        (Meaning { cpu, blocked, state, idle: Idle::No, ..meaning }, gap)
    }
}

/// All locks known, and who waited for them.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    seen: FxHashMap<Tid, InterpreterSeen>,
    /// By process in another PID namespace: its threads by the numbers that they have there.
    numbers: FxHashMap<Tid, FxHashMap<Tid, Tid>>,
    waits: Latency,
    run_queue_ns: u64,
    past_interval: u64,
    sleeps: u64,
    waiters: FxHashMap<(Tid, Tid), Waiter>,
    measures: FxHashMap<(Tid, u64), Measure>,
    /// Processes with a measure.
    contended: FxHashSet<Tid>,
    /// Who made whom wait.
    pub edges: Edges,
    /// Entries that found no place.
    pub evicted: u64,
}

impl Locks {
    /// The interpreter of a process was looked at.
    pub fn see(&mut self, mut seen: InterpreterSeen) {
        if self.seen.len() >= MAX_PROCESSES && !self.seen.contains_key(&seen.tgid) {
            self.evicted = self.evicted.saturating_add(1);
            return;
        }
        seen.locks.truncate(MAX_LOCKS);
        self.seen.insert(seen.tgid, seen);
    }

    /// What the threads of a process in another PID namespace call themselves.
    pub fn number(&mut self, seen: &ThreadNumbers) {
        if self.numbers.len() >= MAX_PROCESSES && !self.numbers.contains_key(&seen.tgid) {
            self.evicted = self.evicted.saturating_add(1);
            return;
        }
        self.numbers.insert(seen.tgid, seen.numbers.iter().take(MAX_WAITERS).copied().collect());
    }

    /// The thread of a process that its interpreter calls by this number; 0: not known.
    #[must_use]
    pub fn thread(&self, tgid: Tid, number: Tid) -> Tid {
        match self.seen.get(&tgid) {
            Some(seen) if seen.foreign_numbers => {
                self.numbers.get(&tgid).and_then(|threads| threads.get(&number)).copied().unwrap_or(0)
            }
            _ => number,
        }
    }

    /// A process forked: until it is looked at, the child's locks are where the parent's are.
    pub fn fork(&mut self, parent: Tid, child: Tid) {
        if parent != child
            && let Some(seen) = self.seen.get(&parent)
        {
            self.see(InterpreterSeen { tgid: child, ..seen.clone() });
        }
    }

    /// A process executed another program: what was known of its memory is void.
    pub fn exec(&mut self, tgid: Tid) {
        self.seen.remove(&tgid);
        self.numbers.remove(&tgid);
    }

    /// Takes the next slice of a thread, which ended at `exit_ns`, with the thread's wait so far.
    pub fn follow(
        &mut self,
        waiting: &mut Waiting,
        slice: &Slice,
        exit_ns: u64,
        window_start_ns: u64,
    ) -> Part {
        let gave_up = std::mem::take(&mut waiting.gave_up);
        let lock = match self.lock_of(slice) {
            Some((lock, true)) => lock,
            other => {
                if waiting.episode.is_some() {
                    self.end(slice.tid, waiting.episode.take(), window_start_ns);
                }
                waiting.gave_up = other.is_some();
                return if other.is_some() { Part::Handover } else { Part::None };
            }
        };
        if let Some(episode) = &mut waiting.episode
            && episode.goes_on_with(slice, lock)
        {
            episode.end_ns = exit_ns;
            episode.run_queue_ns = episode
                .run_queue_ns
                .saturating_add(slice.gap.run_queue_ns)
                .saturating_add(slice.inside.run_queue_ns);
            episode.sleeps = episode.sleeps.saturating_add(1);
            self.measure_sleep(episode, slice, slice.gap_start_ns(), window_start_ns);
            return Part::Again;
        }
        let mut next = Episode {
            tgid: slice.tgid,
            lock,
            start_ns: slice.enter_ns,
            end_ns: exit_ns,
            run_queue_ns: slice.inside.run_queue_ns,
            sleeps: 1,
            attempt: Attempt::default(),
            not_honoured_ns: 0,
        };
        self.end(slice.tid, waiting.episode.take(), window_start_ns);
        let forced = gave_up || had_it_for_an_interval(slice, &lock);
        if let Some(measure) = self.measure_sleep(&mut next, slice, slice.enter_ns, window_start_ns) {
            measure.begin(forced);
        }
        waiting.episode = Some(next);
        Part::First
    }

    /// Takes a sleep of an attempt into the sums of its lock, if it is in the window.
    fn measure_sleep(
        &mut self,
        episode: &mut Episode,
        slice: &Slice,
        waited_from_ns: u64,
        window_start_ns: u64,
    ) -> Option<&mut Measure> {
        episode.not_honoured_ns = 0;
        if episode.end_ns <= window_start_ns {
            return None;
        }
        let on_condition = matches!(
            slice.call, Call::FutexWait { operation, .. } if operation & COMMAND == FUTEX_WAIT_BITSET
        );
        let sleep = Sleep::of(slice, episode.end_ns, on_condition);
        let measure = self.measure(episode)?;
        let waited_from_ns = waited_from_ns.max(window_start_ns);
        episode.not_honoured_ns = measure.sleep(&mut episode.attempt, &sleep, waited_from_ns);
        Some(measure)
    }

    fn measure(&mut self, episode: &Episode) -> Option<&mut Measure> {
        let key = (episode.tgid, episode.lock.address);
        if self.measures.len() >= MAX_PROCESSES && !self.measures.contains_key(&key) {
            self.evicted = self.evicted.saturating_add(1);
            return None;
        }
        self.contended.insert(episode.tgid);
        Some(self.measures.entry(key).or_insert_with(|| Measure::new(episode.tgid, &episode.lock)))
    }

    /// A thread's wait is over. What lies before the window does not count.
    pub fn end(&mut self, tid: Tid, episode: Option<Episode>, window_start_ns: u64) {
        let Some(episode) = episode.filter(|episode| episode.end_ns > window_start_ns) else { return };
        let wait_ns = episode.end_ns.saturating_sub(episode.start_ns.max(window_start_ns));
        self.waits.record(wait_ns);
        let run_queue_ns = episode.run_queue_ns.min(wait_ns);
        self.run_queue_ns = self.run_queue_ns.saturating_add(run_queue_ns);
        if let Some(measure) = self.measure(&episode) {
            measure.end(&episode.attempt, wait_ns, run_queue_ns, episode.end_ns);
        }
        self.sleeps = self.sleeps.saturating_add(episode.sleeps);
        if wait_ns > episode.lock.interval_us.saturating_mul(1000) {
            self.past_interval = self.past_interval.saturating_add(1);
        }
        let who = (episode.tgid, tid);
        if self.waiters.len() >= MAX_WAITERS && !self.waiters.contains_key(&who) {
            self.evicted = self.evicted.saturating_add(1);
            return;
        }
        let waiter = self.waiters.entry(who).or_default();
        waiter.waits = waiter.waits.saturating_add(1);
        waiter.total_ns = waiter.total_ns.saturating_add(wait_ns);
        waiter.run_queue_ns = waiter.run_queue_ns.saturating_add(run_queue_ns);
        waiter.longest_ns = waiter.longest_ns.max(wait_ns);
    }

    /// The next window begins: sums start anew; where the locks are stays, but for processes that have ended.
    pub fn roll(&mut self, has_ended: impl Fn(Tid) -> bool) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.retain(|tgid, _| !has_ended(*tgid));
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.retain(|tgid, _| seen.contains_key(tgid));
        let mut edges = std::mem::take(&mut self.edges);
        edges.roll();
        *self = Self { seen, numbers, edges, ..Self::default() };
    }

    /// Why no wait can be told; `None`: it can.
    #[must_use]
    pub fn not_measured(&self) -> Option<String> {
        // Of several reasons the same one is given however the table is laid out.
        let mut seen: Vec<&InterpreterSeen> = self.seen.values().collect();
        seen.sort_unstable_by_key(|seen| seen.tgid);
        not_measured(seen.into_iter())
    }

    /// The waits of the window; `name` gives the names of threads.
    #[must_use]
    pub fn finish(self, name: impl Fn(Tid) -> String) -> Gil {
        let not_measured = self.not_measured();
        let thread_count = u64::try_from(self.waiters.len()).unwrap_or(u64::MAX);
        let mut threads: Vec<Waiter> =
            self.waiters.into_iter().map(|((tgid, tid), waiter)| Waiter { tgid, tid, ..waiter }).collect();
        threads.sort_unstable_by_key(|waiter| (std::cmp::Reverse(waiter.total_ns), waiter.tgid, waiter.tid));
        threads.truncate(MAX_LISTED);
        for waiter in &mut threads {
            waiter.comm = name(waiter.tid);
        }
        let mut interpreters: Vec<InterpreterSeen> = self.seen.into_values().collect();
        interpreters.sort_unstable_by_key(|seen| seen.tgid);
        let holders_known = interpreters.iter().any(|seen| seen.thread_number_at.is_some());
        let mut locks: Vec<Lock> = self.measures.into_values().map(Measure::finish).collect();
        locks.sort_unstable_by_key(|lock| (std::cmp::Reverse(lock.wait_ns), lock.tgid, lock.interpreter));
        locks.truncate(MAX_LISTED);
        let (thread_edges, other_thread_edges_ns) = self.edges.finish_threads(&name);
        let (edges, other_edges_ns) = self.edges.finish(&name);
        Gil {
            thread_edges,
            other_thread_edges_ns,
            locks,
            holders_known,
            edges,
            other_edges_ns,
            not_measured,
            interpreters,
            waits: self.waits,
            run_queue_ns: self.run_queue_ns,
            past_interval: self.past_interval,
            sleeps: self.sleeps,
            threads,
            thread_count,
        }
    }

    /// Whether anybody waited for a lock of this process in the window.
    #[must_use]
    pub fn is_contended(&self, tgid: Tid) -> bool {
        self.contended.contains(&tgid)
    }

    /// Whether the call of a slice waits to take a lock.
    #[must_use]
    pub fn is_wait(&self, slice: &Slice) -> bool {
        self.lock_of(slice).is_some_and(|(_, takes)| takes)
    }

    /// The lock on whose memory the call of a slice waits, if it does, and whether to take it.
    fn lock_of(&self, slice: &Slice) -> Option<(InterpreterLock, bool)> {
        let Call::FutexWait { address, operation, .. } = slice.call else { return None };
        let locks = &self.seen.get(&slice.tgid)?.locks;
        locks.iter().find_map(|lock| {
            let distance = address.checked_sub(lock.address).filter(|distance| *distance < LENGTH)?;
            Some((*lock, is_take_wait(distance, operation)))
        })
    }
}

impl Episode {
    /// The next window begins in the middle of it: what it was made of so far has been counted.
    pub fn roll(&mut self) {
        (self.run_queue_ns, self.sleeps) = (0, 0);
        self.attempt = Attempt::default();
    }

    /// By how much its last sleep made a request longer that was not honoured.
    #[must_use]
    pub const fn not_honoured_ns(&self) -> u64 {
        self.not_honoured_ns
    }

    /// Whether a wait for `lock` is a further sleep of this attempt: nothing happened in between but a look at the flag.
    fn goes_on_with(&self, slice: &Slice, lock: InterpreterLock) -> bool {
        self.lock.address == lock.address
            && self.tgid == slice.tgid
            && self.end_ns == slice.gap_start_ns()
            && matches!(slice.gap_blocked_call, NO_CALL | PAGE_FAULT)
            && slice.gap.cpu_ns <= LOOP_MAX_CPU_NS
    }
}

/// Whether a thread that begins to wait ran for a switch interval without a call that blocks: it was made to give the lock
/// up, as others ask for that only after an interval in which they did not get it.
fn had_it_for_an_interval(slice: &Slice, lock: &InterpreterLock) -> bool {
    // Nine tenths: the one that asks has slept for a little less than the holder has run.
    let interval_ns = lock.interval_us.saturating_mul(900);
    matches!(slice.gap_blocked_call, NO_CALL | PAGE_FAULT) && slice.gap.total_ns() >= interval_ns
}

#[cfg(test)]
mod tests;
