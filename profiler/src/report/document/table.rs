//! Tables: columns with their headings, rows of cells.
//!
//! In: columns, and cells of the sections. Out: a table, as far as it has nothing to do with how it looks.

use super::cell::{Cell, Part};

/// Where something is drawn: a set of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct On(u8);

impl On {
    /// In the whole text report, where there is little room, and on the live screen.
    pub(crate) const TEXT: Self = Self(1);
    /// On the page, where there is much.
    pub(crate) const PAGE: Self = Self(2);
    /// In a list of the live screen, where there is least.
    pub(crate) const SCREEN: Self = Self(4);
    /// In the text report of one page, if its section is.
    pub(crate) const BRIEF: Self = Self(8);
    /// In the text report, be it whole or one page.
    pub(crate) const TEXTS: Self = Self(Self::TEXT.0 | Self::BRIEF.0);
    /// On the page and in the whole text report.
    pub(crate) const BOTH: Self = Self(Self::TEXT.0 | Self::PAGE.0);
    /// In every report.
    pub(crate) const ALL: Self = Self(Self::BOTH.0 | Self::BRIEF.0);

    /// Whether it is drawn there.
    pub(crate) const fn is(self, place: Self) -> bool {
        self.0 & place.0 != 0
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
    /// What a list of the live screen calls it, and its order by it.
    pub(crate) short: &'static str,
    pub(crate) width: Width,
    pub(crate) on: On,
}

/// The items of a list in the JSON report, each with its pointer there.
pub(super) fn listed<'a, T>(pointer: &str, list: &'a [T]) -> Vec<(String, &'a T)> {
    list.iter().enumerate().map(|(place, item)| (format!("{pointer}/{place}"), item)).collect()
}

/// The items of a list that need not say where they stand in the JSON report.
pub(crate) fn here<T>(items: Vec<T>) -> Vec<(String, T)> {
    items.into_iter().map(|item| (String::new(), item)).collect()
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its cells' figures stand in the JSON report below this pointer.
    pointer: String,
    pub(crate) cells: Vec<Cell>,
    /// A bar of counts below it on the page: its parts, and what its full width stands for.
    pub(crate) below: Option<(Vec<Part>, u64)>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// What it holds, for who cannot see what stands around it.
    pub(crate) caption: &'static str,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// Below all rows, whatever their order and number.
    pub(crate) feet: Vec<(On, Row)>,
    /// Rows that the text report has at most.
    pub(crate) most_in_text: usize,
    /// Whether it says how many more there are.
    pub(crate) says_more: bool,
    /// Whether a foot of the whole text report adds these up instead.
    pub(crate) is_added_up: bool,
}

/// A table in the making: columns are added for rows that are there.
pub(crate) struct Rows<T> {
    items: Vec<T>,
    table: Table,
    /// Where columns stand that do not say it.
    on: On,
}

impl<T: Copy> Rows<T> {
    /// A row for each of these, whose figures stand in the JSON report below its pointer.
    pub(super) fn of(caption: &'static str, list: Vec<(String, T)>) -> Self {
        let (pointers, items): (Vec<String>, Vec<T>) = list.into_iter().unzip();
        let row = |pointer| Row { pointer, cells: Vec::new(), below: None };
        let table = Table {
            caption,
            columns: Vec::new(),
            rows: pointers.into_iter().map(row).collect(),
            feet: Vec::new(),
            most_in_text: usize::MAX,
            says_more: false,
            is_added_up: false,
        };
        Self { items, table, on: On::BOTH }
    }

    /// Of what only the live screen lists.
    pub(crate) fn on_screen(items: Vec<T>) -> Self {
        Self { on: On::SCREEN, ..Self::of("", here(items)) }
    }

    fn column(mut self, heading: &'static str, width: Width, cell: impl Fn(T) -> Cell) -> Self {
        self.table.columns.push(Column { heading, short: heading, width, on: self.on });
        for (row, item) in self.table.rows.iter_mut().zip(&self.items) {
            row.cells.push(cell(*item).below(&row.pointer));
        }
        self
    }

    /// Text of known width.
    pub(crate) fn left(self, heading: &'static str, cell: impl Fn(T) -> Cell) -> Self {
        self.column(heading, Width::Known, cell)
    }

    /// A short word, hostile.
    pub(crate) fn narrow(self, heading: &'static str, cell: impl Fn(T) -> Cell) -> Self {
        self.column(heading, Width::Narrow, cell)
    }

    /// Numbers.
    pub(crate) fn right(self, heading: &'static str, cell: impl Fn(T) -> Cell) -> Self {
        self.column(heading, Width::Number, cell)
    }

    /// Text of any length, hostile.
    pub(crate) fn shrinking(self, heading: &'static str, cell: impl Fn(T) -> Cell) -> Self {
        self.column(heading, Width::Shrinking, cell)
    }

    /// The last column stands in one place alone.
    pub(crate) fn only(mut self, on: On) -> Self {
        if let Some(column) = self.table.columns.last_mut() {
            column.on = on;
        }
        self
    }

    /// The last column also stands in the live screen's list of these, which calls it this.
    pub(super) fn in_list(mut self, short: &'static str) -> Self {
        if let Some(column) = self.table.columns.last_mut() {
            (column.short, column.on) = (short, On(column.on.0 | On::SCREEN.0));
        }
        self
    }

    /// The table.
    pub(crate) fn table(self) -> Table {
        self.table
    }
}

impl Table {
    /// At most so many rows in the text report, and a line that says how many more there are.
    pub(super) fn most(self, rows: usize) -> Self {
        Self { most_in_text: rows, says_more: true, ..self }
    }

    /// The first rows alone in the text report.
    pub(super) fn first(self, rows: usize) -> Self {
        Self { most_in_text: rows, ..self }
    }

    /// The first rows alone in the text report, and a foot for the others.
    pub(super) fn added_up(self, rows: usize) -> Self {
        Self { most_in_text: rows, is_added_up: true, ..self }
    }

    /// With the columns of another table of the same rows after its own.
    pub(super) fn beside(mut self, other: Self) -> Self {
        self.columns.extend(other.columns);
        for (row, more) in self.rows.iter_mut().zip(other.rows) {
            row.cells.extend(more.cells);
        }
        self
    }

    /// With the rows of another table of the same columns below all others.
    pub(super) fn feet(&mut self, on: On, other: Self) {
        self.feet.extend(other.rows.into_iter().map(|row| (on, row)));
    }
}
