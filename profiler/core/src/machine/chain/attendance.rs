//! Who accepts from which listener.
//!
//! In: accepts, as they are called; the workers that hold a listener. Out: the threads of each listener. Who
//! serves in a process is in the threads' histories.

use std::collections::BTreeMap;

use crate::bounded::BoundedMap;
use crate::event::Tid;

/// Listeners whose acceptors are kept.
const MAX_LISTENERS: usize = 1024;
/// Threads kept of one listener. Of more, the first show what all of them do.
const MAX_ACCEPTORS: usize = 256;

/// Who accepts where.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Attendance {
    listeners: BoundedMap<u64, Vec<Tid>, MAX_LISTENERS>,
    /// Workers that hold each listener, as of the last look at the processes.
    workers: BTreeMap<u64, Vec<Tid>>,
}

impl Attendance {
    /// A thread accepts from a listener.
    pub(in crate::machine) fn accepts(&mut self, inode: u64, tid: Tid) {
        if let Some(tids) = self.listeners.get_or_default(inode)
            && tids.len() < MAX_ACCEPTORS
            && let Err(place) = tids.binary_search(&tid)
        {
            // In order: nothing depends on who was heard of first.
            tids.insert(place, tid);
        }
    }

    /// These processes are there to accept at each listener, by its inode. There are no more than the table
    /// of processes has.
    pub(in crate::machine) fn note_workers(&mut self, workers: BTreeMap<u64, Vec<Tid>>) {
        self.workers = workers;
    }

    /// The workers that hold a listener.
    pub(super) fn workers(&self, inode: u64) -> &[Tid] {
        self.workers.get(&inode).map_or(&[], Vec::as_slice)
    }

    /// The listener that a worker holds, by its inode; `None`: none, or several.
    pub(super) fn listener_of_worker(&self, tgid: Tid) -> Option<u64> {
        let mut held = self.workers.iter().filter(|(_, workers)| workers.contains(&tgid));
        held.next().filter(|_| held.next().is_none()).map(|(inode, _)| *inode)
    }

    /// Nobody has said which workers there are.
    pub(in crate::machine) fn has_no_workers(&self) -> bool {
        self.workers.is_empty()
    }

    /// Threads that accept from a listener.
    pub(in crate::machine) fn acceptors(&self, inode: u64) -> &[Tid] {
        self.listeners.get(&inode).map_or(&[], Vec::as_slice)
    }

    /// The listener from which a thread accepts, by its inode; of several the first.
    pub(super) fn listener_of(&self, tid: Tid) -> Option<u64> {
        self.listeners.iter().filter(|(_, tids)| tids.contains(&tid)).map(|(inode, _)| *inode).min()
    }

    /// Threads that accept where one of these does, if that is one listener.
    pub(in crate::machine) fn beside(&self, tids: &[Tid]) -> &[Tid] {
        let mut lists = self.listeners.values().filter(|known| known.iter().any(|tid| tids.contains(tid)));
        match (lists.next(), lists.next()) {
            (Some(only), None) => only,
            _ => &[],
        }
    }

    /// Forgets threads of which nothing is known any more.
    pub(in crate::machine) fn retain(&mut self, is_known: impl Fn(Tid) -> bool) {
        self.listeners.retain(|_, tids| {
            tids.retain(|tid| is_known(*tid));
            !tids.is_empty()
        });
    }

    /// Listeners that found no place.
    pub(in crate::machine) const fn evicted(&self) -> u64 {
        self.listeners.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptors_are_in_order_each_once_and_the_unknown_are_forgotten() {
        let mut attendance = Attendance::default();
        for tid in [7, 3, 7, 5] {
            attendance.accepts(1, tid);
        }
        attendance.accepts(2, 9);
        assert_eq!(attendance.acceptors(1), [3, 5, 7]);
        assert!(attendance.acceptors(8).is_empty());
        assert_eq!(attendance.beside(&[5, 6]), [3, 5, 7]);
        assert!(attendance.beside(&[5, 9]).is_empty(), "two listeners");
        attendance.retain(|tid| tid != 5 && tid != 9);
        assert_eq!((attendance.acceptors(1), attendance.acceptors(2)), (&[3, 7][..], &[][..]));
    }

    #[test]
    fn of_too_many_acceptors_the_first_are_kept() {
        let mut attendance = Attendance::default();
        (0..1000).for_each(|tid| attendance.accepts(1, tid));
        assert_eq!(attendance.acceptors(1).len(), MAX_ACCEPTORS);
    }
}
