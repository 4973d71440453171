//! A column of a table: its name, its type, what it says, and how it is taken from a row. The schema of the
//! files and `docs/parquet.md` both come from here.
//!
//! In: the lists of columns in `tables`. Out: [`Column`]s, and the [`Cell`] of a row in each.

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::Type;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A duration in nanoseconds.
    Nanoseconds,
    /// A moment on the wall clock, in microseconds since 1970, UTC.
    Moment,
    /// A count of something.
    Count,
    /// A number of bytes.
    Bytes,
    /// A number that only names something.
    Id,
    /// A small number that names something, the same in many rows: a process, a status code.
    Code,
    /// A share, a weight.
    Ratio,
    /// Yes or no.
    Flag,
    /// Text, the same in many rows.
    Text,
    /// Bytes that are no text.
    Binary,
}

/// How values are kept until they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Int64,
    Int32,
    Double,
    Boolean,
    Bytes,
}

impl Kind {
    /// How its values are kept.
    pub(super) const fn stored(self) -> Stored {
        match self {
            Self::Nanoseconds | Self::Moment | Self::Count | Self::Bytes | Self::Id => Stored::Int64,
            Self::Code => Stored::Int32,
            Self::Ratio => Stored::Double,
            Self::Flag => Stored::Boolean,
            Self::Text | Self::Binary => Stored::Bytes,
        }
    }

    /// Its type in SQL.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Nanoseconds | Self::Count | Self::Bytes | Self::Id => "BIGINT",
            Self::Moment => "TIMESTAMP",
            Self::Code => "INTEGER",
            Self::Ratio => "DOUBLE",
            Self::Flag => "BOOLEAN",
            Self::Text => "VARCHAR",
            Self::Binary => "BLOB",
        }
    }

    /// Its unit, in words.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Moment => "UTC, µs",
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Id | Self::Code => "id",
            Self::Ratio => "ratio",
            Self::Flag | Self::Text | Self::Binary => "",
        }
    }

    /// Whether values hardly ever come twice: then differences take less room than a dictionary.
    pub(super) const fn varies(self) -> bool {
        matches!(self, Self::Nanoseconds | Self::Moment | Self::Count | Self::Bytes | Self::Id)
    }

    /// Whether engines look for a range of it: then each row group says its least and its greatest.
    pub(super) const fn is_sought(self) -> bool {
        matches!(self, Self::Moment | Self::Id)
    }

    const fn physical(self) -> Physical {
        match self.stored() {
            Stored::Int64 => Physical::INT64,
            Stored::Int32 => Physical::INT32,
            Stored::Double => Physical::DOUBLE,
            Stored::Boolean => Physical::BOOLEAN,
            Stored::Bytes => Physical::BYTE_ARRAY,
        }
    }

    fn logical(self) -> Option<LogicalType> {
        match self {
            Self::Moment => Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
            Self::Text => Some(LogicalType::String),
            _ => None,
        }
    }
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Number(i64),
    Ratio(f64),
    Flag(bool),
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// A number; what is beyond the type is its largest value.
    pub(super) fn number(value: u64) -> Self {
        Self::Number(i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// A number, or null.
    pub(super) fn maybe(value: Option<u64>) -> Self {
        value.map_or(Self::Null, Self::number)
    }

    /// A number that is null where it is 0.
    pub(super) fn unless_zero(value: impl Into<u64>) -> Self {
        Self::maybe(Some(value.into()).filter(|value| *value > 0))
    }

    /// Text, null where there is none.
    pub(super) const fn text(value: &'a str) -> Self {
        if value.is_empty() { Self::Null } else { Self::Text(value) }
    }

    /// Text, or null.
    pub(super) fn maybe_text(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::text)
    }
}

/// Takes a column's value from a row.
type Take<R> = Box<dyn for<'r> Fn(&'r R) -> Cell<'r> + Send>;

/// What is said of a column, whatever its rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Its name.
    pub(super) name: String,
    /// What it holds.
    pub(super) kind: Kind,
    /// What it says, as a sentence.
    pub(super) meaning: String,
    /// When it is null, as a clause; `None`: never.
    pub(super) null: Option<&'static str>,
}

impl Said {
    /// The column in a file's schema.
    ///
    /// # Errors
    /// If the parquet crate refuses it.
    pub(super) fn field(&self) -> Result<Type, ParquetError> {
        let repetition = if self.null.is_some() { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        Type::primitive_type_builder(&self.name, self.kind.physical())
            .with_repetition(repetition)
            .with_logical_type(self.kind.logical())
            .build()
    }
}

/// One column of a table whose rows are `R`.
pub(super) struct Column<R> {
    pub(super) said: Said,
    /// All rows of a set of files have the same value: it is taken from the first of a row group alone.
    pub(super) is_the_sets: bool,
    take: Take<R>,
}

impl<R> Column<R> {
    /// A column that is never null.
    pub(super) fn new(
        name: impl Into<String>,
        kind: Kind,
        meaning: impl Into<String>,
        take: impl for<'r> Fn(&'r R) -> Cell<'r> + Send + 'static,
    ) -> Self {
        let said = Said { name: name.into(), kind, meaning: meaning.into(), null: None };
        Self { said, is_the_sets: false, take: Box::new(take) }
    }

    /// This column, null at times: `when` is a clause.
    pub(super) const fn null(mut self, when: &'static str) -> Self {
        self.said.null = Some(when);
        self
    }

    /// This column, with one value in all rows of a set of files.
    pub(super) const fn of_the_set(mut self) -> Self {
        self.is_the_sets = true;
        self
    }

    /// The value of a row.
    pub(super) fn cell<'r>(&self, row: &'r R) -> Cell<'r> {
        (self.take)(row)
    }
}
