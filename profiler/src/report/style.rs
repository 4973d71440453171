//! What the reader's terminal can do, and how roles of text look there.
//!
//! In: the caller's decision on colour and charset. Out: painted text, and the glyphs of that charset.

use anstyle::{AnsiColor, Effects};
use ratatui::style::Color;

use super::escape::Charset;

/// How to write for this reader. The caller decides, by terminal, `--color`, `NO_COLOR` and locale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Colours and weights may be used.
    pub colour: bool,
    /// Characters that may be used.
    pub charset: Charset,
    /// The reader wants all of the text report, not one page of it, and what each verdict was judged by: each
    /// limit that was passed, and by how much.
    pub verbose: bool,
}

impl Style {
    /// Without colour.
    pub const fn plain(charset: Charset) -> Self {
        Self { colour: false, charset, verbose: false }
    }

    /// `text` as it looks in `role`; widths must be reckoned before.
    pub(crate) fn paint(self, role: Role, text: &str) -> String {
        let style = role.style();
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
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
    /// A bar or a heat map.
    Graph,
    /// What may be passed over.
    Quiet,
    /// On the live screen: the row that the keys act on.
    Selected,
    /// On the live screen: a line that divides it.
    Bar,
    /// On the live screen: a letter of the vocabulary, on its colour.
    Letter(Color),
}

impl Role {
    const fn style(self) -> anstyle::Style {
        let plain = anstyle::Style::new();
        match self {
            Self::Plain | Self::Letter(_) => plain,
            Self::Strong => plain.effects(Effects::BOLD),
            Self::Bad => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Self::Doubt => AnsiColor::Yellow.on_default(),
            Self::Good => AnsiColor::Green.on_default().effects(Effects::BOLD),
            Self::Graph => AnsiColor::Cyan.on_default(),
            Self::Quiet => plain.effects(Effects::DIMMED),
            Self::Selected | Self::Bar => plain.effects(Effects::INVERT),
        }
    }
}
