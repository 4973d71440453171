//! The lines of a file to which another process still writes.
//!
//! In: what a reader has of it so far. Out: the lines that are whole. A write can be seen in part, so the
//! last line may be torn.

use std::str::Lines;

/// The lines of `text` that ended; what comes after the last end of a line is still being written.
pub fn whole_lines(text: &str) -> Lines<'_> {
    let end = text.rfind('\n').map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default().lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_being_written_is_left() {
        for (text, whole) in [
            ("", &[][..]),
            ("{\"sp", &[]),
            ("one\n", &["one"]),
            ("one\ntw", &["one"]),
            ("one\n\ntwo\n", &["one", "", "two"]),
        ] {
            assert_eq!(whole_lines(text).collect::<Vec<_>>(), whole, "{text:?}");
        }
    }
}
