//! The verdict: the cause of what costs most and what to change, in words that a tired person gets; then what
//! it rests on.
//!
//! In: the findings of the window. Out: the first lines of the screen, which are never cut; lines of reasons.

use profiler_core::finding::Finding;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::model::Shown;
use super::paint::{Paint, Role};
use super::wrapped::{beside, labelled};
use crate::report::summary;
use crate::report::verdict_words::{self, Headline};

/// Lines of a cause or of a change: those of every rule need fewer, but they may quote hostile words.
const MOST_LINES: usize = 3;

/// What is wrong, below it what to change; or that nothing is.
pub(super) fn lines(shown: &Shown, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let (label, role, text) = match verdict_words::headline(&shown.snapshot, &shown.findings) {
        Headline::Wrong { cause, change, .. } => return wrong(&cause, &change, paint, width),
        Headline::Healthy(text) => ("healthy", Role::Good, text),
        Headline::Usual(text) => ("usual", Role::Plain, text),
        Headline::NoTraffic(text) => ("no traffic", Role::Doubt, text),
        Headline::Unsure(text) => ("nothing found", Role::Doubt, text),
    };
    let style = paint.style(role).add_modifier(Modifier::REVERSED);
    let mut first = Line::from(Span::styled(format!(" {label} "), style));
    first.push_span(Span::raw(" "));
    beside(paint, (first, 0), (&text, Role::Plain), width, MOST_LINES)
}

fn wrong(cause: &str, change: &str, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let mut lines = beside(paint, (Line::default(), 0), (cause, Role::Bad), width, MOST_LINES);
    if !change.is_empty() {
        let arrow = paint.span(Role::Strong, paint.charset.glyph("→ ", "> "));
        let first = Line::from(arrow);
        let indent = first.width();
        lines.extend(beside(paint, (first, indent), (change, Role::Strong), width, MOST_LINES));
    }
    lines
}

/// The finding that the verdict is, and its numbers, in at most `rows` lines; nothing where nothing is wrong.
pub(super) fn why(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let Some(first) = first(shown) else { return Vec::new() };
    let mut label = labelled(paint, "why");
    let indent = label.width();
    label.push_span(paint.span(Role::Bad, first.id));
    label.push_span(Span::raw("  "));
    beside(paint, (label, indent), (&first.sentence, Role::Plain), width, rows)
}

/// What else is wrong, a line each: what to do. At most `rows`.
pub(super) fn also(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let Some(first) = first(shown) else { return Vec::new() };
    let others = summary::present(&shown.findings).into_iter();
    let others = others.filter(|other| other.id != first.id && summary::is_wrong(other.id));
    let mut lines = Vec::new();
    for other in others.take(rows) {
        let mut label = labelled(paint, if lines.is_empty() { "also" } else { "" });
        let indent = label.width();
        label.push_span(paint.span(Role::Doubt, other.id));
        label.push_span(Span::raw("  "));
        let arrow = paint.charset.glyph("→ ", "> ");
        let text = format!("{arrow}{}", summary::change(other));
        lines.extend(beside(paint, (label, indent), (&text, Role::Plain), width, 1));
    }
    lines
}

/// The finding that the first lines are about.
fn first(shown: &Shown) -> Option<&Finding> {
    match verdict_words::headline(&shown.snapshot, &shown.findings) {
        Headline::Wrong { finding: Some(id), .. } => shown.findings.iter().find(|finding| finding.id == id),
        Headline::Wrong { .. } => {
            summary::present(&shown.findings).into_iter().find(|one| summary::is_wrong(one.id))
        }
        _ => None,
    }
}
