//! The verdict: the cause of what costs most, in words that a tired person gets.
//!
//! In: the findings of the window. Out: a few lines.

use profiler_core::finding::follows::by_cause;
use ratatui::text::{Line, Span};

use super::model::Shown;
use super::paint::{Paint, Role};
use crate::report::escape::columns;
use crate::report::summary::{self, Headline};
use crate::report::text::page::wrap;

/// Longest sentence shown.
const LONGEST: usize = 1_000;

/// At most `rows` lines: the cause with its numbers, what to change, then what follows from it or stands beside it.
pub(super) fn lines(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let headline = summary::headline(&shown.snapshot, &shown.findings);
    let Headline::Wrong { id, .. } = headline else { return nothing_wrong(headline, paint, width, rows) };
    let ranked = by_cause(&shown.findings);
    let Some(first) = ranked.iter().map(|ranked| ranked.finding).find(|finding| finding.id == id) else {
        return Vec::new();
    };
    let others: Vec<&str> =
        ranked.iter().map(|ranked| ranked.finding.id).filter(|other| *other != id).collect();
    let label = format!(" {id} ");
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

/// What there is to say where no rule found anything.
fn nothing_wrong(headline: Headline, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let (label, role, text) = match headline {
        Headline::Healthy(text) => (" healthy ", Role::Good, text),
        Headline::NoTraffic(text) => (" no traffic ", Role::Doubt, text),
        Headline::Unsure(text) => (" nothing found ", Role::Doubt, text),
        Headline::Wrong { .. } => return Vec::new(),
    };
    paragraph(paint, (label, role), (&text, Role::Plain), width, rows)
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
