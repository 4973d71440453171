//! Names from outside, made fit to show.
//!
//! In: names of processes and threads, methods and paths: hostile. Out: valid, bounded text on one line.

use crate::report::escape::is_plain;

/// Longest name in characters, without the mark of a cut.
pub(super) const NAME_CHARACTERS: usize = 200;

/// At most [`NAME_CHARACTERS`] characters of `text`; what would break a line, end a string or turn the
/// direction of writing is replaced.
pub(super) fn bounded(text: &str) -> String {
    let mut rest = text.chars();
    let mut name: String = rest.by_ref().take(NAME_CHARACTERS).map(shown).collect();
    if rest.next().is_some() {
        name.push('…');
    }
    name
}

fn shown(character: char) -> char {
    if is_plain(character) { character } else { char::REPLACEMENT_CHARACTER }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(bounded("GET /café/1"), "GET /café/1");
    }

    #[test]
    fn a_name_at_the_limit_is_not_marked_as_cut() {
        let name = "é".repeat(NAME_CHARACTERS);
        assert_eq!(bounded(&name), name);
        assert_eq!(bounded(&(name.clone() + "x")), name + "…");
    }

    #[test]
    fn controls_and_turns_of_direction_are_replaced() {
        assert_eq!(
            bounded("a\0b\n\u{1b}[31m\u{202e}c\u{2028}"),
            "a\u{fffd}b\u{fffd}\u{fffd}[31m\u{fffd}c\u{fffd}"
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_bounded_and_free_of_controls(text in any::<String>()) {
            let name = bounded(&text);
            prop_assert!(name.chars().count() <= NAME_CHARACTERS + 1);
            prop_assert!(!name.chars().any(char::is_control));
        }
    }
}
