//! Accepts that failed, and processes that ran out of descriptors.
//!
//! In: accepts with their errors, how many files processes have open. Out: what failed, for whom and when.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::event::{Slice, Tid};
use crate::fact::open_files::OpenFiles;
use crate::machine::world::errno::EAGAIN;
use crate::model::dropped::AcceptFailure;

/// Kinds of failing accepts kept.
const MAX_FAILURES: usize = 1024;

/// Errors of accept that say that something ran out, or that a connection was gone.
const FAILURES: &[(i64, &str)] = &[
    (-24, "EMFILE"),
    (-23, "ENFILE"),
    (-12, "ENOMEM"),
    (-105, "ENOBUFS"),
    (-103, "ECONNABORTED"),
    (-71, "EPROTO"),
];

/// Accepts that failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepts {
    /// What ran out, by process and listener, until the process has taken all that waited there.
    failing: FxHashMap<(Tid, i32), &'static str>,
    failures: BTreeMap<(Tid, &'static str), AcceptFailure>,
    /// Processes whose last accept failed: when, and with what.
    stopped: FxHashMap<Tid, (u64, &'static str)>,
    /// Processes near their limit of open files: the reading with most of them open.
    open_files: FxHashMap<Tid, OpenFiles>,
    /// What found no place.
    pub evicted: u64,
}

impl Accepts {
    /// The error with which accept failed between the two moments, if it did.
    pub(super) fn failed_between(&self, from_ns: u64, to_ns: u64) -> Option<&'static str> {
        let overlaps = |failure: &&AcceptFailure| failure.first_ns <= to_ns && failure.last_ns >= from_ns;
        self.failures.values().find(overlaps).map(|failure| failure.error)
    }

    /// An accept found nothing or failed; `clients` counts the connections that the process has open.
    pub(super) fn failed(
        &mut self,
        slice: &Slice,
        listener_fd: i32,
        at_ns: u64,
        clients: impl FnOnce() -> u64,
    ) {
        let key = (slice.tgid, listener_fd);
        if slice.result == EAGAIN {
            self.failing.remove(&key);
        }
        let Some((_, error)) = FAILURES.iter().find(|(number, _)| *number == slice.result) else { return };
        if self.failing.len() < MAX_FAILURES || self.failing.contains_key(&key) {
            self.failing.insert(key, error);
        } else {
            self.evict();
        }
        if self.stopped.len() < MAX_FAILURES || self.stopped.contains_key(&slice.tgid) {
            self.stopped.entry(slice.tgid).or_insert((at_ns, error));
        } else {
            self.evict();
        }
        let failure = (slice.tgid, *error);
        if self.failures.len() >= MAX_FAILURES && !self.failures.contains_key(&failure) {
            return self.evict();
        }
        let known = self.failures.entry(failure).or_insert_with(|| AcceptFailure {
            tgid: slice.tgid,
            error,
            first_ns: at_ns,
            clients: clients(),
            ..AcceptFailure::default()
        });
        known.count = known.count.saturating_add(1);
        known.last_ns = at_ns;
    }

    /// A process is near its limit of open files.
    pub(super) fn open_files(&mut self, reading: OpenFiles) {
        if self.open_files.len() < MAX_FAILURES || self.open_files.contains_key(&reading.tgid) {
            let most = self.open_files.entry(reading.tgid).or_insert(reading);
            *most = OpenFiles { open: most.open.max(reading.open), ..reading };
        } else {
            self.evict();
        }
    }

    /// The process has read from a connection: it does not turn clients away.
    pub(super) fn serves(&mut self, tgid: Tid) {
        if !self.failing.is_empty() {
            self.failing.retain(|(process, _), _| *process != tgid);
        }
    }

    /// A connection was accepted. Returns whether the process turns clients away at this listener.
    pub(super) fn accepted(&mut self, tgid: Tid, listener_fd: i32) -> bool {
        self.begins_again(tgid);
        self.failing.contains_key(&(tgid, listener_fd))
    }

    /// The process accepts again, or its number is now another's.
    pub(super) fn begins_again(&mut self, tgid: Tid) {
        if !self.stopped.is_empty() {
            self.stopped.remove(&tgid);
        }
    }

    /// The error with which the last accept of a process failed, by this moment.
    pub(super) fn stopped(&self, tgid: Tid, until_ns: u64) -> Option<&'static str> {
        let (failed_ns, error) = self.stopped.get(&tgid)?;
        (*failed_ns <= until_ns).then_some(*error)
    }

    /// The next window begins.
    pub(super) fn roll(&mut self) {
        self.failures.clear();
        self.evicted = 0;
    }

    /// Forgets processes that do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(Tid) -> bool) {
        self.stopped.retain(|tgid, _| stays(*tgid));
        self.failing.retain(|(tgid, _), _| stays(*tgid));
        self.open_files.retain(|tgid, _| stays(*tgid));
    }

    /// What failed in the window. `limit`: how many files a process may open.
    pub(super) fn finish(self, limit: impl Fn(Tid) -> Option<u64>) -> Vec<AcceptFailure> {
        let mut failures: Vec<AcceptFailure> = self.failures.into_values().collect();
        for failure in &mut failures {
            let reading = self.open_files.get(&failure.tgid);
            // All numbers below the limit were in use, whatever the last look found.
            let at_least = |limit| if failure.error == "EMFILE" { limit } else { 0 };
            failure.open_files = reading.map(|reading| reading.open.max(at_least(reading.limit)));
            failure.open_files_limit = reading.map(|reading| reading.limit).or_else(|| limit(failure.tgid));
        }
        failures
    }

    const fn evict(&mut self) {
        self.evicted = self.evicted.saturating_add(1);
    }
}
