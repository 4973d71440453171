//! What the terminal can show, and how roles of text look there.
//!
//! In: the caller's decision on colour and charset. Out: spans and lines. Without colour, weight and letters
//! remain.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::report::escape::{Charset, columns};
pub use crate::report::style::Role;

/// What is cut off before an ellipsis at most, to end behind a word.
const LONGEST_WORD: usize = 24;

/// How to paint for this terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// Colours may be used.
    pub colour: bool,
    /// Characters that may be used.
    pub charset: Charset,
}

impl Paint {
    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let coloured = |colour: Color| if self.colour { plain.fg(colour) } else { plain };
        match role {
            Role::Plain => plain,
            Role::Strong => plain.add_modifier(Modifier::BOLD),
            Role::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Role::Doubt => coloured(Color::Yellow),
            Role::Good => coloured(Color::Green).add_modifier(Modifier::BOLD),
            Role::Graph => coloured(Color::Cyan),
            Role::Quiet => plain.add_modifier(Modifier::DIM),
            Role::Letter(colour) => self.cell(colour),
            Role::Selected | Role::Bar => plain.add_modifier(Modifier::REVERSED),
        }
    }

    /// A cell of this colour: letters on it stay readable, and without colour they are all there is.
    pub fn cell(self, colour: Color) -> Style {
        match colour {
            _ if !self.colour => Style::new(),
            Color::Reset => Style::new(),
            colour => Style::new().bg(colour).fg(Color::Black),
        }
    }

    /// Our own text in a role.
    pub fn span(self, role: Role, text: &str) -> Span<'static> {
        Span::styled(self.charset.spelled(text), self.style(role))
    }

    /// A line of one span.
    pub fn line(self, role: Role, text: &str) -> Line<'static> {
        Line::from(self.span(role, text))
    }

    /// Text of the traced process, or that quotes it: escaped, at most `width` columns.
    pub fn quote(self, text: &str, width: usize) -> String {
        self.charset.quote(text, width)
    }

    /// Escaped text that goes on where there is no room: with an ellipsis behind its last whole word, if it
    /// has more than one.
    pub fn ending(self, text: &str, width: usize) -> String {
        let ellipsis = self.charset.ellipsis();
        let mut kept = text.trim_end().to_owned();
        while !kept.is_empty() && columns(&kept) + 1 + columns(ellipsis) > width {
            let cut = kept.trim_end().rfind(' ').unwrap_or(0);
            if cut == 0 {
                kept.pop();
            } else {
                kept.truncate(cut);
            }
        }
        format!("{kept} {ellipsis}")
    }

    /// A line that says by an ellipsis that it is longer than the screen is wide. It ends behind a word where
    /// one ends near there: half a number would be read as a number.
    pub fn fit(self, line: Line<'static>, width: usize) -> Line<'static> {
        if line.width() <= width {
            return line;
        }
        let room = width.saturating_sub(columns(self.charset.ellipsis()));
        let mut kept: Vec<(char, Style)> = Vec::new();
        let mut used = 0;
        let characters =
            line.spans.iter().flat_map(|span| span.content.chars().map(|character| (character, span.style)));
        for (character, style) in characters {
            used += columns(character.encode_utf8(&mut [0; 4]));
            if used > room {
                break;
            }
            kept.push((character, style));
        }
        let word_end = kept.iter().rposition(|(character, _)| *character == ' ').map(|blank| blank + 1);
        if let Some(end) = word_end.filter(|end| kept.len() - end <= LONGEST_WORD) {
            kept.truncate(end);
        }
        let mut fitted = Line::default();
        for chunk in kept.chunk_by(|(_, one), (_, other)| one == other) {
            let style = chunk.first().map_or_else(Style::new, |(_, style)| *style);
            fitted.push_span(Span::styled(
                chunk.iter().map(|(character, _)| character).collect::<String>(),
                style,
            ));
        }
        fitted.push_span(Span::raw(self.charset.ellipsis()));
        fitted
    }

    /// A text that may be hostile, in exactly `width` columns.
    pub fn quote_in(self, text: &str, width: usize) -> String {
        let text = self.quote(text, width);
        let padding = width.saturating_sub(columns(&text));
        format!("{text}{}", " ".repeat(padding))
    }
}

/// `left` and, as far as there is room, `right` at the end of the line.
pub fn ends(left: Line<'static>, right: Line<'static>, width: usize) -> Line<'static> {
    ends_with(left, right, width, |gap| Span::raw(" ".repeat(gap)))
}

/// `left` and, as far as there is room, `right` at the end of the line, with something between them of so
/// many columns.
pub fn ends_with(
    left: Line<'static>,
    right: Line<'static>,
    width: usize,
    between: impl FnOnce(usize) -> Span<'static>,
) -> Line<'static> {
    let mut line = left;
    let gap = width.saturating_sub(line.width() + right.width());
    if gap > 0 {
        line.push_span(between(gap));
        line.extend(right.spans);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAINT: Paint = Paint { colour: false, charset: Charset::Unicode };

    #[test]
    fn what_has_no_room_ends_in_an_ellipsis_behind_a_word() {
        assert_eq!(PAINT.ending("one two three", 15), "one two three …");
        assert_eq!(PAINT.ending("one two three", 14), "one two …");
        assert_eq!(PAINT.ending("one two three", 8), "one …");
        assert_eq!(columns(&PAINT.ending("onetwothree", 6)), 6);
    }

    #[test]
    fn a_line_is_as_wide_as_the_screen_at_most_and_says_that_it_goes_on() {
        let line = || Line::from(vec![Span::raw("abc"), Span::raw("def")]);
        let shown = |width| PAINT.fit(line(), width).to_string();
        assert_eq!((shown(6), shown(5), shown(3)), ("abcdef".into(), "abcd…".into(), "ab…".into()));
        let line = Line::from(vec![Span::raw("p99 "), Span::raw("623 µs")]);
        assert_eq!(PAINT.fit(line, 8).to_string(), "p99 …", "no half of a number");
    }
}
