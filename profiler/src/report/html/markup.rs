//! HTML that cannot be injected into.
//!
//! In: markup that is part of this program, and text from anywhere. Out: a document in which every such text
//! is text: [`Html::raw`] takes only what was compiled in, everything else is escaped, first for the eye,
//! then for HTML.

use crate::report::document::cell::{Cell, Piece, Words};
use crate::report::escape::{self, Charset};

/// Longest text shown, in columns.
const LONGEST_TEXT: usize = 2_000;

/// A document, as far as it is written.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Markup of this program.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text from anywhere: what acts on a reader (controls, changes of direction) is made visible.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for character in escape::line(text, LONGEST_TEXT, Charset::Unicode).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// ` name="value"`, inside a tag.
    pub(crate) fn attribute(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.raw(" ").raw(name).raw("=\"").text(value).raw("\"")
    }

    /// An attribute of any length, for what this program made itself and holds digits, letters and blanks
    /// alone.
    pub(super) fn data(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.raw(" ").raw(name).raw("=\"");
        self.0.extend(value.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.')));
        self.raw("\"")
    }

    /// `<tag>text</tag>`.
    pub(crate) fn element(&mut self, tag: &'static str, text: &str) -> &mut Self {
        self.raw("<").raw(tag).raw(">").text(text).raw("</").raw(tag).raw(">")
    }

    /// JSON as it stands between the tags of a script that is data: spelled so that no tag can end it.
    pub(super) fn json(&mut self, json: &str) -> &mut Self {
        for character in json.chars() {
            match character {
                '<' => self.0.push_str("\\u003c"),
                '>' => self.0.push_str("\\u003e"),
                '&' => self.0.push_str("\\u0026"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// A number that also stands in the JSON report, at `pointer` (RFC 6901): its exact value beside what is
    /// shown.
    pub(super) fn figure(&mut self, pointer: &str, exact: &str, shown: &str) -> &mut Self {
        self.raw("<data").attribute("data-json", pointer).attribute("value", exact).raw(">");
        self.text(shown).raw("</data>")
    }

    /// Words, with the values in them.
    pub(super) fn words(&mut self, words: &Words) -> &mut Self {
        for piece in words.pieces() {
            match piece {
                Piece::Text(text) => self.text(text),
                Piece::Figure(cell) => self.cell(cell),
            };
        }
        self
    }

    /// A value; one that also stands in the JSON report with its exact value, and with its place there.
    pub(super) fn cell(&mut self, cell: &Cell) -> &mut Self {
        let shown = cell.shown(Charset::Unicode);
        match cell.figure() {
            Some((pointer, exact)) => self.figure(pointer, &exact, &shown),
            None => self.text(&shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut html = Html::default();
        html.element("td", "</td><script>alert(\"1\")</script>&'\u{202e}\u{0}")
            .attribute("title", "\" onload='x");
        assert_eq!(
            html.into_text(),
            "<td>&lt;/td&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\\u{202e}\\x00</td> \
             title=\"&quot; onload=&#39;x\""
        );
    }

    #[test]
    fn data_in_a_script_cannot_end_it() {
        let mut html = Html::default();
        html.json(r#"["</script><!--&"]"#);
        let text = html.into_text();
        assert_eq!(text, r#"["\u003c/script\u003e\u003c!--\u0026"]"#);
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), ["</script><!--&"]);
    }

    proptest! {
        #[test]
        fn no_text_brings_a_tag_a_quote_or_an_entity_of_its_own(text in any::<String>()) {
            let mut html = Html::default();
            html.text(&text);
            let shown = html.into_text();
            prop_assert!(!shown.contains(['<', '>', '"', '\'']));
            let plain = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().fold(shown, |text, known| text.replace(known, ""));
            prop_assert!(!plain.contains('&'));
        }
    }
}
