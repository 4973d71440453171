//! The live screen: one moment of a run as rows and columns of a terminal.
//!
//! In: a [`Shown`] (what there is to see), a [`Look`] (what the reader wants to see of it), a [`Paint`] (what
//! the terminal can do). Out: a filled buffer. A pure function: keys, time and terminals are elsewhere
//! (`top`). Everything that came from a traced process goes through [`escape`](super::escape) on its way.

mod endpoint;
mod explanation;
mod facts;
pub mod help;
pub mod list;
pub mod look;
pub mod model;
mod overview;
pub mod paint;
mod phases;
mod request;
pub mod rows;
mod section;
mod strip;
pub mod table;
mod verdict;
mod wrapped;

#[cfg(test)]
mod tests;

use profiler_core::finding::{Answer, Finding};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::summary::is_wrong;
use look::{Look, Page};
use model::Shown;
use paint::{Paint, Role};

/// Columns that the screen needs at least.
pub const MIN_COLUMNS: u16 = 80;
/// Rows that it needs at least.
pub const MIN_ROWS: u16 = 24;
/// Rows from which on there is a second list: its title, its headings, five of its rows.
const MIN_SECOND: usize = 7;

/// Fills `area` of `buffer`.
pub fn draw(shown: &Shown, look: &Look, paint: Paint, area: Rect, buffer: &mut Buffer) {
    if area.width < MIN_COLUMNS || area.height < MIN_ROWS {
        too_small(area, buffer);
        return;
    }
    let width = usize::from(area.width);
    let rows = usize::from(area.height);
    let lines = match look.page() {
        Page::Overview => overview::lines(shown, look, paint, width, rows),
        Page::Endpoint(key) => endpoint::lines(shown, look, key, paint, (width, rows)),
        Page::Request(kept) => request::lines(shown, look, kept, paint, (width, rows)),
        Page::Section(id) => section::lines(shown, look, *id, paint, (width, rows)),
        Page::Finding(id) => explanation::lines(shown, look, id, paint, (width, rows)),
        Page::Help => help::lines(look, paint, (width, rows)),
    };
    for (row, line) in (area.y..area.bottom()).zip(lines) {
        buffer.set_line(area.x, row, &paint.fit(line, width), area.width);
    }
}

/// One line that says what is wrong and what would do, broken where it must be.
fn too_small(area: Rect, buffer: &mut Buffer) {
    let (width, height) = (area.width, area.height);
    let text = format!("too small: {width} x {height}; wsgi-trace top needs {MIN_COLUMNS} x {MIN_ROWS}");
    let lines = super::text::page::wrap(&text, usize::from(width).max(1));
    for (row, line) in (area.y..area.bottom()).zip(lines) {
        buffer.set_string(area.x, row, line, ratatui::style::Style::new());
    }
}

/// A page of `rows` rows: `top`, then the table as far as it fits, then the keys.
fn with_table(
    mut top: Vec<Line<'static>>,
    shown: &Shown,
    look: &Look,
    paint: Paint,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let Some(table) = rows::table(shown, look, paint, width) else { return top };
    // At least the head of the table, three of its rows and the keys.
    top.truncate(rows.saturating_sub(5));
    let room = rows.saturating_sub(top.len() + 1);
    let wrong = |finding: &&Finding| finding.answer == Answer::Present && is_wrong(finding.id);
    let present = shown.findings.iter().filter(wrong).count();
    top.extend(table.lines(look, paint, (width, room), present));
    // Where a list leaves room, another one follows it.
    let left = rows.saturating_sub(top.len() + 2);
    if left >= MIN_SECOND
        && let Some(second) = rows::second(shown, look, paint, width)
    {
        top.push(Line::default());
        top.extend(second.below(look, paint, (width, left)));
    }
    top.resize(rows.saturating_sub(1), Line::default());
    top.push(help::keys(look, paint, width));
    top
}

/// A page of `rows` rows whose text can be scrolled.
fn scrolled(
    top: Vec<Line<'static>>,
    body: Vec<Line<'static>>,
    look: &Look,
    paint: Paint,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let room = rows.saturating_sub(top.len() + 1);
    let most = body.len().saturating_sub(room);
    let from = look.scroll.min(most);
    let mut lines = top;
    lines.extend(body.into_iter().skip(from).take(room));
    lines.resize(rows.saturating_sub(1), Line::default());
    let mut keys = help::keys(look, paint, width);
    if most > from {
        keys.push_span(paint.span(Role::Quiet, &format!("  {} more lines below", most - from)));
    }
    lines.push(keys);
    lines
}
