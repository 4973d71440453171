//! The verdict: the first finding, in words that a tired person gets.
//!
//! In: the findings of the window. Out: a few lines.

use profiler_core::finding::{Answer, Finding};
use ratatui::text::{Line, Span};

use super::model::Shown;
use super::paint::{Paint, Role};
use crate::report::escape::columns;
use crate::report::summary;
use crate::report::text::page::wrap;

/// Longest sentence shown.
const LONGEST: usize = 1_000;

/// At most `rows` lines, advice included.
pub(super) fn lines(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let ordered = summary::worst_first(&shown.findings);
    let wrong = |finding: &&&Finding| finding.id != summary::HEALTHY && finding.answer == Answer::Present;
    let mut present = ordered.iter().filter(wrong);
    let Some(first) = present.next() else { return nothing_wrong(shown, paint, width, rows) };
    let others: Vec<&str> = present.map(|finding| finding.id).collect();
    let label = format!(" {} ", first.id);
    let mut advice = Vec::new();
    if !first.advice.is_empty() && rows > 2 {
        let arrow = paint.glyph("→ ", "> ");
        let text = format!("{arrow}{}", first.advice);
        advice = paragraph(paint, ("", Role::Plain), (&text, Role::Strong), width, rows.div_ceil(3));
    }
    // On a small screen the number of findings is in the name of their list.
    let also = (!others.is_empty() && rows > 3).then(|| format!("Also: {}.", others.join(", ")));
    let also = also.map(|text| Line::from(Span::styled(paint.quote(&text, width), paint.style(Role::Doubt))));
    let room = rows.saturating_sub(advice.len() + usize::from(also.is_some())).max(1);
    let mut lines = paragraph(paint, (&label, Role::Bad), (&first.sentence, Role::Strong), width, room);
    lines.extend(advice);
    lines.extend(also);
    lines.truncate(rows);
    lines
}

/// What there is to say when no rule found anything.
fn nothing_wrong(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let requests = &shown.snapshot.requests;
    let healthy = shown.findings.iter().find(|finding| finding.id == summary::HEALTHY);
    let (label, role, text) = match healthy.map(|finding| (&finding.answer, finding)) {
        _ if requests.completed == 0 && requests.open == 0 => {
            ("no traffic", Role::Doubt, "No request was seen in this window: nothing can be said.".to_owned())
        }
        Some((Answer::Present, finding)) => ("healthy", Role::Good, finding.sentence.clone()),
        Some((Answer::Undecided { reason }, _)) => {
            ("nothing found", Role::Doubt, format!("Nothing wrong found, but that is not certain: {reason}."))
        }
        _ => ("nothing found", Role::Doubt, "Nothing wrong found by the rules that were run.".to_owned()),
    };
    paragraph(paint, (&format!(" {label} "), role), (&text, Role::Plain), width, rows)
}

/// A label and a text wrapped beside it, cut with an ellipsis at `rows` lines.
pub(super) fn paragraph(
    paint: Paint,
    label: (&str, Role),
    text: (&str, Role),
    width: usize,
    rows: usize,
) -> Vec<Line<'static>> {
    let mut first = Line::default();
    if !label.0.is_empty() {
        let style = paint.style(label.1).add_modifier(ratatui::style::Modifier::REVERSED);
        first.push_span(Span::styled(label.0.to_owned(), style));
        first.push_span(Span::raw(" "));
    }
    let label_columns = first.width();
    let shown = paint.quote(text.0, LONGEST);
    // The label takes the place of a first word.
    let padded = format!("{}{}{shown}", "_".repeat(label_columns), if label_columns > 0 { " " } else { "" });
    let mut wrapped = wrap(&padded, width.saturating_sub(1));
    if wrapped.len() > rows {
        wrapped.truncate(rows);
        if let Some(last) = wrapped.last_mut() {
            let ellipsis = paint.charset.ellipsis();
            while columns(last) + columns(ellipsis) >= width {
                last.pop();
            }
            last.push_str(ellipsis);
        }
    }
    let mut lines = Vec::new();
    for (index, text_line) in wrapped.into_iter().enumerate() {
        let mut line = Line::default();
        let mut rest = text_line.as_str();
        if index == 0 && label_columns > 0 {
            line = std::mem::take(&mut first);
            rest = text_line.get(label_columns + 1..).unwrap_or_default();
        }
        line.push_span(Span::styled(rest.to_owned(), paint.style(text.1)));
        lines.push(line);
    }
    lines
}
