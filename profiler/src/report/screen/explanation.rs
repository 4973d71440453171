//! What a finding means: its page, as `wsgi-trace explain` prints it.
//!
//! In: the text of the page. Out: as many lines as the screen has rows.

use ratatui::text::Line;

use super::look::Look;
use super::paint::{Paint, Role};
use super::scrolled;
use crate::report::escape::columns;
use crate::report::text::page::wrap;

/// A line that is longer than this goes on in the next one of the same indent.
const FULL_COLUMNS: usize = 70;

pub(super) fn lines(
    look: &Look,
    text: &str,
    paint: Paint,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let mut body = Vec::new();
    for (indent, paragraph) in paragraphs(text) {
        let shown = paint.quote(&paragraph, 4_000);
        if shown.is_empty() {
            body.push(Line::default());
        }
        for part in wrap(&shown, width.saturating_sub(indent + 1).max(1)) {
            body.push(paint.line(Role::Plain, &format!("{}{part}", " ".repeat(indent))));
        }
    }
    scrolled(Vec::new(), body, look, paint, (width, rows))
}

/// Lines that were wrapped for another width, put together again: (indent, text).
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for line in text.lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        match paragraphs.last_mut() {
            Some((before, paragraph)) if continues && *before == indent && !words.is_empty() => {
                paragraph.push(' ');
                paragraph.push_str(words);
            }
            _ => paragraphs.push((indent, words.to_owned())),
        }
        continues = columns(line) > FULL_COLUMNS;
    }
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_are_put_together_and_short_ones_stay_apart() {
        let long = "word ".repeat(16);
        let text = format!("  {long}\n  the rest.\n\n  a = 1\n  b = 2\n{long}\n  indented");
        let paragraphs = paragraphs(&text);
        let shown: Vec<&str> = paragraphs.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(shown.len(), 6, "{shown:?}");
        assert!(shown[0].ends_with("the rest.") && shown[2] == "a = 1" && shown[3] == "b = 2");
    }
}
