//! JSON that a terminal can be shown.
//!
//! In: what `serde_json` writes. Out: the same document, in which every character that a terminal could act
//! on is a `\u` escape: the values are unchanged, only their spelling is.

use std::io::{self, Write};

use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::report::escape::is_plain;

/// A formatter that escapes within strings and leaves all else to another.
pub(crate) struct Safe<F>(F);

impl Safe<PrettyFormatter<'static>> {
    /// Indented by two spaces.
    pub(crate) fn pretty() -> Self {
        Self(PrettyFormatter::new())
    }
}

impl Safe<CompactFormatter> {
    /// On one line.
    pub(crate) const fn compact() -> Self {
        Self(CompactFormatter)
    }
}

impl<F: Formatter> Formatter for Safe<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, character) in fragment.char_indices().filter(|(_, character)| !is_plain(*character)) {
            writer.write_all(fragment.get(plain_from..at).unwrap_or_default().as_bytes())?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain_from = at + character.len_utf8();
        }
        writer.write_all(fragment.get(plain_from..).unwrap_or_default().as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_key(writer)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Serialize;

    fn spelled(text: &str) -> String {
        let mut bytes = Vec::new();
        text.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Safe::compact())).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_a_terminal_acts_on_is_spelled_as_an_escape() {
        assert_eq!(spelled("/é\u{9b}2J\u{202e}\u{1b}\u{7f}\"\\"), r#""/é\u009b2J\u202e\u001b\u007f\"\\""#);
        assert_eq!(spelled("\u{e0001}"), r#""\udb40\udc01""#);
    }

    proptest! {
        #[test]
        fn the_value_is_unchanged_whatever_it_holds(text in any::<String>()) {
            let spelled = spelled(&text);
            prop_assert!(spelled.chars().all(is_plain));
            prop_assert_eq!(serde_json::from_str::<String>(&spelled).unwrap(), text);
        }
    }
}
