//! A bounded table of captures that forgets those that were not touched for longest.
//!
//! In: keys and states. Out: the states again, unless the table was full. Two generations: when the young one
//! is full it becomes the old one, and the old one is dropped; no order is kept, no list is walked.

use rustc_hash::FxHashMap;

/// Whose bytes: process, descriptor there or address of OpenSSL's object, `HeadRecord::direction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tgid: u32,
    pub(super) connection: u64,
    pub(super) direction: u32,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table<V> {
    young: FxHashMap<Key, V>,
    old: FxHashMap<Key, V>,
    max_generation: usize,
}

impl<V> Table<V> {
    /// A table of at most `bound` entries (at least two).
    pub(super) fn new(bound: usize) -> Self {
        Self { young: FxHashMap::default(), old: FxHashMap::default(), max_generation: (bound / 2).max(1) }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: Key) -> Option<V> {
        // An older entry of the same key must not come back to life.
        let old = self.old.remove(&key);
        self.young.remove(&key).or(old)
    }

    /// Keeps the entries whose key is wanted.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(&Key) -> bool) {
        self.young.retain(|key, _| is_wanted(key));
        self.old.retain(|key, _| is_wanted(key));
    }

    /// Puts an entry in; it is the youngest.
    pub(super) fn insert(&mut self, key: Key, value: V) {
        if self.young.len() >= self.max_generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(connection: u64) -> Key {
        Key { tgid: 1, connection, direction: 0 }
    }

    #[test]
    fn the_bound_holds_and_the_youngest_stay() {
        let mut table = Table::new(10);
        for fd in 0..1000 {
            table.insert(key(fd), fd);
            assert!(table.len() <= 10);
        }
        for fd in 995..1000 {
            assert_eq!(table.remove(key(fd)), Some(fd));
        }
        assert_eq!(table.remove(key(0)), None);
    }

    #[test]
    fn an_entry_that_is_used_survives() {
        let mut table = Table::new(10);
        table.insert(key(u64::MAX), u64::MAX);
        for fd in 0..100 {
            table.insert(key(fd), fd);
            let kept = table.remove(key(u64::MAX)).unwrap();
            table.insert(key(u64::MAX), kept);
        }
        assert_eq!(table.remove(key(u64::MAX)), Some(u64::MAX));
        assert_eq!(table.remove(key(u64::MAX)), None);
    }
}
