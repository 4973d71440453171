//! Tables: a quiet header and rows; some columns may shrink so that the table fits the page.
//!
//! In: a table of the document (its words still hostile). Out: lines on the page.

use comfy_table::{Cell, CellAlignment, ContentArrangement, TableStyle};

use super::page::Page;
use crate::report::document::table::{Column, On, Row, Table, Width};
use crate::report::escape::columns;
use crate::report::style::Role;

/// Blanks before a cell; the first ones are the indent.
const GAP: u16 = 2;
/// No cell of another column is wider: the longest phase with its share fits.
const WIDEST: usize = 24;
/// No cell of a narrow column is wider.
const NARROW: usize = 10;
/// A shrinking column is never narrower.
const NARROWEST: usize = 12;

/// Width that no cell exceeds; `None`: what the other columns leave.
const fn bound(column: Column) -> Option<usize> {
    match column.width {
        Width::Known | Width::Number => Some(WIDEST),
        Width::Narrow => Some(NARROW),
        Width::Shrinking => None,
    }
}

const fn alignment(column: Column) -> CellAlignment {
    match column.width {
        Width::Number => CellAlignment::Right,
        Width::Known | Width::Narrow | Width::Shrinking => CellAlignment::Left,
    }
}

/// Columns and cells that are drawn here.
struct Drawn {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Drawn {
    fn new(page: &Page, table: &Table) -> Self {
        let columns: Vec<Column> =
            table.columns.iter().copied().filter(|column| column.on.is(On::TEXT)).collect();
        let (most, feet) = (most(page, table), if page.room.is_some() { &[] } else { table.feet.as_slice() });
        let cells = |row: &Row| {
            let cells = row.cells.iter().zip(&table.columns).filter(|(_, column)| column.on.is(On::TEXT));
            cells.map(|(cell, _)| cell.shown(page.style.charset)).collect()
        };
        let feet = feet.iter().filter(|(on, _)| on.is(On::TEXT)).map(|(_, row)| row);
        let rows = table.rows.iter().take(most).chain(feet).map(cells).collect();
        Self { columns, rows }
    }

    /// Width of a column whose cells are at most `bound` wide each.
    fn widest(&self, page: &Page, index: usize, bound: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let widest = cells.map(|cell| columns(&page.quote(cell, bound))).max().unwrap_or(0);
        widest.max(self.columns.get(index).map_or(0, |column| columns(column.heading)))
    }

    /// Width that no cell of each column exceeds. Shrinking ones share what the others leave when these are
    /// as wide as their widest cell; who needs less than its share leaves the rest to the others.
    fn bounds(&self, page: &Page) -> Vec<usize> {
        let mut room = page.width.saturating_sub(self.columns.len() * usize::from(GAP));
        let mut shrinking = Vec::new();
        let mut bounds = vec![0; self.columns.len()];
        for (index, (column, place)) in self.columns.iter().zip(&mut bounds).enumerate() {
            match bound(*column) {
                Some(bound) => {
                    *place = bound;
                    room = room.saturating_sub(self.widest(page, index, bound));
                }
                None => shrinking.push((self.widest(page, index, page.width), index)),
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
}

/// Rows that there are at most.
fn most(page: &Page, table: &Table) -> usize {
    page.room.map_or(table.most_in_text, |room| room.rows())
}

pub(super) fn write(page: &mut Page, table: &Table) {
    let drawn = Drawn::new(page, table);
    let bounds = drawn.bounds(page);
    let mut grid = comfy_table::Table::new();
    // No lines at all, not even blank ones between the columns: the gaps are paddings.
    grid.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    let cell = |(column, bound): (&Column, &usize), text: &str| {
        // Every cell is escaped: one that is harmless stays as it is.
        Cell::new(page.quote(text, *bound)).set_alignment(alignment(*column))
    };
    let columns = || drawn.columns.iter().zip(&bounds);
    grid.set_header(columns().map(|column| cell(column, column.0.heading)));
    for row in &drawn.rows {
        grid.add_row(columns().zip(row).map(|(column, text)| cell(column, text)));
    }
    for column in grid.column_iter_mut() {
        column.set_padding((GAP, 0));
    }
    for (index, line) in grid.lines().enumerate() {
        page.line(&[(if index == 0 { Role::Quiet } else { Role::Plain }, line.as_str())]);
    }
    let more = table.rows.len().saturating_sub(most(page, table));
    match page.room {
        // The feet add up what a fixed number of rows leaves.
        Some(_) if more > 0 && (table.says_more || table.is_added_up) => {
            page.line(&[(Role::Quiet, format!("  and {more} more").as_str())]);
        }
        None if more > 0 && table.says_more => {
            page.line(&[(Role::Plain, format!("  and {more} more (all are in the JSON report)").as_str())]);
        }
        _ => {}
    }
}
