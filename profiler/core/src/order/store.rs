//! Where events wait until it is their turn: in the order of arrival, which is nearly that in which they go.
//!
//! In: events as they come. Out: each under the number that it was given. Written and read along the memory,
//! not all over it: thousands wait at a time, more than a CPU's own caches hold.

use crate::event::Event;

/// Events by number, in a ring that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    /// A power of two of them, or none.
    ring: Vec<Option<Event>>,
    /// Number of the first event that may be there.
    first: u64,
    /// Number of the next one.
    next: u64,
}

impl Store {
    /// The place for the next event, which is empty, and its number. The caller writes it there straight:
    /// handed over here, it would be copied twice.
    #[inline]
    pub(super) fn next_place(&mut self) -> (u64, Option<&mut Option<Event>>) {
        if self.is_full() {
            self.grow();
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        (number, self.get_mut(number))
    }

    /// Keeps an event; returns its number.
    pub(super) fn push(&mut self, event: Event) -> u64 {
        let (number, place) = self.next_place();
        if let Some(place) = place {
            *place = Some(event);
        }
        number
    }

    /// Where the event of this number waits; what is there after it was taken is `None`.
    #[inline]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Option<Event>> {
        let index = self.index(number);
        self.ring.get_mut(index)
    }

    /// Gives up the places before the first event that is still there.
    #[inline]
    pub(super) fn shrink(&mut self) {
        while self.first != self.next && matches!(self.ring.get(self.index(self.first)), Some(None)) {
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Whether the next event makes it grow.
    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.next.wrapping_sub(self.first) >= self.ring.len() as u64
    }

    /// Places that it has.
    pub(super) const fn size(&self) -> usize {
        self.ring.len()
    }

    #[inline]
    fn index(&self, number: u64) -> usize {
        // Lossless: less than the length.
        (number & (self.ring.len() as u64).wrapping_sub(1)) as usize
    }

    #[cold]
    fn grow(&mut self) {
        const LEAST: usize = 16;
        let mut before = std::mem::take(self);
        self.ring.resize_with(before.ring.len().saturating_mul(2).max(LEAST), || None);
        (self.first, self.next) = (before.first, before.next);
        let mut number = self.first;
        while number != self.next {
            let event = before.get_mut(number).and_then(Option::take);
            if let Some(place) = self.get_mut(number) {
                *place = event;
            }
            number = number.wrapping_add(1);
        }
    }
}
