//! Tables: columns with their headings, rows of cells.
//!
//! In: columns, and cells of the sections. Out: a table, as far as it has nothing to do with how it looks.

use super::cell::{Cell, Part};

/// Where something is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum On {
    /// Wherever there are sections.
    #[default]
    Both,
    /// In the text report alone, where there is little room.
    Text,
    /// On the page alone, where there is much.
    Page,
}

impl On {
    /// Whether it is drawn there.
    pub(crate) fn is(self, place: Self) -> bool {
        self == Self::Both || self == place
    }
}

/// How wide a column may be, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Text of known width.
    Known,
    /// Text that should be a short word but is hostile all the same.
    Narrow,
    /// Hostile text of any length: cut where there is no room.
    Shrinking,
    /// Numbers, at the right.
    Number,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    pub(crate) width: Width,
    pub(crate) on: On,
}

const fn column(heading: &'static str, width: Width) -> Column {
    Column { heading, width, on: On::Both }
}

/// Text of known width.
pub(super) const fn left(heading: &'static str) -> Column {
    column(heading, Width::Known)
}

/// A short word, hostile.
pub(super) const fn narrow(heading: &'static str) -> Column {
    column(heading, Width::Narrow)
}

/// Numbers.
pub(super) const fn right(heading: &'static str) -> Column {
    column(heading, Width::Number)
}

/// Text of any length, hostile.
pub(super) const fn shrinking(heading: &'static str) -> Column {
    column(heading, Width::Shrinking)
}

impl Column {
    /// In one place alone.
    pub(super) const fn only(self, on: On) -> Self {
        Self { on, ..self }
    }
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    /// A bar of counts below it on the page: its parts, and what its full width stands for.
    pub(crate) below: Option<(Vec<Part>, u64)>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// What it holds, for who cannot see what stands around it.
    pub(crate) caption: &'static str,
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<Row>,
    /// Below all rows, whatever their order and number.
    pub(crate) feet: Vec<(On, Row)>,
    /// Rows that the text report has at most.
    pub(crate) most_in_text: usize,
    /// Whether it says how many more there are.
    pub(crate) says_more: bool,
}

impl Table {
    /// Without rows.
    pub(super) const fn new(caption: &'static str, columns: &'static [Column]) -> Self {
        Self {
            caption,
            columns,
            rows: Vec::new(),
            feet: Vec::new(),
            most_in_text: usize::MAX,
            says_more: false,
        }
    }

    /// At most so many rows in the text report, and a line that says how many more there are.
    pub(super) fn most(self, rows: usize) -> Self {
        Self { most_in_text: rows, says_more: true, ..self }
    }

    /// The first rows alone in the text report.
    pub(super) fn first(self, rows: usize) -> Self {
        Self { most_in_text: rows, ..self }
    }

    /// Adds a row, whose figures stand in the JSON report below `pointer`.
    pub(super) fn row<const N: usize>(&mut self, pointer: &str, cells: [Cell; N]) {
        self.rows.push(row(pointer, cells));
    }

    /// The same with a bar of counts below it on the page.
    pub(super) fn row_with_bar<const N: usize>(
        &mut self,
        pointer: &str,
        cells: [Cell; N],
        below: Option<(Vec<Part>, u64)>,
    ) {
        self.rows.push(Row { below, ..row(pointer, cells) });
    }

    /// Adds a row below all others.
    pub(super) fn foot<const N: usize>(&mut self, on: On, pointer: &str, cells: [Cell; N]) {
        self.feet.push((on, row(pointer, cells)));
    }
}

fn row<const N: usize>(pointer: &str, cells: [Cell; N]) -> Row {
    Row { cells: cells.into_iter().map(|cell| cell.below(pointer)).collect(), below: None }
}
