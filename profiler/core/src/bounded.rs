//! Tables whose bound is part of their type.
//!
//! In: keys that come from outside, any number of them. Out: at most so many entries, and a count of those
//! that found no place. Each stage adds up the counts of its tables; their sum is one loss of the report.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, IterMut, ValuesMut};
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;

use rustc_hash::FxHashMap;

/// A map of at most `MAX` keys. A full one refuses new keys and counts them. To read, it is the map inside.
#[derive(Clone)]
pub struct BoundedMap<K, V, const MAX: usize> {
    map: FxHashMap<K, V>,
    evicted: u64,
}

impl<K, V, const MAX: usize> Default for BoundedMap<K, V, MAX> {
    fn default() -> Self {
        Self { map: FxHashMap::default(), evicted: 0 }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, const MAX: usize> fmt::Debug for BoundedMap<K, V, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}

impl<K, V, const MAX: usize> Deref for BoundedMap<K, V, MAX> {
    type Target = FxHashMap<K, V>;

    fn deref(&self) -> &FxHashMap<K, V> {
        &self.map
    }
}

impl<K: Eq + Hash, V, const MAX: usize> BoundedMap<K, V, MAX> {
    /// The place of a key; `None`: the key is new, and there is no room.
    #[inline]
    fn entry(&mut self, key: K) -> Option<Entry<'_, K, V>> {
        let is_full = self.map.len() >= MAX;
        let entry = self.map.entry(key);
        if is_full && matches!(entry, Entry::Vacant(_)) {
            self.evicted = self.evicted.saturating_add(1);
            return None;
        }
        Some(entry)
    }

    /// Puts a value in the place of a key. Returns whether there was room.
    pub fn insert(&mut self, key: K, value: V) -> bool {
        self.entry(key).map(|entry| entry.insert_entry(value)).is_some()
    }

    /// The value of a key, made if the key is new; `None`: there is no room.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        self.entry(key).map(|entry| entry.or_insert_with(make))
    }

    /// The value of a key, the default if the key is new; `None`: there is no room.
    pub fn get_or_default(&mut self, key: K) -> Option<&mut V>
    where
        V: Default,
    {
        self.entry(key).map(Entry::or_default)
    }

    /// The value of a known key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Takes a key's value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key)
    }

    /// Keeps what is wanted.
    pub fn retain(&mut self, is_kept: impl FnMut(&K, &mut V) -> bool) {
        self.map.retain(is_kept);
    }
}

impl<K, V, const MAX: usize> BoundedMap<K, V, MAX> {
    /// How many new keys found no place.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// All values, to change them.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        self.map.values_mut()
    }

    /// All entries, to change their values.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        self.map.iter_mut()
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.map.clear();
    }

    /// The map inside.
    pub fn into_map(self) -> FxHashMap<K, V> {
        self.map
    }
}

/// Appends to a list of at most `max` items. What finds no place is counted.
pub fn push_if_room<T>(list: &mut Vec<T>, max: usize, item: T, evicted: &mut u64) {
    if list.len() < max {
        list.push(item);
    } else {
        *evicted = evicted.saturating_add(1);
    }
}

/// Appends to a list of at most `max` items. Returns the oldest, if that had to make room.
pub fn push_newest<T>(list: &mut VecDeque<T>, max: usize, item: T) -> Option<T> {
    let oldest = if list.len() >= max { list.pop_front() } else { None };
    list.push_back(item);
    oldest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 4;

    proptest! {
        #[test]
        fn a_full_map_refuses_new_keys_alone_and_counts_each(
            steps in prop::collection::vec((0..5, 0..8), 0..200),
        ) {
            let mut bounded: BoundedMap<i32, usize, MAX> = BoundedMap::default();
            let (mut plain, mut refused) = (FxHashMap::default(), 0);
            for (value, (step, key)) in steps.into_iter().enumerate() {
                let has_room = plain.len() < MAX || plain.contains_key(&key);
                let is_there = match step {
                    0 => {
                        prop_assert_eq!(bounded.remove(&key), plain.remove(&key));
                        continue;
                    }
                    1 => {
                        bounded.retain(|known, _| *known != key);
                        plain.retain(|known, _| *known != key);
                        continue;
                    }
                    2 => bounded.insert(key, value),
                    3 => bounded.get_or_insert_with(key, || value).is_some(),
                    _ => bounded.get_or_default(key).map(|known| *known += value).is_some(),
                };
                match step {
                    _ if !has_room => refused += 1,
                    2 => _ = plain.insert(key, value),
                    3 => _ = plain.entry(key).or_insert(value),
                    _ => *plain.entry(key).or_default() += value,
                }
                prop_assert_eq!(is_there, has_room);
                prop_assert_eq!((&*bounded, bounded.evicted()), (&plain, refused));
            }
        }

        #[test]
        fn a_list_keeps_the_newest_or_the_first(items in prop::collection::vec(0..100, 0..20)) {
            let mut list = VecDeque::new();
            let dropped: Vec<i32> =
                items.iter().filter_map(|item| push_newest(&mut list, MAX, *item)).collect();
            prop_assert_eq!(list.len(), items.len().min(MAX));
            prop_assert_eq!(dropped.into_iter().chain(list).collect::<Vec<_>>(), &*items);
            let (mut list, mut evicted) = (Vec::new(), 0);
            items.iter().for_each(|item| push_if_room(&mut list, MAX, *item, &mut evicted));
            prop_assert_eq!(list.len() as u64 + evicted, items.len() as u64);
            prop_assert_eq!(list, items.into_iter().take(MAX).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_empty_map_of_the_same_kind_has_counted_nothing() {
        let mut bounded: BoundedMap<u8, u8, 0> = BoundedMap::default();
        assert!(!bounded.insert(1, 1));
        assert_eq!((std::mem::take(&mut bounded).evicted(), bounded.evicted()), (1, 0));
    }
}
