//! Places that have a number, so that each is told once.
//!
//! In: places. Out: their numbers. Memory is bounded: when it is used up all are forgotten, and told again by
//! other numbers.

use std::collections::HashMap;

use profiler_core::fact::place::{PlaceSeen, PythonFrame};

/// Places, and the bytes of their names.
const MAX_PLACES: usize = 2048;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A place as number 0; and of which program, while it is not known whose code it is: the same files may be
/// another's there.
type Key = (u64, PlaceSeen);

/// Places, each as number 0.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    numbers: HashMap<Key, u32>,
    bytes: usize,
    next: u32,
    /// Numbers before this one are forgotten.
    oldest: u32,
}

fn key(serial: u64, place: &PlaceSeen) -> Key {
    (if place.is_owned() { 0 } else { serial }, PlaceSeen { number: 0, ..place.clone() })
}

impl Numbered {
    /// Gives a place of this program its number. Says whether it is new; `None`: there are no more numbers.
    pub(super) fn number(&mut self, serial: u64, place: &mut PlaceSeen) -> Option<bool> {
        let key = key(serial, place);
        if let Some(number) = self.numbers.get(&key) {
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
        self.numbers.insert(key, number);
        place.number = number;
        Some(true)
    }

    /// Numbers before this one are told no more: what had one gets another.
    pub(super) const fn oldest(&self) -> u32 {
        self.oldest
    }

    /// A place that was told by a number is known better: from now on it is told by that number so.
    pub(super) fn set(&mut self, serial: u64, before: &PlaceSeen, place: &PlaceSeen) {
        if self.numbers.remove(&key(serial, before)).is_some() {
            let bytes = self.bytes.saturating_sub(bytes_of(before));
            self.bytes = bytes.saturating_add(bytes_of(place));
            self.numbers.insert(key(serial, place), place.number);
        }
    }

    /// A place was not told: it is new again.
    pub(super) fn forget(&mut self, place: &PlaceSeen) {
        let bytes = bytes_of(place);
        let before = self.numbers.len();
        self.numbers.retain(|_, number| *number != place.number);
        if self.numbers.len() < before {
            self.bytes = self.bytes.saturating_sub(bytes);
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
        assert_eq!(numbered.number(1, &mut one), Some(true));
        assert_eq!((numbered.number(2, &mut again), again.number), (Some(false), one.number));
        assert_eq!((numbered.number(1, &mut other), other.number), (Some(true), 1));
        numbered.forget(&other);
        assert_eq!((numbered.number(1, &mut other), other.number), (Some(true), 2), "it is told now");
        assert_eq!(numbered.number(1, &mut again), Some(false));
        again.is_cut = true;
        assert_eq!(numbered.number(1, &mut again), Some(true), "another place with the same frames");
    }

    #[test]
    fn a_place_that_is_known_better_keeps_its_number_and_is_no_other_program_s_until_then() {
        let mut numbered = Numbered::default();
        let unowned = || {
            let mut place = place(1, 9);
            place.frames[0].whose = Whose::Unknown;
            place
        };
        let (mut first, mut of_another) = (unowned(), unowned());
        assert_eq!(numbered.number(1, &mut first), Some(true));
        assert_eq!((numbered.number(2, &mut of_another), of_another.number), (Some(true), 1));
        let owned = PlaceSeen { number: first.number, ..place(1, 12) };
        numbered.set(1, &first, &owned);
        assert_eq!(numbered.bytes, bytes_of(&owned) + bytes_of(&of_another));
        let mut later = place(1, 12);
        assert_eq!((numbered.number(3, &mut later), later.number), (Some(false), first.number));
        assert_eq!(numbered.number(1, &mut unowned()), Some(true), "it is told as new if it comes so again");
    }

    #[test]
    fn a_full_table_begins_again_with_other_numbers() {
        let mut numbered = Numbered::default();
        for line in 0..8193 {
            assert_eq!(numbered.number(1, &mut place(line, 9)), Some(true));
        }
        let mut first = place(0, 9);
        assert_eq!((numbered.number(1, &mut first), first.number), (Some(true), 8193));
        assert_eq!(numbered.oldest(), 8192);
        numbered.set(1, &place(7, 9), &PlaceSeen { number: 7, ..place(9000, 9) });
        assert_eq!(numbered.number(1, &mut place(9000, 9)), Some(true), "a forgotten number comes not again");
        for line in 0..40 {
            assert_eq!(numbered.number(1, &mut place(line, 1024 * 1024)), Some(true));
            assert!(numbered.bytes <= MAX_BYTES);
        }
        assert!(numbered.number(1, &mut place(41, 2 * MAX_BYTES)).is_some(), "as long as any name is");
    }
}
