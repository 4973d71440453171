//! Tables: a quiet header and rows; some columns may shrink so that the table fits the page.
//!
//! In: cells (the shrinking columns' still hostile). Out: lines on the page.

use comfy_table::{Cell, CellAlignment, ContentArrangement, TableStyle};

use super::page::{Page, WIDTH};
use crate::report::escape::columns;
use crate::report::style::Role;

/// Blanks before a cell; the first ones are the indent.
const GAP: u16 = 2;
/// No cell of another column is wider: the longest phase with its share fits.
const WIDEST: usize = 24;
/// The same for narrow columns.
const NARROW: usize = 10;
/// A shrinking column is never narrower.
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

    /// Width of a column whose cells are at most `bound` wide each.
    fn widest(&self, page: &Page, index: usize, bound: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let widest = cells.map(|cell| columns(&page.quote(cell, bound))).max().unwrap_or(0);
        widest.max(self.columns.get(index).map_or(0, |column| columns(column.title())))
    }

    /// Width that no cell of each column exceeds. Shrinking ones share what the others leave when these are as wide as their
    /// widest cell; who needs less than its share leaves the rest to the others.
    fn bounds(&self, page: &Page) -> Vec<usize> {
        let mut room = WIDTH.saturating_sub(self.columns.len() * usize::from(GAP));
        let mut shrinking = Vec::new();
        let mut bounds = vec![0; self.columns.len()];
        for (index, (column, place)) in self.columns.iter().zip(&mut bounds).enumerate() {
            match column.bound() {
                Some(bound) => {
                    *place = bound;
                    room = room.saturating_sub(self.widest(page, index, bound));
                }
                None => shrinking.push((self.widest(page, index, WIDTH), index)),
            }
        }
        shrinking.sort_unstable();
        for (left, (wanted, index)) in (1..=shrinking.len()).rev().zip(shrinking) {
            let share = wanted.min(room / left).max(NARROWEST);
            room = room.saturating_sub(share);
            if let Some(place) = bounds.get_mut(index) {
                *place = share;
            }
        }
        bounds
    }

    pub(super) fn write(self, page: &mut Page) {
        let bounds = self.bounds(page);
        let mut table = comfy_table::Table::new();
        // No lines at all, not even blank ones between the columns: the gaps are paddings.
        table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
        let cell = |(column, bound): (&Column, &usize), text: &str| {
            // Every cell is escaped: one that is harmless stays as it is.
            Cell::new(page.quote(text, *bound)).set_alignment(column.alignment())
        };
        let columns = || self.columns.iter().zip(&bounds);
        table.set_header(columns().map(|column| cell(column, column.0.title())));
        for row in &self.rows {
            table.add_row(columns().zip(row).map(|(column, text)| cell(column, text)));
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
