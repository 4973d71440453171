//! The live threads, by number.
//!
//! In: threads that begin and end. Out: each of them. One can also be taken out while its slice is processed.
//! Its place stays, so that this costs two look-ups, and no work of the table itself.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::runtime::thread::Thread;

/// All live threads. One that is taken out is not among them meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    /// Of each thread, where its entry is.
    places: FxHashMap<Tid, usize>,
    entries: Vec<Entry>,
    /// Entries of threads that have ended.
    free: Vec<usize>,
    /// The entry that a thread was last taken out of: it is put back there, and is often the next one to be
    /// taken out again.
    last: usize,
}

/// The place of a thread.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// Its number.
    tid: Tid,
    /// The thread, unless it is taken out.
    thread: Option<Box<Thread>>,
    /// Requests that it has served since it was taken out.
    requests: u64,
}

impl Threads {
    /// Places for threads, also of those that are taken out.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no place for any.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn entry(&self, tid: Tid) -> Option<&Entry> {
        self.entries.get(*self.places.get(&tid)?)
    }

    fn entry_mut(&mut self, tid: Tid) -> Option<&mut Entry> {
        self.entries.get_mut(*self.places.get(&tid)?)
    }

    /// A thread.
    pub fn get(&self, tid: Tid) -> Option<&Thread> {
        self.entry(tid)?.thread.as_deref()
    }

    /// A thread.
    pub fn get_mut(&mut self, tid: Tid) -> Option<&mut Thread> {
        self.entry_mut(tid)?.thread.as_deref_mut()
    }

    /// Takes a thread out, to be put back.
    pub fn take(&mut self, tid: Tid) -> Option<Box<Thread>> {
        if self.entries.get(self.last).is_none_or(|entry| entry.tid != tid) {
            self.last = *self.places.get(&tid)?;
        }
        self.entries.get_mut(self.last)?.thread.take()
    }

    /// A place for a thread that is made, to be put there.
    pub fn enter(&mut self, tid: Tid) {
        if self.places.contains_key(&tid) {
            return;
        }
        let entry = Entry { tid, ..Entry::default() };
        let place = self.free.pop().unwrap_or(self.entries.len());
        match self.entries.get_mut(place) {
            Some(free) => *free = entry,
            None => self.entries.push(entry),
        }
        self.places.insert(tid, place);
    }

    /// Puts a thread back, or enters a new one.
    pub fn put(&mut self, tid: Tid, mut thread: Box<Thread>) {
        // Nearly always it has its place, and is the one that was taken out last.
        if self.entries.get(self.last).is_none_or(|entry| entry.tid != tid) {
            self.enter(tid);
            self.last = self.places.get(&tid).copied().unwrap_or_default();
        }
        if let Some(entry) = self.entries.get_mut(self.last) {
            let requests = std::mem::take(&mut entry.requests);
            thread.totals.requests = thread.totals.requests.saturating_add(requests);
            entry.thread = Some(thread);
        }
    }

    /// A thread has served a request; maybe it is taken out.
    pub fn has_served(&mut self, tid: Tid) {
        if let Some(entry) = self.entry_mut(tid) {
            let requests =
                entry.thread.as_mut().map_or(&mut entry.requests, |thread| &mut thread.totals.requests);
            *requests = requests.saturating_add(1);
        }
    }

    /// A thread ends.
    pub fn remove(&mut self, tid: Tid) -> Option<Box<Thread>> {
        let place = self.places.remove(&tid)?;
        let entry = std::mem::take(self.entries.get_mut(place)?);
        self.free.push(place);
        if self.last == place {
            self.last = usize::MAX;
        }
        entry.thread
    }

    /// All threads, in no order.
    pub fn values(&self) -> impl Iterator<Item = &Thread> {
        // By the table of places, whose order is that of their numbers' hashes, whoever came and went before.
        self.places.values().filter_map(|place| self.entries.get(*place)?.thread.as_deref())
    }

    /// All threads, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.entries.iter_mut().filter_map(|entry| entry.thread.as_deref_mut())
    }

    /// Threads of a process, in the order of their numbers.
    pub fn of_process(&self, tgid: Tid) -> Vec<Tid> {
        let is_of = |tid: &Tid| self.get(*tid).is_some_and(|thread| thread.tgid == tgid);
        let mut tids: Vec<Tid> = self.tids().filter(is_of).collect();
        tids.sort_unstable();
        tids
    }

    /// Numbers of all threads, in no order.
    pub fn tids(&self) -> impl Iterator<Item = Tid> + '_ {
        self.places.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_taken_out_keeps_its_place_and_what_it_serves_meanwhile() {
        let mut threads = Threads::default();
        threads.enter(7);
        assert!(threads.take(7).is_none() && threads.get(7).is_none(), "it is still made");
        threads.put(7, Box::default());
        threads.has_served(7);
        let thread = threads.take(7).unwrap();
        assert_eq!((threads.len(), threads.values().count(), threads.get(7).is_none()), (1, 0, true));
        threads.has_served(7);
        threads.has_served(7);
        threads.put(7, thread);
        assert_eq!(threads.get(7).map(|thread| thread.totals.requests), Some(3));
        let thread = threads.take(7).unwrap();
        threads.put(7, thread);
        assert_eq!(threads.get(7).map(|thread| thread.totals.requests), Some(3), "they count once");
    }

    #[test]
    fn the_next_thread_of_a_number_has_served_nothing() {
        let mut threads = Threads::default();
        threads.put(7, Box::default());
        threads.take(7);
        threads.has_served(7);
        assert!(threads.remove(7).is_none(), "it is taken out");
        threads.has_served(7);
        // Another one has its place meanwhile.
        threads.enter(8);
        threads.has_served(8);
        threads.put(7, Box::default());
        assert_eq!(threads.get(7).map(|thread| thread.totals.requests), Some(0));
        let thread = threads.take(7).unwrap();
        assert!(threads.get(8).is_none() && threads.take(8).is_none());
        threads.put(7, thread);
        threads.put(8, Box::default());
        assert_eq!(threads.get(8).map(|thread| thread.totals.requests), Some(1));
        assert!(threads.take(0).is_none() && threads.remove(8).is_some());
        assert!(threads.remove(7).is_some() && threads.is_empty());
    }
}
