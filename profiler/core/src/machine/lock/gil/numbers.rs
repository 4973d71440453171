//! Which thread an interpreter of another PID namespace means by a number.
//!
//! In: births of threads, each with the number that it has there; what `/proc` lists of a process's threads
//! once a second. Out: the thread that has a number, as we number it. A listing has the threads from before
//! the run. A birth is known at once, and after the thread's end too: a wait may end later than the thread
//! that it was because of.

use rustc_hash::FxHashMap;

use super::{MAX_PROCESSES, MAX_WAITERS};
use crate::event::Tid;
use crate::fact::ThreadNumbers;

/// Threads of one process: by their numbers there, the numbers here.
type Threads = FxHashMap<Tid, Tid>;

/// Threads of all processes in other PID namespaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    listed: FxHashMap<Tid, Threads>,
    /// Births of late.
    young: Births,
    /// Births before the young ones. They go when there is no room for further young ones: after so many
    /// births, whoever lives on is listed.
    older: Births,
}

/// Births, by process.
#[derive(Clone, Debug, Default)]
struct Births {
    threads: FxHashMap<Tid, Threads>,
    count: usize,
}

impl Births {
    fn thread(&self, tgid: Tid, number: Tid) -> Option<Tid> {
        self.threads.get(&tgid)?.get(&number).copied()
    }

    /// The number there of a thread.
    fn number(&self, tgid: Tid, thread: Tid) -> Option<Tid> {
        self.threads.get(&tgid)?.iter().find(|(_, tid)| **tid == thread).map(|(number, _)| *number)
    }

    fn insert(&mut self, (tgid, tid): (Tid, Tid), number: Tid) {
        let is_new = self.threads.entry(tgid).or_default().insert(number, tid).is_none();
        self.count = self.count.saturating_add(usize::from(is_new));
    }

    fn forget(&mut self, tgid: Tid) {
        let count = self.threads.remove(&tgid).map_or(0, |threads| threads.len());
        self.count = self.count.saturating_sub(count);
    }

    fn retain(&mut self, stays: impl Fn(Tid) -> bool) {
        self.threads.retain(|tgid, _| stays(*tgid));
        self.count = self.threads.values().map(FxHashMap::len).sum();
    }

    /// Another thread has this number now, as a listing says: the birth was not seen.
    fn correct(&mut self, tgid: Tid, (number, tid): (Tid, Tid)) {
        if let Some(known) = self.threads.get_mut(&tgid).and_then(|threads| threads.get_mut(&number)) {
            *known = tid;
        }
    }
}

impl Numbers {
    /// Takes the threads that a process has; how many, or that one process, found no place.
    pub(super) fn list(&mut self, seen: &ThreadNumbers) -> usize {
        if self.listed.len() >= MAX_PROCESSES && !self.listed.contains_key(&seen.tgid) {
            return 1;
        }
        let numbers = seen.numbers.iter().take(MAX_WAITERS).copied();
        for numbered in numbers.clone() {
            self.young.correct(seen.tgid, numbered);
            self.older.correct(seen.tgid, numbered);
        }
        self.listed.insert(seen.tgid, numbers.collect());
        seen.numbers.len().saturating_sub(MAX_WAITERS)
    }

    /// Takes a birth: process, thread, and the number that it has in its own PID namespace.
    pub(super) fn born(&mut self, who: (Tid, Tid), number: Tid) {
        if self.young.count >= MAX_WAITERS {
            self.older = std::mem::take(&mut self.young);
        }
        self.young.insert(who, number);
    }

    /// The thread of a process that has this number there.
    pub(super) fn thread(&self, tgid: Tid, number: Tid) -> Option<Tid> {
        let listed = || self.listed.get(&tgid)?.get(&number).copied();
        self.young.thread(tgid, number).or_else(|| self.older.thread(tgid, number)).or_else(listed)
    }

    /// A process executed another program: of its threads, the one that goes on has its number still.
    pub(super) fn exec(&mut self, tgid: Tid) {
        let main = self.young.number(tgid, tgid).or_else(|| self.older.number(tgid, tgid));
        self.forget(tgid);
        if let Some(number) = main {
            self.born((tgid, tgid), number);
        }
    }

    /// Forgets a process.
    pub(super) fn forget(&mut self, tgid: Tid) {
        self.listed.remove(&tgid);
        self.young.forget(tgid);
        self.older.forget(tgid);
    }

    /// Keeps these processes.
    pub(super) fn retain(&mut self, stays: impl Fn(Tid) -> bool + Copy) {
        self.listed.retain(|tgid, _| stays(*tgid));
        self.young.retain(stays);
        self.older.retain(stays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(tgid: Tid, numbers: &[(Tid, Tid)]) -> ThreadNumbers {
        ThreadNumbers { tgid, numbers: numbers.to_vec() }
    }

    #[test]
    fn a_thread_is_known_from_its_birth_on_whatever_listings_say_and_after_its_end() {
        let mut numbers = Numbers::default();
        numbers.list(&listing(100, &[(1, 100), (2, 101)]));
        numbers.born((100, 109), 9);
        assert_eq!(numbers.thread(100, 9), Some(109));
        // This one was read before that birth, the next after its end.
        for listed in [&[(1, 100), (2, 101)][..], &[(1, 100)]] {
            numbers.list(&listing(100, listed));
            assert_eq!(numbers.thread(100, 9), Some(109));
        }
        assert_eq!((numbers.thread(100, 2), numbers.thread(7, 9)), (None, None));
        numbers.born((100, 118), 9);
        assert_eq!(numbers.thread(100, 9), Some(118), "the number has passed to another");
        numbers.list(&listing(100, &[(1, 100), (9, 127)]));
        assert_eq!(numbers.thread(100, 9), Some(127), "the birth of that one was lost");
    }

    #[test]
    fn births_stay_within_their_bound_and_the_oldest_go_first() {
        let mut numbers = Numbers::default();
        let count = u32::try_from(2 * MAX_WAITERS + 1).expect("small");
        for number in 1..=count {
            numbers.born((1, 100_000 + number), number);
        }
        assert!(numbers.young.count + numbers.older.count <= 2 * MAX_WAITERS);
        let known = |number| numbers.thread(1, number);
        assert_eq!((known(1), known(count)), (None, Some(100_000 + count)));
        assert_eq!(known(count - 16_384), Some(100_000 + count - 16_384));
    }

    #[test]
    fn what_a_process_executes_knows_its_main_thread_alone_and_another_process_nothing() {
        let mut numbers = Numbers::default();
        numbers.born((100, 100), 1);
        numbers.born((100, 101), 2);
        numbers.list(&listing(100, &[(3, 102)]));
        numbers.exec(100);
        assert_eq!([1, 2, 3].map(|number| numbers.thread(100, number)), [Some(100), None, None]);
        numbers.born((200, 201), 2);
        numbers.retain(|tgid| tgid == 100);
        assert_eq!((numbers.thread(200, 2), numbers.young.count), (None, 1));
        numbers.forget(100);
        assert_eq!((numbers.thread(100, 1), numbers.young.count), (None, 0));
    }
}
