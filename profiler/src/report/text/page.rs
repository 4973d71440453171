//! The page that sections write on: headings, lines, wrapped paragraphs.
//!
//! In: text of the sections. Out: lines of at most [`WIDTH`] columns, without blanks at their ends.

use crate::report::escape::{self, Charset, columns};
use crate::report::style::{Role, Style};

/// Width of the report in columns.
pub const WIDTH: usize = 100;

/// Longest quoted text (a sentence, a reason), in columns.
const LONGEST_QUOTE: usize = 1_000;

/// The report as far as it is written.
pub(in crate::report) struct Page {
    text: String,
    pub(super) style: Style,
}

impl Page {
    pub(in crate::report) const fn new(style: Style) -> Self {
        Self { text: String::new(), style }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// One line. It must fit: only [`Self::paragraph`] wraps.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn paint(&self, role: Role, text: &str) -> String {
        self.style.paint(role, text)
    }

    /// `Title ─────── note`, after a blank line.
    pub(super) fn heading(&mut self, title: &str, note: &str) {
        let note = self.quote(note, WIDTH - columns(title) - 6);
        let note_columns = if note.is_empty() { 0 } else { columns(&note) + 1 };
        let rule_columns = WIDTH.saturating_sub(columns(title) + 1 + note_columns);
        let rule = self.style.glyph("─", "-").repeat(rule_columns);
        let line = format!("{} {} {note}", self.paint(Role::Heading, title), self.paint(Role::Quiet, &rule));
        self.blank();
        self.line(&line);
    }

    /// Text that may quote the traced process, which is hostile, in one line of at most `max_columns`.
    pub(super) fn quote(&self, text: &str, max_columns: usize) -> String {
        match self.style.charset {
            Charset::Unicode => escape::line(text, max_columns, Charset::Unicode),
            Charset::Ascii => escape::line(&without_typography(text), max_columns, Charset::Ascii),
        }
    }

    /// Text that may quote hostile strings, escaped and wrapped: `first` stands before the first line, blanks of the
    /// same width before the others. `first` and the text are painted each in its role.
    pub(super) fn paragraph(&mut self, first: (Role, &str), text: (Option<Role>, &str)) {
        let indent = columns(first.1);
        let shown = self.quote(text.1, LONGEST_QUOTE);
        for (index, line) in wrap(&shown, WIDTH.saturating_sub(indent)).into_iter().enumerate() {
            let before = if index == 0 { self.paint(first.0, first.1) } else { " ".repeat(indent) };
            let line = text.0.map_or_else(|| line.clone(), |role| self.paint(role, &line));
            self.line(&format!("{before}{line}"));
        }
    }

    /// `  label    value`, the value wrapped under itself.
    pub(super) fn entry(&mut self, label: &str, value: &str) {
        const LABEL_COLUMNS: usize = 21;
        let label = self.quote(label, LABEL_COLUMNS);
        let padding = " ".repeat(LABEL_COLUMNS.saturating_sub(columns(&label)));
        self.paragraph((Role::Quiet, &format!("  {label}{padding}  ")), (None, value));
    }

    /// What stands between two parts of a line.
    pub(in crate::report) const fn dot(&self) -> &'static str {
        self.style.glyph(" · ", " | ")
    }
}

/// Our own sentences in ASCII: the few signs that they use beyond it, in plainer clothes.
pub(in crate::report) fn without_typography(text: &str) -> String {
    [("µs", "us"), ("×", "x"), ("…", "..."), ("–", "-"), ("→", "->"), ("≥", ">="), ("≤", "<="), ("·", "|")]
        .iter()
        .fold(text.to_owned(), |text, (sign, plain)| text.replace(sign, plain))
}

/// Breaks at blanks so that no line is wider than `width`; a word that is wider by itself is broken anywhere.
pub(in crate::report) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let wide = columns(word);
        if used > 0 && used + 1 + wide > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for character in word.chars() {
            let character_columns = columns(character.encode_utf8(&mut [0; 4]));
            if used > 0 && used + character_columns > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(character);
            used += character_columns;
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::escape::Charset;

    #[test]
    fn lines_break_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a abcdefgh b", 4), ["a", "abcd", "efgh", "b"]);
        assert!(wrap("", 10).is_empty());
    }

    #[test]
    fn a_paragraph_hangs_under_its_first_line() {
        let mut page = Page::new(Style::plain(Charset::Ascii));
        page.paragraph((Role::Quiet, "-> "), (None, &"word ".repeat(30)));
        let text = page.into_text();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("-> word word"));
        assert!(lines.next().unwrap().starts_with("   word"));
        assert!(text.lines().all(|line| columns(line) <= WIDTH));
    }
}
