//! What the terminal can show, and how roles of text look there.
//!
//! In: the caller's decision on colour and charset. Out: spans and lines. Without colour, weight and letters remain.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::report::escape::{self, Charset, columns};
use crate::report::text::page::without_typography;

/// How to paint for this terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// Colours may be used.
    pub colour: bool,
    /// Characters that may be used.
    pub charset: Charset,
}

/// What a piece of text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing particular.
    Plain,
    /// A name or a number that the eye should find.
    Strong,
    /// Something is wrong.
    Bad,
    /// Something is uncertain, or waits.
    Doubt,
    /// All is well.
    Good,
    /// What may be passed over.
    Quiet,
    /// The row that the keys act on.
    Selected,
    /// A line that divides the screen.
    Bar,
}

impl Paint {
    /// The style of a role.
    #[must_use]
    pub fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let coloured = |colour: Color| if self.colour { plain.fg(colour) } else { plain };
        match role {
            Role::Plain => plain,
            Role::Strong => plain.add_modifier(Modifier::BOLD),
            Role::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Role::Doubt => coloured(Color::Yellow),
            Role::Good => coloured(Color::Green).add_modifier(Modifier::BOLD),
            Role::Quiet => plain.add_modifier(Modifier::DIM),
            Role::Selected | Role::Bar => plain.add_modifier(Modifier::REVERSED),
        }
    }

    /// A cell of this colour: letters on it stay readable, and without colour they are all there is.
    #[must_use]
    pub fn cell(self, colour: Color) -> Style {
        match colour {
            _ if !self.colour => Style::new(),
            Color::Reset => Style::new(),
            colour => Style::new().bg(colour).fg(Color::Black),
        }
    }

    /// Our own text in a role.
    #[must_use]
    pub fn span(self, role: Role, text: &str) -> Span<'static> {
        Span::styled(self.own(text), self.style(role))
    }

    /// A line of one span.
    #[must_use]
    pub fn line(self, role: Role, text: &str) -> Line<'static> {
        Line::from(self.span(role, text))
    }

    /// Text of the traced process, or that quotes it: escaped, at most `width` columns.
    #[must_use]
    pub fn quote(self, text: &str, width: usize) -> String {
        escape::line(&self.own(text), width, self.charset)
    }

    /// The same in exactly `width` columns.
    #[must_use]
    pub fn quote_in(self, text: &str, width: usize) -> String {
        let text = self.quote(text, width);
        let padding = width.saturating_sub(columns(&text));
        format!("{text}{}", " ".repeat(padding))
    }

    /// One of two glyphs, by charset.
    #[must_use]
    pub const fn glyph(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self.charset {
            Charset::Unicode => unicode,
            Charset::Ascii => ascii,
        }
    }

    /// What stands between two parts of a line.
    #[must_use]
    pub const fn dot(self) -> &'static str {
        self.glyph(" · ", " | ")
    }

    /// Our sentences in the characters of this terminal.
    fn own(self, text: &str) -> String {
        match self.charset {
            Charset::Unicode => text.to_owned(),
            Charset::Ascii => without_typography(text),
        }
    }
}

/// `left` and, as far as there is room, `right` at the end of the line.
#[must_use]
pub fn ends(left: Line<'static>, right: Line<'static>, width: usize) -> Line<'static> {
    let mut line = left;
    let gap = width.saturating_sub(line.width() + right.width());
    if gap > 0 {
        line.push_span(Span::raw(" ".repeat(gap)));
        line.extend(right.spans);
    }
    line
}
