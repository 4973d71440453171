//! Threads that are asleep, as a thread of our own sees them beside the one that drains the rings.
//!
//! In: the map `ACCOUNTS`, mapped once more. Out: [`Sleeper`]s, and whether one sleeps on. One pass touches
//! one cache line an element, however many threads sleep.

use std::sync::atomic::{Ordering, fence};

use aya::Ebpf;
use profiler_common::account::{BLOCKED, FREE, ThreadAccount};

use super::LiveError;
use super::mapping::Mapping;

/// A thread that was asleep when its account was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sleeper {
    /// Where its account is.
    pub index: usize,
    /// Changes with every write to the account.
    pub sequence: u32,
    /// Changes whenever the account is given to another thread.
    pub generation: u32,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// When it went to sleep (`CLOCK_MONOTONIC`); of one that slept before it was followed: when that began.
    pub since_ns: u64,
}

/// The accounts of all threads.
pub struct Sleepers(Mapping<ThreadAccount>);

impl Sleepers {
    /// Maps the array read-only.
    pub(super) fn map(ebpf: &Ebpf) -> Result<Self, LiveError> {
        Mapping::of(ebpf, "ACCOUNTS").map(Self)
    }

    /// Most threads that can be followed.
    pub fn capacity(&self) -> usize {
        self.0.count()
    }

    /// Calls `each` with every thread that is asleep. One whose account is being written is not: it is
    /// changing.
    pub fn each(&self, each: impl FnMut(Sleeper)) {
        self.0.used().filter_map(|index| self.read(index)).for_each(each);
    }

    /// The processes of all threads, ascending.
    pub fn processes(&self) -> Vec<u32> {
        let process = |index: usize| {
            let element = self.0.element(index)?;
            // SAFETY: `element` is inside the mapping; a process that is just being replaced may be left out.
            unsafe {
                let state = (&raw const (*element).state).read_volatile();
                (state != FREE).then(|| (&raw const (*element).tgid).read_volatile())
            }
        };
        let mut tgids: Vec<u32> = self.0.used().filter_map(process).collect();
        tgids.sort_unstable();
        tgids.dedup();
        tgids
    }

    /// Whether the thread has slept all the time since it was read.
    pub fn sleeps_on(&self, sleeper: &Sleeper) -> bool {
        // What was looked at meanwhile is older than this look at the account.
        fence(Ordering::Acquire);
        self.read(sleeper.index) == Some(*sleeper)
    }

    /// The thread of an element, if it is at rest and asleep.
    fn read(&self, index: usize) -> Option<Sleeper> {
        let element = self.0.element(index)?;
        // SAFETY: `element` is inside the mapping; values that do not belong together are dropped below.
        let (before, state, found, after) = unsafe {
            let sequence = &raw const (*element).lock_sequence;
            let before = sequence.read_volatile();
            fence(Ordering::Acquire);
            let state = (&raw const (*element).state).read_volatile();
            if state != BLOCKED {
                return None;
            }
            let found = Sleeper {
                index,
                sequence: before,
                generation: (&raw const (*element).generation).read_volatile(),
                tgid: (&raw const (*element).tgid).read_volatile(),
                tid: (&raw const (*element).tid).read_volatile(),
                since_ns: (&raw const (*element).state_since_ns).read_volatile(),
            };
            fence(Ordering::Acquire);
            (before, state, found, sequence.read_volatile())
        };
        (before == after && before.is_multiple_of(2) && state == BLOCKED).then_some(found)
    }
}
