//! The live threads, by number.
//!
//! In: threads that begin and end. Out: each of them. One can also be taken out while its slice is processed. Its place stays, so that this costs two look-ups,
//! and no work of the table itself.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::runtime::thread::Thread;

/// All live threads. One that is taken out is not among them meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Threads(FxHashMap<Tid, Entry>);

/// The place of a thread.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// The thread, unless it is taken out.
    thread: Option<Box<Thread>>,
    /// Requests that it has served since it was taken out.
    requests: u64,
}

impl Threads {
    /// Places for threads, also of those that are taken out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no place for any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A thread.
    #[must_use]
    pub fn get(&self, tid: Tid) -> Option<&Thread> {
        self.0.get(&tid)?.thread.as_deref()
    }

    /// A thread.
    pub fn get_mut(&mut self, tid: Tid) -> Option<&mut Thread> {
        self.0.get_mut(&tid)?.thread.as_deref_mut()
    }

    /// Takes a thread out, to be put back.
    pub fn take(&mut self, tid: Tid) -> Option<Box<Thread>> {
        self.0.get_mut(&tid)?.thread.take()
    }

    /// A place for a thread that is made, to be put there.
    pub fn enter(&mut self, tid: Tid) {
        self.0.entry(tid).or_default();
    }

    /// Puts a thread back, or enters a new one.
    pub fn put(&mut self, tid: Tid, mut thread: Box<Thread>) {
        // Nearly always it has its place.
        let Some(entry) = self.0.get_mut(&tid) else {
            self.0.insert(tid, Entry { thread: Some(thread), requests: 0 });
            return;
        };
        thread.totals.requests = thread.totals.requests.saturating_add(std::mem::take(&mut entry.requests));
        entry.thread = Some(thread);
    }

    /// A thread has served a request; maybe it is taken out.
    pub fn has_served(&mut self, tid: Tid) {
        if let Some(entry) = self.0.get_mut(&tid) {
            let requests =
                entry.thread.as_mut().map_or(&mut entry.requests, |thread| &mut thread.totals.requests);
            *requests = requests.saturating_add(1);
        }
    }

    /// A thread ends.
    pub fn remove(&mut self, tid: Tid) -> Option<Box<Thread>> {
        self.0.remove(&tid)?.thread
    }

    /// All threads, in no order.
    pub fn values(&self) -> impl Iterator<Item = &Thread> {
        self.0.values().filter_map(|entry| entry.thread.as_deref())
    }

    /// All threads, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.0.values_mut().filter_map(|entry| entry.thread.as_deref_mut())
    }

    /// Their numbers, in no order.
    pub fn tids(&self) -> impl Iterator<Item = Tid> + '_ {
        self.0.keys().copied()
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
        threads.enter(7);
        threads.put(7, Box::default());
        assert_eq!(threads.get(7).map(|thread| thread.totals.requests), Some(0));
        assert!(threads.remove(7).is_some() && threads.is_empty());
    }
}
