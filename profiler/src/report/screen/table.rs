//! How a list is laid out: a table with a selected row.
//!
//! In: rows. Out: lines of exactly the width of the screen, as many as there is room for, the selected row among them.

use ratatui::text::{Line, Span};

use super::list::{Key, ListKind};
use super::look::{Look, Page};
use super::paint::{Paint, Role};
use crate::report::document::table::{Column, Width};
use crate::report::escape::columns;

/// Columns that a flexible column keeps.
const MIN_FLEXIBLE: usize = 12;

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub key: Key,
    /// Its cells. Hostile input.
    pub cells: Vec<String>,
    /// How it looks.
    pub role: Role,
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
    /// The row that the keys act on: the one that was selected, wherever it is by now, or what stands in its place.
    #[must_use]
    pub fn selected(&self, look: &Look) -> usize {
        let (key, place) = &look.selected;
        let found = key.as_ref().and_then(|key| self.rows.iter().position(|row| row.key == *key));
        found.unwrap_or(*place).min(self.rows.len().saturating_sub(1))
    }

    /// At most `room` lines: names of the lists, titles, rows. `present`: findings that are.
    #[must_use]
    pub fn lines(
        &self,
        look: &Look,
        paint: Paint,
        (width, room): (usize, usize),
        present: usize,
    ) -> Vec<Line<'static>> {
        let mut lines = vec![self.tabs(look, paint, width, present)];
        if self.rows.is_empty() {
            let text = match (self.all, look.filter.is_empty()) {
                (0, _) | (_, true) => self.empty.clone(),
                (all, false) => format!("None of {all} matches the filter; Esc takes it off."),
            };
            lines.push(Line::from(Span::styled(paint.quote(&text, width), paint.style(Role::Quiet))));
            lines.truncate(room);
            return lines;
        }
        let widths = self.widths(paint, width);
        lines.push(self.titles(look, paint, &widths));
        let rows_room = room.saturating_sub(lines.len()).max(1);
        let selected = self.selected(look);
        let from = (selected + 1).saturating_sub(rows_room);
        for (index, row) in self.rows.iter().enumerate().skip(from).take(rows_room) {
            let role = if index == selected { Role::Selected } else { row.role };
            let cells = row.cells.iter().map(String::as_str);
            let text = self.row(cells, paint, &widths);
            let padding = width.saturating_sub(columns(&text));
            lines.push(Line::from(Span::styled(format!("{text}{}", " ".repeat(padding)), paint.style(role))));
        }
        lines.truncate(room);
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
        line.push_span(paint.span(Role::Quiet, &paint.glyph("─", "-").repeat(rule)));
        line
    }

    fn titles(&self, look: &Look, paint: Paint, widths: &[usize]) -> Line<'static> {
        let order = look.order_of(self.kind);
        let mark = paint.glyph("▾", "*");
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|column| match column.heading {
                title if title == order => format!("{title}{mark}"),
                title => title.to_owned(),
            })
            .collect();
        paint.line(Role::Strong, &self.row(titles.iter().map(String::as_str), paint, widths))
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
        let widest = |index: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
            let cells = cells.map(|cell| columns(&paint.quote(cell, WIDEST)));
            cells.max().unwrap_or(0).max(columns(column.heading) + 1)
        };
        let mut widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(index, column)| widest(index, column)).collect();
        let flexible = |column: &&Column| column.width == Width::Shrinking;
        let count = self.columns.iter().filter(flexible).count().max(1);
        let gaps = 2 * self.columns.len().saturating_sub(1);
        let fixed: usize = (self.columns.iter().zip(&widths))
            .filter(|(column, _)| !flexible(column))
            .map(|(_, width)| *width)
            .sum();
        let each = (width.saturating_sub(fixed + gaps) / count).max(MIN_FLEXIBLE);
        for (column, width) in self.columns.iter().zip(&mut widths) {
            if flexible(&column) {
                *width = each;
            }
        }
        widths
    }
}
