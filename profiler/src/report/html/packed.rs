//! Whole numbers as text, for the data in the page: a seventh to a half of what they take as JSON.
//!
//! In: numbers. Out: for each its digits to the base of 32, the lowest first, a letter each; all letters but
//! the last have 32 added. So a number below 32 takes one letter. `script.js` reads them back.

use serde::Serialize;

/// Letters that need no escape in JSON or in a script.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE: u64 = 32;

/// Numbers, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Packed(String);

impl Packed {
    pub(super) fn push(&mut self, number: u64) {
        let mut rest = number;
        loop {
            let digit = rest % BASE;
            rest /= BASE;
            let index = usize::try_from(digit + if rest > 0 { BASE } else { 0 }).unwrap_or(0);
            self.0.push(LETTERS.get(index).copied().map_or('A', char::from));
            if rest == 0 {
                return;
            }
        }
    }
}

impl Extend<u64> for Packed {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, numbers: T) {
        numbers.into_iter().for_each(|number| self.push(number));
    }
}

/// The numbers of a text.
#[cfg(test)]
pub(super) fn unpacked(text: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    let (mut number, mut scale) = (0, 1);
    for letter in text.bytes() {
        let digit =
            LETTERS.iter().position(|known| *known == letter).expect("a letter of the alphabet") as u64;
        number += digit % BASE * scale;
        scale *= BASE;
        if digit < BASE {
            numbers.push(number);
            (number, scale) = (0, 1);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        let numbers = [0, 1, 31, 32, 1_000, 123_456_789, 1 << 53];
        let mut packed = Packed::default();
        packed.extend(numbers);
        assert_eq!(unpacked(&packed.0), numbers);
        assert_eq!(&packed.0[..4], "ABfg", "the script reads these: {}", packed.0);
    }
}
