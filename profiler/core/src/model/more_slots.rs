//! What more slots would have prevented: the same requests once more, through the same lines with more slots.
//!
//! In: the chain stage. Out: [`MoreSlots`].

/// What was replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoreSlots {
    /// Slots of all lines; 0: nothing was replayed, or nobody waited for a slot.
    pub slots: u64,
    /// Request time that was spent waiting for a slot, as replayed, in nanoseconds.
    pub waited_ns: u64,
    /// So many slots in all, and request time that would not have been with them, in nanoseconds; ascending.
    pub with: Vec<(u64, u64)>,
}

impl MoreSlots {
    /// Request time that would not have been with `then` slots for each `now`. `None`: not replayed.
    pub fn prevented_ns(&self, now: u64, then: u64) -> Option<u64> {
        let slots = u128::from(self.slots) * u128::from(then) / u128::from(now.max(1));
        let enough = self.with.iter().take_while(|(tried, _)| u128::from(*tried) <= slots);
        let none = (self.slots > 0).then_some(0);
        enough.last().map(|(_, prevented_ns)| *prevented_ns).or(none)
    }

    /// The most that any number prevents, in nanoseconds.
    pub fn most_ns(&self) -> u64 {
        self.with.iter().map(|(_, prevented_ns)| *prevented_ns).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_prevents_as_much_as_the_next_smaller_number_that_was() {
        let more = MoreSlots { slots: 4, waited_ns: 100, with: vec![(5, 60), (6, 90), (8, 99)] };
        let prevented = |now, then| more.prevented_ns(now, then);
        assert_eq!([prevented(4, 4), prevented(4, 5), prevented(4, 7)], [Some(0), Some(60), Some(90)]);
        // Two processes of two: four of two are eight.
        assert_eq!([prevented(2, 3), prevented(2, 4)], [Some(90), Some(99)]);
        assert_eq!((prevented(0, 9), more.most_ns()), (Some(99), 99));
        assert_eq!(MoreSlots::default().prevented_ns(4, 8), None);
    }
}
