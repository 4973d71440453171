//! Waits for the interpreter lock, recognised by their system calls.
//!
//! In: where the locks are (facts), the slices of each thread in order. Out: what part of a wait a slice is,
//! and episodes. An episode is all sleeps of one attempt to take the lock. The lock is a `struct
//! _gil_runtime_state`: a flag under a mutex and a condition variable. Their distances from each other are
//! the same in CPython 3.8 to 3.15 on `x86_64` with glibc. On arm64 glibc's mutex has 8 bytes more. What
//! comes after the first one lies further back, but every word that a thread waits on is distinguished from
//! the others by the same bounds.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::bounded::BoundedMap;
use crate::event::{Call, Slice, Tid};
use crate::fact::{InterpreterLock, InterpreterSeen, ThreadNumbers};
use crate::machine::lock::gil_edge::Edges;
use crate::machine::lock::gil_measure::{Measure, Sleep};
use crate::machine::lock::gil_place::Samples;
use crate::machine::lock::gil_waits::EndedAttempt;
use crate::machine::world::living::Living;
use crate::model::gil::{Gil, Lock, Waiter};
use crate::model::gil_method::Seen;
use crate::model::latency::Latency;
use profiler_common::record::slice::{FLAG_GIVES_UP, NO_CALL, PAGE_FAULT};

mod episode;
mod numbers;
mod part;

pub use episode::Episode;
use episode::On;
use numbers::Numbers;
pub use part::{Followed, Part};

/// Offset of the takers' condition variable from the lock's address.
pub(super) const COND: u64 = 32;
/// Offset of the mutex.
pub(super) const MUTEX: u64 = 80;
/// Offset of the condition variable of a forced switch. Only a thread that has dropped the lock waits there.
pub(super) const SWITCH_COND: u64 = 120;
/// Offset of its mutex. A thread that takes the lock needs it for a moment too.
const SWITCH_MUTEX: u64 = 168;
/// Length of the structure.
const LENGTH: u64 = 208;
/// `FUTEX_CMD_MASK` without the private and clock flags, include/uapi/linux/futex.h.
pub(super) const COMMAND: u32 = 127;
/// `FUTEX_WAIT`: a mutex.
pub(super) const FUTEX_WAIT: u32 = 0;
/// `FUTEX_WAIT_BITSET`: a condition variable.
pub(super) const FUTEX_WAIT_BITSET: u32 = 9;
/// Processes whose locks are remembered.
const MAX_PROCESSES: usize = 4096;
/// Locks of one process.
const MAX_LOCKS: usize = 64;
/// Threads whose waits are summed separately.
const MAX_WAITERS: usize = 16_384;
/// Threads that the report lists.
const MAX_LISTED: usize = 32;

/// Why nothing is reported with `--gil=off`.
const OFF: &str =
    "it was switched off (--gil=off); waits for the GIL, if there is one, are part of lock_wait";

/// Whether a futex wait at this distance from a lock's address is a wait to take the lock.
pub const fn is_take_wait(distance: u64, operation: u32) -> bool {
    match operation & COMMAND {
        FUTEX_WAIT_BITSET => distance >= COND && distance < MUTEX,
        FUTEX_WAIT => distance >= MUTEX && distance < SWITCH_COND,
        _ => false,
    }
}

/// Why no wait for the lock can be measured in processes with these interpreters; `None`: in at least one
/// process it can.
pub fn not_measured<'a>(seen: impl Iterator<Item = &'a InterpreterSeen>) -> Option<String> {
    const IN_LOCK_WAIT: &str = "; waits for the GIL, if there is one, are part of lock_wait";
    let (mut refused, mut free_threaded, mut without, mut not_started) = (None, false, false, false);
    for interpreter in seen {
        if !interpreter.locks.is_empty() {
            return None;
        }
        match &interpreter.refused {
            Some(reason) if refused.is_none() => refused = Some(reason.as_str()),
            Some(_) => {}
            None if interpreter.free_threaded => free_threaded = true,
            None if interpreter.version.is_some() => not_started = true,
            None => without = true,
        }
    }
    Some(match refused {
        Some(reason) => format!("{reason}{IN_LOCK_WAIT}"),
        None if not_started => "the target's Python interpreter has not been started yet".to_owned(),
        None if free_threaded => "the interpreter is a free-threaded build: it has no GIL".to_owned(),
        None if without => "no process of the target has a Python interpreter".to_owned(),
        None => format!("the target's Python interpreters were not read{IN_LOCK_WAIT}"),
    })
}

/// How a thread stands with a lock, as of its last slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtLock {
    /// The attempt that it is in, or was in.
    pub episode: Option<Episode>,
    /// The thread was forced to give the lock up, and has done nothing else since.
    pub gave_up: bool,
}

impl AtLock {
    /// Whether the thread's next slice is neither a wait for a lock nor the end of one: nearly every slice.
    #[inline]
    pub const fn passes(&mut self, slice: &Slice) -> bool {
        let passes = self.episode.is_none() && !matches!(slice.call, Call::FutexWait { .. });
        self.gave_up &= !passes;
        passes
    }
}

/// All known locks, and who waited for them.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    seen: BoundedMap<Tid, InterpreterSeen, MAX_PROCESSES>,
    /// Threads of processes in other PID namespaces, by their numbers there.
    numbers: Numbers,
    waits: Latency,
    run_queue_ns: u64,
    past_interval: u64,
    sleeps: u64,
    waiters: BoundedMap<(Tid, Tid), Waiter, MAX_WAITERS>,
    measures: BoundedMap<(Tid, u64), Measure, MAX_PROCESSES>,
    /// Processes with a measure.
    contended: FxHashSet<Tid>,
    /// By thread, also ended ones: the lock that it last slept for, when it was awake again, and when after
    /// the sleep before for it.
    slept: FxHashMap<Tid, (u64, u64, u64)>,
    /// How waits are seen.
    pub method: Seen,
    /// Who made whom wait.
    pub edges: Edges,
    /// Where the holders were.
    pub samples: Samples,
    /// Locks and numbers that found no place.
    evicted: u64,
}

impl Locks {
    /// The interpreter of a process was looked at.
    pub fn see(&mut self, mut seen: InterpreterSeen) {
        let without_place = seen.locks.len().saturating_sub(MAX_LOCKS);
        seen.locks.truncate(MAX_LOCKS);
        if self.seen.insert(seen.tgid, seen) {
            self.evict(without_place);
        }
    }

    /// Takes the numbers that the threads of a process have in their own PID namespace.
    pub fn number(&mut self, seen: &ThreadNumbers) {
        let without_place = self.numbers.list(seen);
        self.evict(without_place);
    }

    /// A thread of a process was made, with this number in its own PID namespace; 0: not known.
    pub fn born(&mut self, (tgid, tid): (Tid, Tid), number: Tid) {
        // Both are the same, as good as always, in the namespace whose numbers we use.
        let is_foreign = || self.seen.get(&tgid).is_some_and(|seen| seen.foreign_numbers);
        if number != 0 && (number != tid || is_foreign()) {
            self.numbers.born((tgid, tid), number);
        }
    }

    const fn evict(&mut self, count: usize) {
        self.evicted = self.evicted.saturating_add(count as u64);
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.seen.evicted()
            + self.waiters.evicted()
            + self.measures.evicted()
            + self.samples.evicted()
            + self.evicted
    }

    /// The thread of a process to which its interpreter gives this number; 0: not known.
    pub fn thread(&self, tgid: Tid, number: Tid) -> Tid {
        match self.seen.get(&tgid) {
            Some(seen) if number != 0 && seen.inherited_number == Some(number) => tgid,
            Some(seen) if seen.foreign_numbers => self.numbers.thread(tgid, number).unwrap_or(0),
            _ => number,
        }
    }

    /// A process forked. Until the child is read, its locks are taken to be where the parent's are. What was
    /// known of an earlier process with its number is void.
    pub fn fork(&mut self, parent: Tid, child: Tid) {
        if parent == child {
            return;
        }
        self.seen.remove(&child);
        self.numbers.forget(child);
        if let Some(seen) = self.seen.get(&parent) {
            let inherited_number = (!seen.foreign_numbers).then_some(parent);
            self.see(InterpreterSeen { tgid: child, inherited_number, ..seen.clone() });
        }
    }

    /// A process executed another program: what was known of its memory is void.
    pub fn exec(&mut self, tgid: Tid) {
        self.seen.remove(&tgid);
        self.numbers.exec(tgid);
        self.samples.exec(tgid);
    }

    /// Takes a thread's next slice, and the thread's wait so far.
    #[inline]
    pub fn follow(&mut self, at_lock: &mut AtLock, slice: &Slice, window_start_ns: u64) -> Followed {
        if at_lock.passes(slice) {
            return Followed { part: Part::None, tail_ns: 0, ended: None };
        }
        self.follow_waits(at_lock, slice, window_start_ns)
    }

    fn follow_waits(&mut self, at_lock: &mut AtLock, slice: &Slice, window_start_ns: u64) -> Followed {
        let gave_up = std::mem::take(&mut at_lock.gave_up);
        let found = self.lock_of(slice);
        if let (Some((lock, on)), Some(episode)) = (found, &mut at_lock.episode)
            && episode.continues_with(slice, lock, on)
        {
            self.slept(slice.tid, lock.address, slice.exit_ns);
            episode.sleep_again(slice);
            self.measure_sleep(episode, slice, slice.gap_start_ns(), window_start_ns);
            return Followed { part: Part::Again, tail_ns: 0, ended: None };
        }
        let tail_ns = at_lock.episode.as_mut().map_or(0, |episode| episode.continued(slice, window_start_ns));
        let ended = if at_lock.episode.is_some() {
            self.end(slice.tid, at_lock.episode.take(), window_start_ns)
        } else {
            None
        };
        let Some((lock, on)) = found else { return Followed { part: Part::None, tail_ns, ended } };
        let forced = gave_up || self.was_made_to_give_up(slice, &lock);
        if on != On::Take {
            // A thread that waits for the next holder had been asked, whether that was seen or not.
            at_lock.gave_up = forced || on == On::Handover;
            return Followed { part: Part::Handover, tail_ns, ended };
        }
        self.slept(slice.tid, lock.address, slice.exit_ns);
        let part = Part::First;
        let mut next = Episode::begin(slice, lock);
        next.is_after_forced = forced;
        let start_ns = next.start_ns;
        if let Some(measure) = self.measure_sleep(&mut next, slice, start_ns, window_start_ns) {
            measure.begin(forced);
        }
        at_lock.episode = Some(next);
        Followed { part, tail_ns, ended }
    }

    fn slept(&mut self, tid: Tid, lock: u64, exit_ns: u64) {
        if self.slept.len() >= MAX_WAITERS && !self.slept.contains_key(&tid) {
            // Most likely of threads that have ended. Only sleeps at this moment need them.
            self.slept.clear();
        }
        let slept = self.slept.entry(tid).or_default();
        *slept = (lock, exit_ns, if slept.0 == lock { slept.1 } else { 0 });
    }

    /// When this thread was awake to take the lock that another waits for in the call of `slice`. `None`: it
    /// has not slept for that lock since the call began. If this thread was the last to have the lock at
    /// the call's end, it had it from that time on.
    pub fn took_in(&self, tid: Tid, slice: &Slice) -> Option<u64> {
        let Call::FutexWait { address, .. } = slice.call else { return None };
        let (lock, awake_ns, _) = self.slept.get(&tid).copied()?;
        (address.wrapping_sub(lock) < LENGTH && awake_ns > slice.enter_ns).then_some(awake_ns)
    }

    /// When this thread was awake to take the lock for which another slept in the call of `slice`, up to
    /// `until_ns`; `None`: the last two sleeps of this thread do not show it.
    pub fn took_until(&self, tid: Tid, slice: &Slice, until_ns: u64) -> Option<u64> {
        let Call::FutexWait { address, .. } = slice.call else { return None };
        let (lock, awake_ns, before_ns) = self.slept.get(&tid).copied()?;
        let awake_ns = if awake_ns < until_ns { awake_ns } else { before_ns };
        let is_within = awake_ns > slice.enter_ns && awake_ns < until_ns;
        (address.wrapping_sub(lock) < LENGTH && is_within).then_some(awake_ns)
    }

    /// Adds a sleep of an attempt to the sums of its lock, if it is in the window.
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
        let on_condition = on_condition(slice, &episode.lock);
        let sleep = Sleep::of(slice, on_condition);
        let measure = self.measure(episode)?;
        let waited_from_ns = waited_from_ns.max(window_start_ns);
        episode.not_honoured_ns = measure.sleep(&mut episode.attempt, &sleep, waited_from_ns);
        Some(measure)
    }

    /// Whether a thread that makes a call on the lock's memory was forced to give the lock up before that
    /// call. Another thread had waited for a whole switch interval, found this one still the holder, and
    /// asked it for the lock. Meanwhile this one made no call that blocks.
    fn was_made_to_give_up(&self, slice: &Slice, lock: &InterpreterLock) -> bool {
        if !matches!(slice.in_gap.blocked_call, NO_CALL | PAGE_FAULT) {
            return false;
        }
        let holders_known =
            self.seen.get(&slice.tgid).is_some_and(|interpreter| interpreter.thread_number_at.is_some());
        if !holders_known {
            return had_it_for_an_interval(slice, lock);
        }
        let measure = self.measures.get(&(slice.tgid, lock.address));
        measure.is_some_and(|measure| measure.was_asked(slice.tid, slice.gap_start_ns(), slice.enter_ns))
    }

    fn measure(&mut self, episode: &Episode) -> Option<&mut Measure> {
        let key = (episode.tgid, episode.lock.address);
        let measure = self.measures.get_or_insert_with(key, || Measure::new(episode.tgid, &episode.lock))?;
        self.contended.insert(episode.tgid);
        Some(measure)
    }

    /// A thread's wait is over. What lies before the window does not count. Returns the wait if each one is
    /// asked for (`--stacks`).
    pub fn end(
        &mut self,
        tid: Tid,
        episode: Option<Episode>,
        window_start_ns: u64,
    ) -> Option<Box<EndedAttempt>> {
        let episode = episode?;
        let wait_ns = episode.end_ns.saturating_sub(episode.start_ns.max(window_start_ns));
        if episode.end_ns > window_start_ns {
            self.count(tid, &episode, wait_ns);
        }
        self.samples.attempt_ended((episode.tgid, tid), episode.span(), wait_ns)
    }

    /// Adds a wait, of which `wait_ns` are in the window, to the sums.
    fn count(&mut self, tid: Tid, episode: &Episode, wait_ns: u64) {
        self.waits.record(wait_ns);
        let run_queue_ns = episode.run_queue_ns.min(wait_ns);
        self.run_queue_ns = self.run_queue_ns.saturating_add(run_queue_ns);
        if let Some(measure) = self.measure(episode) {
            measure.end(&episode.attempt, wait_ns, run_queue_ns, episode.end_ns);
        }
        self.sleeps = self.sleeps.saturating_add(episode.sleeps);
        if wait_ns > episode.lock.interval_us.saturating_mul(1000) {
            self.past_interval = self.past_interval.saturating_add(1);
        }
        let Some(waiter) = self.waiters.get_or_default((episode.tgid, tid)) else { return };
        waiter.waits = waiter.waits.saturating_add(1);
        waiter.total_ns = waiter.total_ns.saturating_add(wait_ns);
        waiter.run_queue_ns = waiter.run_queue_ns.saturating_add(run_queue_ns);
        waiter.longest_ns = waiter.longest_ns.max(wait_ns);
    }

    /// The next window begins: sums start at zero. Where the locks are stays known, except for processes that
    /// have ended.
    pub fn roll(&mut self, has_ended: impl Fn(Tid) -> bool) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.retain(|tgid, _| !has_ended(*tgid));
        let mut samples = std::mem::take(&mut self.samples);
        samples.roll(has_ended);
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.retain(|tgid| seen.contains_key(&tgid));
        let mut edges = std::mem::take(&mut self.edges);
        edges.roll();
        let mut method = std::mem::take(&mut self.method);
        method.roll();
        let slept = std::mem::take(&mut self.slept);
        *self = Self { seen, numbers, edges, samples, method, slept, ..Self::default() };
    }

    /// Forgets processes and threads that have ended.
    pub(in crate::machine) fn retain(&mut self, living: &Living) {
        self.seen.retain(|tgid, _| living.process(*tgid));
        self.numbers.retain(|tgid| living.process(tgid));
        self.slept.retain(|tid, _| living.thread(*tid));
    }

    /// Why no wait can be measured; `None`: waits can.
    pub fn not_measured(&self) -> Option<String> {
        // Of several reasons, always the same one is given, whatever the table's order.
        if self.method.is_off() {
            return Some(OFF.to_owned());
        }
        if let Some(reason) = self.method.blind() {
            return Some(reason);
        }
        let mut seen: Vec<&InterpreterSeen> = self.seen.values().collect();
        seen.sort_unstable_by_key(|seen| seen.tgid);
        not_measured(seen.into_iter())
    }

    /// The waits of the window; `name` gives the names of threads.
    pub fn finish(self, name: impl Fn(Tid) -> String) -> Gil {
        let not_measured = self.not_measured();
        let thread_count = u64::try_from(self.waiters.len()).unwrap_or(u64::MAX);
        let mut threads: Vec<Waiter> = self
            .waiters
            .into_map()
            .into_iter()
            .map(|((tgid, tid), waiter)| Waiter { tgid, tid, ..waiter })
            .collect();
        threads.sort_unstable_by_key(|waiter| (std::cmp::Reverse(waiter.total_ns), waiter.tgid, waiter.tid));
        threads.truncate(MAX_LISTED);
        for waiter in &mut threads {
            waiter.comm = name(waiter.tid);
        }
        let mut interpreters: Vec<InterpreterSeen> = self.seen.into_map().into_values().collect();
        interpreters.sort_unstable_by_key(|seen| seen.tgid);
        let holders_known = interpreters.iter().any(|seen| seen.thread_number_at.is_some());
        let mut locks: Vec<Lock> = self.measures.into_map().into_values().map(Measure::finish).collect();
        locks.sort_unstable_by_key(|lock| (std::cmp::Reverse(lock.wait_ns), lock.tgid, lock.interpreter));
        locks.truncate(MAX_LISTED);
        let (thread_edges, other_thread_edges_ns) = self.edges.finish_threads(&name);
        let (edges, other_edges_ns) = self.edges.finish(&name);
        Gil {
            places: self.samples.finish(|number| self.edges.contender(number, &name)),
            method: self.method.finish(),
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
    pub fn is_contended(&self, tgid: Tid) -> bool {
        self.contended.contains(&tgid)
    }

    /// The lock of a process on whose memory `address` is.
    pub fn lock_at(&self, tgid: Tid, address: u64) -> Option<InterpreterLock> {
        let locks = &self.seen.get(&tgid)?.locks;
        locks.iter().find(|lock| address.wrapping_sub(lock.address) < LENGTH).copied()
    }

    /// Whether the call of a slice waits to take a lock.
    pub fn is_wait(&self, slice: &Slice) -> bool {
        self.lock_of(slice).is_some_and(|(_, on)| on == On::Take)
    }

    /// The lock on whose memory the call of a slice waits, and on which part of it; `None`: on none.
    fn lock_of(&self, slice: &Slice) -> Option<(InterpreterLock, On)> {
        let Call::FutexWait { address, operation, .. } = slice.call else { return None };
        let locks = &self.seen.get(&slice.tgid)?.locks;
        let on_memory = locks.iter().find_map(|lock| {
            let distance = address.checked_sub(lock.address).filter(|distance| *distance < LENGTH)?;
            let on = match operation & COMMAND {
                _ if slice.flags & FLAG_GIVES_UP != 0 => On::GivesUp,
                _ if is_take_wait(distance, operation) => On::Take,
                FUTEX_WAIT if (COND..MUTEX).contains(&distance) => On::Inner,
                FUTEX_WAIT if distance >= SWITCH_MUTEX => On::Switch,
                _ => On::Handover,
            };
            Some((*lock, on))
        });
        // A C library may have its futex elsewhere. Then a probe identified the wait.
        let told = || slice.lock.take_lead_ns.and_then(|_| locks.iter().find(|lock| lock.interpreter == 0));
        on_memory.or_else(|| told().map(|lock| (*lock, On::Take)))
    }
}

/// Whether a wait to take a lock is on its condition variable, not only on its mutex. glibc waits there with
/// a bitset. musl waits on the stack of the waiting thread (src/thread/pthread_cond_timedwait.c).
const fn on_condition(slice: &Slice, lock: &InterpreterLock) -> bool {
    let Call::FutexWait { address, operation, .. } = slice.call else { return false };
    operation & COMMAND == FUTEX_WAIT_BITSET || address.wrapping_sub(lock.address) >= LENGTH
}

/// Whether a thread ran for a switch interval before this. Others ask for the lock only after an interval in
/// which they did not get it. For use where it is not known whom they ask.
const fn had_it_for_an_interval(slice: &Slice, lock: &InterpreterLock) -> bool {
    // Nine tenths: the thread that asks has slept for a little less than the holder has run.
    slice.gap.total_ns() >= lock.interval_us.saturating_mul(900)
}

#[cfg(test)]
mod tests;
