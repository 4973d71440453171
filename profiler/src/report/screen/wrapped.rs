//! Text that goes on in further lines, beside what its first line begins with.
//!
//! In: a label, a sentence that may quote the traced process, the room there is. Out: lines.

use ratatui::text::{Line, Span};

use super::paint::{Paint, Role};
use crate::report::text::page::wrap;

/// Longest sentence shown.
const LONGEST: usize = 1_000;
/// Width of the label that a line begins with.
pub(super) const LABEL: usize = 8;

/// A line that begins with what it is about.
pub(super) fn labelled(paint: Paint, label: &str) -> Line<'static> {
    Line::from(paint.span(Role::Strong, &format!("{label:<LABEL$}")))
}

/// A text wrapped beside what the first line begins with; the others begin at column `indent`. What is longer
/// than `rows` lines is cut with an ellipsis, behind a word.
pub(super) fn beside(
    paint: Paint,
    (first, indent): (Line<'static>, usize),
    text: (&str, Role),
    width: usize,
    rows: usize,
) -> Vec<Line<'static>> {
    let room = width.saturating_sub(indent).max(1);
    let taken = first.width().saturating_sub(indent);
    let shown = paint.quote(text.0, LONGEST);
    // What the first line begins with takes the place of a first word.
    let padded = match taken {
        0 => shown,
        taken => format!("{} {shown}", "_".repeat(taken.saturating_sub(1))),
    };
    let mut wrapped = wrap(&padded, room);
    if wrapped.len() > rows {
        wrapped.truncate(rows);
        if let Some(last) = wrapped.last_mut() {
            *last = paint.ending(last, room);
        }
    }
    let mut first = Some(first);
    let line = |text_line: String| {
        let (mut line, rest) = match first.take() {
            Some(line) => (line, text_line.get(taken..).unwrap_or_default()),
            None => (Line::from(" ".repeat(indent)), text_line.as_str()),
        };
        line.push_span(Span::styled(rest.to_owned(), paint.style(text.1)));
        line
    };
    wrapped.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::escape::{Charset, columns};

    const PAINT: Paint = Paint { colour: false, charset: Charset::Unicode };

    fn text(lines: &[Line<'_>]) -> Vec<String> {
        let line = |line: &Line<'_>| line.spans.iter().map(|span| span.content.as_ref()).collect();
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_text_hangs_beside_its_label_and_is_cut_behind_a_word() {
        let of = |rows| {
            let label = Line::from("why  ab  ");
            text(&beside(PAINT, (label, 5), ("one two three four five", Role::Plain), 16, rows))
        };
        assert_eq!(of(9), ["why  ab  one two", "     three four", "     five"]);
        assert_eq!(of(2), ["why  ab  one two", "     three …"]);
        assert!(of(2).iter().all(|line| columns(line) <= 16));
    }
}
