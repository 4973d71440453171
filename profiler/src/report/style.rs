//! What the reader's terminal can do, and how roles of text look there.
//!
//! In: the caller's decision on colour and charset. Out: painted text, and the glyphs of that charset.

use anstyle::{AnsiColor, Effects};

use super::escape::Charset;

/// How to write for this reader. The caller decides, by terminal, `--color`, `NO_COLOR` and locale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Colours and weights may be used.
    pub colour: bool,
    /// Characters that may be used.
    pub charset: Charset,
    /// The reader also wants what a verdict was judged by: each limit that was passed, and by how much.
    pub verbose: bool,
}

impl Style {
    /// Without colour.
    #[must_use]
    pub const fn plain(charset: Charset) -> Self {
        Self { colour: false, charset, verbose: false }
    }

    /// `text` as it looks in `role`; widths must be reckoned before.
    pub(crate) fn paint(self, role: Role, text: &str) -> String {
        let style = role.style();
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// One of two glyphs, by charset.
    pub(super) const fn glyph(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self.charset {
            Charset::Unicode => unicode,
            Charset::Ascii => ascii,
        }
    }
}

/// What a piece of text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The name of a section or a finding.
    Heading,
    /// Something is wrong.
    Bad,
    /// Something is uncertain.
    Doubt,
    /// All is well.
    Good,
    /// A bar or a heat map.
    Graph,
    /// What may be passed over.
    Quiet,
}

impl Role {
    const fn style(self) -> anstyle::Style {
        let plain = anstyle::Style::new();
        match self {
            Self::Heading => plain.effects(Effects::BOLD),
            Self::Bad => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Self::Doubt => AnsiColor::Yellow.on_default(),
            Self::Good => AnsiColor::Green.on_default().effects(Effects::BOLD),
            Self::Graph => AnsiColor::Cyan.on_default(),
            Self::Quiet => plain.effects(Effects::DIMMED),
        }
    }
}
