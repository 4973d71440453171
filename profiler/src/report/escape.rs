//! Strings that came from a traced process, made safe to show.
//!
//! In: paths, names, addresses, sentences that quote them: hostile. Out: text of bounded width in which
//! everything that a terminal could act on (control characters, escape sequences, changes of direction) is
//! visible instead.

use unicode_width::UnicodeWidthChar;

/// Which characters the reader's terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8.
    Unicode,
    /// ASCII alone.
    Ascii,
}

impl Charset {
    /// The charset of a locale, by the values of `LC_ALL`, `LC_CTYPE` and `LANG` (the first that is set and
    /// not empty counts, as in POSIX).
    pub fn of_locale(lc_all: Option<&str>, lc_ctype: Option<&str>, lang: Option<&str>) -> Self {
        let locale = [lc_all, lc_ctype, lang].into_iter().flatten().find(|value| !value.is_empty());
        let name = locale.unwrap_or_default().to_ascii_lowercase();
        if name.contains("utf-8") || name.contains("utf8") { Self::Unicode } else { Self::Ascii }
    }

    /// What stands for left-out text.
    pub const fn ellipsis(self) -> &'static str {
        self.glyph("…", "...")
    }

    /// One of two glyphs.
    pub const fn glyph(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }

    /// Our own sentences: in ASCII the few signs that they use beyond it, in plainer clothes.
    pub fn spelled(self, text: &str) -> String {
        const SIGNS: [(&str, &str); 8] = [
            ("µs", "us"),
            ("×", "x"),
            ("…", "..."),
            ("–", "-"),
            ("→", "->"),
            ("≥", ">="),
            ("≤", "<="),
            ("·", "|"),
        ];
        match self {
            Self::Unicode => text.to_owned(),
            Self::Ascii => {
                SIGNS.iter().fold(text.to_owned(), |text, (sign, plain)| text.replace(sign, plain))
            }
        }
    }

    /// A sentence of ours that may quote the traced process, on one line of at most so many columns.
    pub fn quote(self, text: &str, max_columns: usize) -> String {
        line(&self.spelled(text), max_columns, self)
    }
}

/// Whether a character shows as itself and does nothing else.
pub fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        return character == ' ' || character.is_ascii_graphic();
    }
    // The standard library knows what is not printable: controls, format and bidi characters, unassigned
    // ones.
    character.escape_debug().count() == 1
}

/// `text` on one line, at most `max_columns` wide; what is not plain becomes a visible escape, what is too
/// long ends in an ellipsis. An escape is never cut in two.
pub fn line(text: &str, max_columns: usize, charset: Charset) -> String {
    let ellipsis = charset.ellipsis();
    let room_before_ellipsis = max_columns.saturating_sub(columns(ellipsis));
    let mut shown = String::new();
    let mut width = 0;
    let mut cut_at = 0;
    for character in text.chars() {
        let visible = visible(character, charset);
        width += columns(&visible);
        if width > max_columns {
            shown.truncate(cut_at);
            // Where not even the ellipsis fits, nothing is shown.
            if columns(ellipsis) <= max_columns {
                shown.push_str(ellipsis);
            }
            break;
        }
        shown.push_str(&visible);
        if width <= room_before_ellipsis {
            cut_at = shown.len();
        }
    }
    shown
}

/// Width of plain text on a terminal, in columns.
pub fn columns(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

fn visible(character: char, charset: Charset) -> String {
    match character {
        // So that an escape shown can be distinguished from one that was sent.
        '\\' => r"\\".to_owned(),
        '\n' => r"\n".to_owned(),
        '\r' => r"\r".to_owned(),
        '\t' => r"\t".to_owned(),
        plain if is_plain(plain) && (plain.is_ascii() || charset == Charset::Unicode) => plain.to_string(),
        other => {
            let code = u32::from(other);
            if code < 0x100 { format!(r"\x{code:02x}") } else { format!(r"\u{{{code:x}}}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unicode(text: &str) -> String {
        line(text, 80, Charset::Unicode)
    }

    #[test]
    fn escape_sequences_become_visible() {
        assert_eq!(unicode("/a\u{1b}[2J\u{1b}]0;owned\u{7}"), r"/a\x1b[2J\x1b]0;owned\x07");
        assert_eq!(unicode("\u{9b}31m\u{7f}"), r"\x9b31m\x7f", "C1 controls and DEL act on terminals too");
    }

    #[test]
    fn one_string_stays_on_one_line() {
        assert_eq!(unicode("/a\r\nlosses: none\t!\u{2028}\u{85}"), r"/a\r\nlosses: none\t!\u{2028}\x85");
    }

    #[test]
    fn changes_of_direction_and_invisible_characters_become_visible() {
        assert_eq!(
            unicode("/\u{202e}gpj.exe\u{2066}\u{200b}\u{feff}e\u{301}"),
            r"/\u{202e}gpj.exe\u{2066}\u{200b}\u{feff}e\u{301}"
        );
    }

    #[test]
    fn an_escape_that_was_sent_as_text_cannot_pass_for_one_of_ours() {
        assert_eq!(unicode(r"/a\x1b"), r"/a\\x1b");
    }

    #[test]
    fn harmless_letters_stay_unless_the_terminal_lacks_them() {
        assert_eq!(unicode("/grüße/日本"), "/grüße/日本");
        assert_eq!(line("/grüße/日", 80, Charset::Ascii), r"/gr\xfc\xdfe/\u{65e5}");
    }

    #[test]
    fn long_text_ends_in_an_ellipsis_at_the_bound() {
        assert_eq!(line("/abcdefgh", 9, Charset::Unicode), "/abcdefgh");
        assert_eq!(line("/abcdefghi", 9, Charset::Unicode), "/abcdefg…");
        assert_eq!(line("/abcdefghi", 9, Charset::Ascii), "/abcde...");
        assert_eq!(line("日本日本", 6, Charset::Unicode), "日本…", "a wide letter takes two columns");
        assert_eq!(line("ab\u{1b}\u{1b}", 6, Charset::Unicode), "ab…", "an escape is not cut in two");
        assert_eq!(line("abc", 2, Charset::Ascii), "");
        assert_eq!(columns(&line(&"x".repeat(1_000_000), 40, Charset::Unicode)), 40);
    }

    #[test]
    fn the_locale_decides_on_the_charset_in_the_order_of_posix() {
        let of = Charset::of_locale;
        assert_eq!(of(None, None, Some("de_DE.UTF-8")), Charset::Unicode);
        assert_eq!(of(None, None, Some("C.utf8")), Charset::Unicode);
        assert_eq!(of(Some("C"), None, Some("en_US.UTF-8")), Charset::Ascii);
        assert_eq!(of(Some(""), Some("en_US.UTF-8"), Some("C")), Charset::Unicode);
        assert_eq!(of(None, None, None), Charset::Ascii);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_the_result_is_plain_and_bounded(text in any::<String>(), width in 0_usize..120) {
            for charset in [Charset::Unicode, Charset::Ascii] {
                let shown = line(&text, width, charset);
                prop_assert!(columns(&shown) <= width);
                prop_assert!(shown.chars().all(|c| is_plain(c) && (charset == Charset::Unicode || c.is_ascii())));
            }
        }
    }
}
