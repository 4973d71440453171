//! Tables: a quiet header and rows; one column may shrink so that the table fits the page.
//!
//! In: cells (the shrinking column's still hostile). Out: lines on the page.

use comfy_table::{Cell, CellAlignment, ContentArrangement, TableStyle};

use super::page::{Page, WIDTH};
use super::style::Role;
use crate::report::escape::columns;

/// Blanks before a cell; the first ones are the indent.
const GAP: u16 = 2;
/// No cell of another column is wider: the longest phase with its share fits.
const WIDEST: usize = 24;
/// The same for narrow columns.
const NARROW: usize = 10;
/// The shrinking column is never narrower.
const NARROWEST: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// Text of known width.
    Left(&'static str),
    /// Text that should be a short word but is hostile all the same.
    Narrow(&'static str),
    /// Numbers.
    Right(&'static str),
    /// Hostile text of any length: escaped, and cut where the page ends.
    Shrinking(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Narrow(title) | Self::Right(title) | Self::Shrinking(title) => title,
        }
    }

    /// Width that no cell exceeds; `None`: what the other columns leave.
    const fn bound(self) -> Option<usize> {
        match self {
            Self::Left(_) | Self::Right(_) => Some(WIDEST),
            Self::Narrow(_) => Some(NARROW),
            Self::Shrinking(_) => None,
        }
    }

    const fn alignment(self) -> CellAlignment {
        match self {
            Self::Right(_) => CellAlignment::Right,
            Self::Left(_) | Self::Narrow(_) | Self::Shrinking(_) => CellAlignment::Left,
        }
    }
}

pub(super) struct Table<'a> {
    columns: &'a [Column],
    rows: Vec<Vec<String>>,
}

impl<'a> Table<'a> {
    pub(super) const fn new(columns: &'a [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Columns left for the shrinking one when all others are as wide as their widest cell.
    fn room(&self, page: &Page) -> usize {
        let taken = self.columns.iter().enumerate().map(|(index, column)| {
            let Some(bound) = column.bound() else { return usize::from(GAP) };
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let widest = cells.map(|cell| columns(&page.quote(cell, bound))).max().unwrap_or(0);
            widest.max(columns(column.title())) + usize::from(GAP)
        });
        WIDTH.saturating_sub(taken.sum()).max(NARROWEST)
    }

    pub(super) fn write(self, page: &mut Page) {
        let room = self.room(page);
        let mut table = comfy_table::Table::new();
        // No lines at all, not even blank ones between the columns: the gaps are paddings.
        table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
        let cell = |column: &Column, text: &str| {
            // Every cell is escaped: one that is harmless stays as it is.
            let text = page.quote(text, column.bound().unwrap_or(room));
            Cell::new(text).set_alignment(column.alignment())
        };
        table.set_header(self.columns.iter().map(|column| cell(column, column.title())));
        for row in &self.rows {
            table.add_row(self.columns.iter().zip(row).map(|(column, text)| cell(column, text)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((GAP, 0));
        }
        let lines: Vec<String> = table.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let line = line.trim_end();
            let line = if index == 0 { page.paint(Role::Quiet, line) } else { line.to_owned() };
            page.line(&line);
        }
    }
}
