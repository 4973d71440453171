//! The live threads, by number.
//!
//! In: threads that begin and end. Out: each of them, also to be taken out while its slice is looked at: its place stays, so
//! that it costs two look-ups, and none of the table's own work.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::runtime::thread::Thread;

/// All live threads. One that is taken out is not among them meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Threads(FxHashMap<Tid, Option<Box<Thread>>>);

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
        self.0.get(&tid)?.as_deref()
    }

    /// A thread.
    pub fn get_mut(&mut self, tid: Tid) -> Option<&mut Thread> {
        self.0.get_mut(&tid)?.as_deref_mut()
    }

    /// Takes a thread out, to be put back.
    pub fn take(&mut self, tid: Tid) -> Option<Box<Thread>> {
        self.0.get_mut(&tid)?.take()
    }

    /// Puts a thread back, or enters a new one.
    pub fn put(&mut self, tid: Tid, thread: Box<Thread>) {
        if let Some(place) = self.0.get_mut(&tid) {
            *place = Some(thread);
        } else {
            self.0.insert(tid, Some(thread));
        }
    }

    /// A thread ends.
    pub fn remove(&mut self, tid: Tid) -> Option<Box<Thread>> {
        self.0.remove(&tid)?
    }

    /// All threads, in no order.
    pub fn values(&self) -> impl Iterator<Item = &Thread> {
        self.0.values().flatten().map(Box::as_ref)
    }

    /// All threads, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.0.values_mut().flatten().map(Box::as_mut)
    }

    /// Their numbers, in no order.
    pub fn tids(&self) -> impl Iterator<Item = Tid> + '_ {
        self.0.keys().copied()
    }
}
