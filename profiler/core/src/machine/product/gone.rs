//! Connections that are gone and wait for their verdicts.
//!
//! In: connections as they end. Out: each by its number while it waits, and the oldest first. Memory is used
//! only for what waits at a time: nothing is left of what is gone.

use std::collections::VecDeque;

use crate::machine::wire::ending::Ended;

/// Where a socket's connection stands, in as few bytes as possible: tens of thousands are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct Standing(u32);

/// Set: it is gone.
const GONE: u32 = 1 << 31;

impl Standing {
    /// A connection that is open, under this number of the connection table, which has fewer than 2³¹.
    pub(in crate::machine) const fn open(number: u32) -> Self {
        Self(number & !GONE)
    }

    /// The number in the connection table, if it is open.
    pub(in crate::machine) const fn as_open(self) -> Option<u32> {
        if self.0 & GONE == 0 { Some(self.0) } else { None }
    }
}

/// Connections that are gone, in the order of their ends.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Gone {
    waiting: VecDeque<Box<Ended>>,
    /// Number of the oldest. Numbers begin again after 2³¹; far fewer wait at a time.
    first: u32,
}

impl Gone {
    /// Keeps one. Returns where it stands from now on.
    pub(in crate::machine) fn push(&mut self, ended: Box<Ended>) -> Standing {
        let place = self.place(self.waiting.len());
        self.waiting.push_back(ended);
        place
    }

    /// The one that stands there, if it still waits.
    pub(in crate::machine) fn get_mut(&mut self, place: Standing) -> Option<&mut Ended> {
        if place.as_open().is_some() {
            return None;
        }
        let index = place.0.wrapping_sub(self.first) & !GONE;
        self.waiting.get_mut(usize::try_from(index).ok()?).map(Box::as_mut)
    }

    /// When the oldest ended, in nanoseconds.
    pub(in crate::machine) fn oldest_ns(&self) -> Option<u64> {
        self.waiting.front().map(|ended| ended.at_ns)
    }

    /// Removes the oldest. Returns it with where it stood.
    pub(in crate::machine) fn pop(&mut self) -> Option<(Standing, Box<Ended>)> {
        let ended = self.waiting.pop_front()?;
        let place = self.place(0);
        self.first = self.first.wrapping_add(1) & !GONE;
        Some((place, ended))
    }

    /// Ends that wait for their verdict, the oldest first.
    pub(in crate::machine) fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.waiting.iter().map(Box::as_ref)
    }

    /// How many wait.
    pub(in crate::machine) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Where the one at `index` stands.
    fn place(&self, index: usize) -> Standing {
        // Lossless: those that wait at a time are bounded.
        let number = self.first.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX));
        Standing(number | GONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::ending::How;
    use crate::machine::wire::origin::Origin;
    use crate::machine::wire::signs::Signs;

    fn ended(id: u64) -> Box<Ended> {
        Box::new(Ended {
            at_ns: id,
            how: How::Closed,
            id,
            tgid: 1,
            origin: Origin::default(),
            in_request: false,
            is_encrypted: false,
            quiet_bytes: None,
            unfinished: None,
            signs: Signs::default(),
        })
    }

    #[test]
    fn each_is_found_where_it_stands_until_it_is_let_go_also_as_numbers_begin_again() {
        let mut gone = Gone { first: GONE - 2, ..Gone::default() };
        let places: Vec<Standing> = (0..4).map(|id| gone.push(ended(id))).collect();
        assert_eq!(gone.get_mut(Standing::open(0)).map(|ended| ended.id), None);
        for (id, place) in (0..).zip(&places) {
            assert_eq!(place.as_open(), None);
            assert_eq!(gone.get_mut(*place).map(|ended| ended.id), Some(id));
        }
        for (id, place) in (0..).zip(&places) {
            assert_eq!((gone.len() as u64, gone.oldest_ns()), (4 - id, Some(id)));
            assert_eq!(gone.pop().map(|(place, ended)| (place, ended.id)), Some((*place, id)));
            assert_eq!(gone.get_mut(*place).map(|ended| ended.id), None);
        }
        assert!(gone.pop().is_none());
        assert_eq!(Standing::open(7).as_open(), Some(7));
    }
}
