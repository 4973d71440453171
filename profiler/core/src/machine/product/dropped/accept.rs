//! Accepts that failed, and processes that ran out of descriptors.
//!
//! In: accepts with their errors, how many files processes have open. Out: what failed, for whom and when.

use super::Drops;
use crate::event::{Slice, Tid};
use crate::fact::open_files::OpenFiles;
use crate::machine::wire::ending::Ended;
use crate::machine::world::errno::EAGAIN;
use crate::model::dropped::{AcceptFailure, Cause};

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

impl Drops {
    /// The error with which accept failed between the two moments, if it did.
    pub(super) fn failed_between(&self, from_ns: u64, to_ns: u64) -> Option<&'static str> {
        let overlaps = |failure: &&AcceptFailure| failure.first_ns <= to_ns && failure.last_ns >= from_ns;
        self.failures.values().find(overlaps).map(|failure| failure.error)
    }

    /// An accept found nothing or failed; `clients` counts the connections that the process has open.
    pub fn accept_failed(
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
        if self.failing.len() < MAX_FAILURES {
            self.failing.insert(key, error);
        }
        if self.stopped.len() < MAX_FAILURES {
            self.stopped.entry(slice.tgid).or_insert((at_ns, error));
        }
        let failure = (slice.tgid, *error);
        if self.failures.len() >= MAX_FAILURES && !self.failures.contains_key(&failure) {
            self.evicted = self.evicted.saturating_add(1);
            return;
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
    pub fn open_files(&mut self, reading: OpenFiles) {
        if self.open_files.len() < MAX_FAILURES || self.open_files.contains_key(&reading.tgid) {
            let most = self.open_files.entry(reading.tgid).or_insert(reading);
            *most = OpenFiles { open: most.open.max(reading.open), ..reading };
        }
    }

    /// The process has read from a connection: it does not turn clients away.
    pub fn serves(&mut self, tgid: Tid) {
        if !self.failing.is_empty() {
            self.failing.retain(|(process, _), _| *process != tgid);
        }
    }

    /// The error with which accept failed in the connection's process, if that ended by itself and accepted nothing more.
    pub(super) fn gave_up(&self, ended: &Ended) -> Option<&'static str> {
        let (failed_ns, error) = self.stopped.get(&ended.tgid)?;
        let exited = self.ends.get(&ended.tgid).is_some_and(|end| end.cause == Cause::WorkerExited);
        (exited && *failed_ns <= ended.at_ns).then_some(*error)
    }
}
