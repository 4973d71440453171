//! Places that have a number, so that each is told once.
//!
//! In: places. Out: their numbers. Memory is bounded: when it is used up all are forgotten, and told again by
//! other numbers.

use std::collections::HashMap;

use profiler_core::fact::place::{PlaceSeen, PythonFrame};

/// Places, and the bytes of their names.
const MAX_PLACES: usize = 2048;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Places, each as number 0.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    numbers: HashMap<PlaceSeen, u32>,
    bytes: usize,
    next: u32,
    /// Numbers before this one are forgotten.
    oldest: u32,
}

impl Numbered {
    /// Gives a place its number. Says whether it is new; `None`: there are no more numbers.
    pub(super) fn number(&mut self, place: &mut PlaceSeen) -> Option<bool> {
        place.number = 0;
        if let Some(number) = self.numbers.get(place) {
            place.number = *number;
            return Some(false);
        }
        let bytes = bytes_of(place);
        if self.numbers.len() >= MAX_PLACES || self.bytes.saturating_add(bytes) > MAX_BYTES {
            (self.numbers, self.bytes) = (HashMap::new(), 0);
            self.oldest = self.next;
        }
        let number = self.next;
        self.next = self.next.checked_add(1)?;
        self.bytes += bytes;
        self.numbers.insert(place.clone(), number);
        place.number = number;
        Some(true)
    }

    /// Whether what has this number is told by it still.
    pub(super) const fn is_used(&self, number: u32) -> bool {
        number >= self.oldest
    }

    /// A place that was told by a number is known better: from now on it is told by that number so.
    pub(super) fn set(&mut self, place: &PlaceSeen) {
        let bytes = bytes_of(place);
        if self.numbers.len() < MAX_PLACES && self.bytes.saturating_add(bytes) <= MAX_BYTES {
            self.bytes += bytes;
            if self.numbers.insert(PlaceSeen { number: 0, ..place.clone() }, place.number).is_some() {
                self.bytes -= bytes;
            }
        }
    }

    /// A place was not told: it is new again.
    pub(super) fn forget(&mut self, place: &PlaceSeen) {
        if self.numbers.remove(&PlaceSeen { number: 0, ..place.clone() }).is_some() {
            self.bytes = self.bytes.saturating_sub(bytes_of(place));
        }
    }
}

fn bytes_of(place: &PlaceSeen) -> usize {
    let of = |frame: &PythonFrame| size_of::<PythonFrame>() + frame.file.len() + frame.function.len();
    place.frames.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_core::fact::place::Whose;

    fn place(line: u32, name_bytes: usize) -> PlaceSeen {
        let (file, function) = ("a".repeat(name_bytes), "f".to_owned());
        let frames = vec![PythonFrame { file, function, line, whose: Whose::Own }];
        PlaceSeen { frames, ..PlaceSeen::default() }
    }

    #[test]
    fn a_place_is_new_until_it_was_told() {
        let mut numbered = Numbered::default();
        let (mut one, mut again, mut other) = (place(1, 9), place(1, 9), place(2, 9));
        assert_eq!(numbered.number(&mut one), Some(true));
        assert_eq!((numbered.number(&mut again), again.number), (Some(false), one.number));
        assert_eq!((numbered.number(&mut other), other.number), (Some(true), 1));
        numbered.forget(&other);
        assert_eq!((numbered.number(&mut other), other.number), (Some(true), 2), "it is told now");
        assert_eq!(numbered.number(&mut again), Some(false));
        again.is_cut = true;
        assert_eq!(numbered.number(&mut again), Some(true), "another place with the same frames");
    }

    #[test]
    fn a_place_that_is_known_better_keeps_its_number() {
        let mut numbered = Numbered::default();
        let (mut first, mut better) = (place(1, 9), place(1, 12));
        assert_eq!(numbered.number(&mut first), Some(true));
        better.number = first.number;
        for _ in 0..2 {
            numbered.set(&better);
            assert_eq!(numbered.bytes, bytes_of(&first) + bytes_of(&better));
        }
        better.number = 0;
        assert_eq!((numbered.number(&mut better), better.number), (Some(false), first.number));
    }

    #[test]
    fn a_full_table_begins_again_with_other_numbers() {
        let mut numbered = Numbered::default();
        for line in 0..8193 {
            assert_eq!(numbered.number(&mut place(line, 9)), Some(true));
        }
        let mut first = place(0, 9);
        assert_eq!((numbered.number(&mut first), first.number), (Some(true), 8193));
        assert!(numbered.is_used(8193) && !numbered.is_used(0));
        for line in 0..40 {
            assert_eq!(numbered.number(&mut place(line, 1024 * 1024)), Some(true));
            assert!(numbered.bytes <= MAX_BYTES);
        }
        assert!(numbered.number(&mut place(41, 2 * MAX_BYTES)).is_some(), "as long as any name is");
    }
}
