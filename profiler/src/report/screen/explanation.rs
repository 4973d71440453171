//! What a finding says here, and what it means: its page, as `wsgi-trace explain` prints it, as wide as the
//! screen.
//!
//! In: a moment, the finding's id. Out: as many lines as the screen has rows.

use ratatui::text::{Line, Span};

use super::look::Look;
use super::model::Shown;
use super::paint::{Paint, Role};
use super::scrolled;
use super::wrapped::beside;
use crate::report::explain::finding;

pub(super) fn lines(
    shown: &Shown,
    look: &Look,
    id: &str,
    paint: Paint,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let mut body = Vec::new();
    if let Some(found) = shown.findings.iter().find(|finding| finding.id == id) {
        let advice = format!("What to do: {}", found.advice);
        let said = [&found.sentence, &advice].into_iter().take(if found.advice.is_empty() { 1 } else { 2 });
        for text in said {
            body.extend(beside(paint, (Line::default(), 0), (text, Role::Plain), width, usize::MAX));
            body.push(Line::default());
        }
    }
    // A finding whose rule has no page has said all there is.
    let page = finding(id, width.saturating_sub(1)).unwrap_or_default();
    body.extend(page.lines().map(|line| Line::from(Span::raw(paint.quote(line, width)))));
    scrolled(Vec::new(), body, look, paint, (width, rows))
}
