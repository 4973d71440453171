//! How a list is laid out: a table with a selected row.
//!
//! In: rows. Out: lines, as many as there is room for, the selected row among them; on a wide screen each
//! ends in its bar.

use profiler_core::phase::Phases;
use ratatui::text::{Line, Span};

use super::list::{Key, ListKind};
use super::look::{Look, Page};
use super::paint::{Paint, Role};
use super::phases;
use super::wrapped::beside;
use crate::report::document::table::{Column, Width};
use crate::report::escape::columns;

/// Columns that a flexible column keeps.
const MIN_FLEXIBLE: usize = 12;
/// Columns that a flexible column takes at most.
const MAX_FLEXIBLE: usize = 400;
/// Columns from which on a row has its bar, and those that the bar takes at most.
const MIN_BAR: usize = 20;
const MAX_BAR: usize = 60;
/// What the bars are of.
const BAR_TITLE: &str = "where its time went";

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub key: Key,
    /// Its cells. Hostile input.
    pub cells: Vec<String>,
    /// How it looks.
    pub role: Role,
    /// Where its time went: a bar at its end, where there is room for one.
    pub phases: Option<Phases>,
}

/// A list with its rows, filtered and in order.
#[derive(Clone, Debug)]
pub struct Table {
    /// Which list.
    pub kind: ListKind,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// The rows that the filter lets through.
    pub rows: Vec<Row>,
    /// Rows before the filter.
    pub all: usize,
    /// What is said if there are none.
    pub empty: String,
}

impl Table {
    /// The row that the keys act on: the one that was selected, wherever it is by now, or what stands in its
    /// place.
    pub fn selected(&self, look: &Look) -> usize {
        let (key, place) = &look.selected;
        let found = key.as_ref().and_then(|key| self.rows.iter().position(|row| row.key == *key));
        found.unwrap_or(*place).min(self.rows.len().saturating_sub(1))
    }

    /// At most `room` lines: names of the lists, titles, rows. `present`: findings that are.
    pub fn lines(
        &self,
        look: &Look,
        paint: Paint,
        (width, room): (usize, usize),
        present: usize,
    ) -> Vec<Line<'static>> {
        let mut lines = vec![self.tabs(look, paint, width, present)];
        lines.extend(self.body(look, paint, (width, room.saturating_sub(1)), Some(self.selected(look))));
        lines.truncate(room);
        lines
    }

    /// The lines of this list below another one: with its name alone, and no row that the keys act on.
    pub fn below(&self, look: &Look, paint: Paint, (width, room): (usize, usize)) -> Vec<Line<'static>> {
        let mut line = Line::from(paint.span(Role::Plain, &format!(" {} ", self.kind.name())));
        let rule = width.saturating_sub(line.width());
        line.push_span(paint.span(Role::Quiet, &paint.charset.glyph("─", "-").repeat(rule)));
        let mut lines = vec![line];
        lines.extend(self.body(look, paint, (width, room.saturating_sub(1)), None));
        lines.truncate(room);
        lines
    }

    /// Titles and rows.
    fn body(
        &self,
        look: &Look,
        paint: Paint,
        (width, room): (usize, usize),
        selected: Option<usize>,
    ) -> Vec<Line<'static>> {
        if self.rows.is_empty() {
            let text = match (self.all, look.filter.is_empty()) {
                (0, _) | (_, true) => self.empty.clone(),
                (all, false) => format!("None of {all} matches the filter; Esc takes it off."),
            };
            return beside(paint, (Line::default(), 0), (&text, Role::Quiet), width, 2);
        }
        let widths = self.widths(paint, width);
        let mut lines = vec![self.titles(look, paint, &widths, width)];
        let rows_room = room.saturating_sub(1).max(1);
        let from = (selected.unwrap_or(0) + 1).saturating_sub(rows_room);
        for (index, row) in self.rows.iter().enumerate().skip(from).take(rows_room) {
            let role = if selected == Some(index) { Role::Selected } else { row.role };
            let cells = row.cells.iter().map(String::as_str);
            let text = self.row(cells, paint, &widths);
            let left = width.saturating_sub(columns(&text) + 2);
            let bar =
                row.phases.filter(|_| left >= MIN_BAR).map(|all| phases::bar(&all, left.min(MAX_BAR), paint));
            let bar = bar.unwrap_or_default();
            let padding = if bar.is_empty() { width.saturating_sub(columns(&text)) } else { 2 };
            let text = format!("{text}{}", " ".repeat(padding));
            let mut line = Line::from(Span::styled(text, paint.style(role)));
            line.extend(bar);
            lines.push(line);
        }
        lines
    }

    fn tabs(&self, look: &Look, paint: Paint, width: usize, present: usize) -> Line<'static> {
        let mut line = Line::default();
        if matches!(look.page(), Page::Overview) {
            for (number, kind) in (1..).zip(ListKind::ALL) {
                let role = if kind == self.kind { Role::Bar } else { Role::Plain };
                let count = match kind {
                    ListKind::Findings if present > 0 => format!(" {present}"),
                    _ => String::new(),
                };
                line.push_span(paint.span(role, &format!(" {number} {}{count} ", kind.name())));
            }
        } else {
            line.push_span(paint.span(Role::Bar, " its requests, the latest and the slowest "));
        }
        let rule = width.saturating_sub(line.width());
        line.push_span(paint.span(Role::Quiet, &paint.charset.glyph("─", "-").repeat(rule)));
        line
    }

    fn titles(&self, look: &Look, paint: Paint, widths: &[usize], width: usize) -> Line<'static> {
        let order = look.order_of(self.kind);
        let mark = paint.charset.glyph("▾", "*");
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|column| match column.short {
                title if title == order => format!("{title}{mark}"),
                title => title.to_owned(),
            })
            .collect();
        let text = self.row(titles.iter().map(String::as_str), paint, widths);
        let has_bars = self.rows.iter().any(|row| row.phases.is_some());
        let has_room = has_bars && width.saturating_sub(columns(&text) + 2) >= MIN_BAR;
        let bar = if has_room { format!("  {BAR_TITLE}") } else { String::new() };
        paint.line(Role::Strong, &format!("{text}{bar}"))
    }

    fn row<'a>(&self, cells: impl Iterator<Item = &'a str>, paint: Paint, widths: &[usize]) -> String {
        let mut text = String::new();
        for ((column, width), cell) in self.columns.iter().zip(widths).zip(cells) {
            if !text.is_empty() {
                text.push_str("  ");
            }
            match column.width {
                Width::Number => {
                    let cell = paint.quote(cell, *width);
                    text.push_str(&" ".repeat(width.saturating_sub(columns(&cell))));
                    text.push_str(&cell);
                }
                Width::Known | Width::Narrow | Width::Shrinking => {
                    text.push_str(&paint.quote_in(cell, *width))
                }
            }
        }
        text
    }

    fn widths(&self, paint: Paint, width: usize) -> Vec<usize> {
        const WIDEST: usize = 30;
        let flexible = |column: &&Column| column.width == Width::Shrinking;
        let widest = |index: usize, column: &Column| {
            let most = if flexible(&column) { MAX_FLEXIBLE } else { WIDEST };
            let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
            let cells = cells.map(|cell| columns(&paint.quote(cell, most)));
            cells.max().unwrap_or(0).max(columns(column.short) + 1)
        };
        let mut widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(index, column)| widest(index, column)).collect();
        let count = self.columns.iter().filter(flexible).count().max(1);
        let gaps = 2 * self.columns.len().saturating_sub(1);
        let fixed: usize = (self.columns.iter().zip(&widths))
            .filter(|(column, _)| !flexible(column))
            .map(|(_, width)| *width)
            .sum();
        let each = (width.saturating_sub(fixed + gaps) / count).max(MIN_FLEXIBLE);
        for (column, width) in self.columns.iter().zip(&mut widths) {
            // No wider than what stands in it: numbers stay near the words that they belong to.
            if flexible(&column) {
                *width = each.min((*width).max(MIN_FLEXIBLE));
            }
        }
        widths
    }
}
