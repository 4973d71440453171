//! The page that sections write on: headings, lines, wrapped paragraphs.
//!
//! In: text of the sections. Out: lines of at most so many columns, without blanks at their ends. Each piece
//! says what it is for, so that the text report and the live screen paint it each in its way.

use super::room::Room;
use crate::report::document::table::On;
use crate::report::escape::{Charset, columns};
use crate::report::style::{Role, Style};

/// Width of the text report in columns.
pub const WIDTH: usize = 100;

/// Longest quoted text (a sentence, a reason), in columns.
const LONGEST_QUOTE: usize = 1_000;

/// A piece of a line.
pub(in crate::report) type Run = (Role, String);

/// The report as far as it is written.
pub(in crate::report) struct Page {
    lines: Vec<Vec<Run>>,
    pub(super) style: Style,
    pub(super) width: usize,
    /// Whether what has a letter in the vocabulary has it here: on the live screen, whose bars are made of
    /// letters.
    pub(super) has_letters: bool,
    /// What there is room for, where the report is to be one page.
    pub(super) room: Option<Room>,
    /// Lines that paragraphs may still take.
    pub(super) lines_left: usize,
}

impl Page {
    /// The text report.
    pub(in crate::report) const fn new(style: Style) -> Self {
        Self {
            lines: Vec::new(),
            style,
            width: WIDTH,
            has_letters: false,
            room: None,
            lines_left: usize::MAX,
        }
    }

    /// One page of text.
    pub(super) fn brief(style: Style, room: Room) -> Self {
        Self { room: Some(room), ..Self::new(style) }
    }

    /// What is drawn here.
    pub(super) const fn place(&self) -> On {
        if self.room.is_some() { On::BRIEF } else { On::TEXT }
    }

    pub(super) const fn length(&self) -> usize {
        self.lines.len()
    }

    /// Where the report is to be one page, the next paragraphs take no more lines than this.
    pub(super) const fn at_most(&mut self, lines: usize) {
        self.lines_left = if self.room.is_some() { lines } else { usize::MAX };
    }

    /// A page of the live screen.
    pub(in crate::report) fn on_screen(charset: Charset, width: usize) -> Self {
        Self { width, has_letters: true, ..Self::new(Style::plain(charset)) }
    }

    pub(in crate::report) fn into_lines(self) -> Vec<Vec<Run>> {
        self.lines
    }

    pub(super) fn into_text(self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.extend(line.iter().map(|(role, piece)| self.style.paint(*role, piece)));
            text.push('\n');
        }
        text
    }

    /// One line. It must fit: only [`Self::paragraph`] wraps.
    pub(super) fn line(&mut self, runs: &[(Role, &str)]) {
        let mut line: Vec<Run> = runs.iter().map(|(role, text)| (*role, (*text).to_owned())).collect();
        while let Some((_, last)) = line.last_mut() {
            last.truncate(last.trim_end().len());
            if !last.is_empty() {
                break;
            }
            line.pop();
        }
        self.lines.push(line);
    }

    pub(super) fn blank(&mut self) {
        self.lines.push(Vec::new());
    }

    /// `Title ─────── note`, after a blank line.
    pub(super) fn heading(&mut self, title: &str, note: &str) {
        let note = self.quote(note, self.width.saturating_sub(columns(title) + 6));
        let note_columns = if note.is_empty() { 0 } else { columns(&note) + 1 };
        let rule_columns = self.width.saturating_sub(columns(title) + 1 + note_columns);
        let rule = self.style.charset.glyph("─", "-").repeat(rule_columns);
        self.blank();
        self.line(&[
            (Role::Strong, title),
            (Role::Plain, " "),
            (Role::Quiet, &rule),
            (Role::Plain, " "),
            (Role::Plain, &note),
        ]);
    }

    /// Text that may quote the traced process, which is hostile, in one line of at most `max_columns`.
    pub(super) fn quote(&self, text: &str, max_columns: usize) -> String {
        self.style.charset.quote(text, max_columns)
    }

    /// Text that may quote hostile strings, escaped and wrapped: `first` stands before the first line, blanks
    /// of the same width before the others. `first` and the text are painted each in its role.
    pub(super) fn paragraph(&mut self, first: (Role, &str), text: (Role, &str)) {
        let indent = columns(first.1);
        let blanks = " ".repeat(indent);
        let shown = self.quote(text.1, LONGEST_QUOTE);
        let width = self.width.saturating_sub(indent);
        let lines = cut(wrap(&shown, width), self.lines_left, width, self.style.charset);
        self.lines_left = self.lines_left.saturating_sub(lines.len());
        for (index, line) in lines.into_iter().enumerate() {
            let before = if index == 0 { first } else { (Role::Plain, blanks.as_str()) };
            self.line(&[before, (text.0, &line)]);
        }
    }

    /// Whether such a paragraph has room for all its lines.
    pub(super) fn fits(&self, first: &str, text: &str) -> bool {
        let width = self.width.saturating_sub(columns(first));
        wrap(&self.quote(text, LONGEST_QUOTE), width).len() <= self.lines_left
    }

    /// `  label    value`, the value wrapped under itself.
    pub(super) fn entry(&mut self, label: &str, value: &str) {
        const LABEL_COLUMNS: usize = 21;
        let label = self.quote(label, LABEL_COLUMNS);
        let padding = " ".repeat(LABEL_COLUMNS.saturating_sub(columns(&label)));
        self.paragraph((Role::Quiet, &format!("  {label}{padding}  ")), (Role::Plain, value));
    }
}

/// Breaks at blanks so that no line is wider than `width`, never between a number and its unit; a word that
/// is wider by itself is broken anywhere.
pub(in crate::report) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in with_units(text) {
        let wide = columns(&word);
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

/// The first of these lines; an ellipsis stands for the others.
fn cut(mut lines: Vec<String>, most: usize, width: usize, charset: Charset) -> Vec<String> {
    if lines.len() <= most {
        return lines;
    }
    lines.truncate(most);
    if let Some(last) = lines.last_mut() {
        let ellipsis = charset.ellipsis();
        while columns(last) + columns(ellipsis) > width && last.pop().is_some() {}
        last.truncate(last.trim_end_matches([' ', ',', ':', ';']).len());
        last.push_str(ellipsis);
    }
    lines
}

/// Units that stay on the line of their number.
const UNITS: [&str; 13] = ["%", "ns", "µs", "us", "ms", "s", "min", "h", "B", "kB", "MB", "GB", "TB"];

/// The words of a text, a number and its unit as one.
fn with_units(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let unit = word.trim_end_matches(|character: char| ",.;:)".contains(character));
        match words.last_mut() {
            Some(number) if UNITS.contains(&unit) && number.ends_with(|last: char| last.is_ascii_digit()) => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
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
    fn what_has_no_room_ends_in_an_ellipsis() {
        let cut = |most| cut(wrap("one two, three four", 9), most, 9, Charset::Unicode);
        assert_eq!(cut(3), ["one two,", "three", "four"]);
        assert_eq!(cut(2), ["one two,", "three…"]);
        assert_eq!(cut(1), ["one two…"]);
        assert!(cut(0).is_empty());
    }

    #[test]
    fn a_number_keeps_its_unit() {
        assert_eq!(wrap("it took 77 % of it", 11), ["it took", "77 % of it"]);
        assert_eq!(wrap("within 2.85 ms, or 3 s.", 12), ["within", "2.85 ms, or", "3 s."]);
        assert_eq!(wrap("workers is s", 10), ["workers is", "s"]);
    }

    #[test]
    fn a_paragraph_hangs_under_its_first_line() {
        let mut page = Page::new(Style::plain(Charset::Ascii));
        page.paragraph((Role::Quiet, "-> "), (Role::Plain, &"word ".repeat(30)));
        let text = page.into_text();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("-> word word"));
        assert!(lines.next().unwrap().starts_with("   word"));
        assert!(text.lines().all(|line| columns(line) <= WIDTH));
    }
}
