//! One table of the export: rows become files, one for each day.
//!
//! In: rows, about in the order of time. Out: files, which are seen when all of the recording is written. No
//! more is in memory than a row group of two days.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::ExportError;
use super::buffer::Buffer;
use super::column::{Column, Said};
use super::file::PartFile;
use super::place::Place;

/// Version of the tables: major for what breaks queries, minor for additions.
pub const SCHEMA_VERSION: &str = "1.0";
/// Where a file says it, in its own metadata.
pub(super) const VERSION_KEY: &str = "wsgi_trace.schema_version";
/// Where it says which table it is of.
pub(super) const TABLE_KEY: &str = "wsgi_trace.table";

/// A table in the making.
pub(super) struct Table<R> {
    name: &'static str,
    columns: Vec<Column<R>>,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    /// Rows of a row group: engines read one at a time, and so much is in memory while it fills.
    row_group_rows: usize,
    /// Oldest day first; those before the last two are sealed.
    parts: Vec<Part>,
}

/// The rows of one day.
struct Part {
    day: i64,
    file: PartFile,
    buffers: Vec<Buffer>,
    rows: usize,
}

impl<R> Table<R> {
    /// An empty table.
    ///
    /// # Errors
    /// If the parquet crate refuses its schema.
    pub(super) fn new(
        name: &'static str,
        columns: Vec<Column<R>>,
        row_group_rows: usize,
    ) -> Result<Self, ExportError> {
        let said: Vec<&Said> = columns.iter().map(|column| &column.said).collect();
        let schema = Arc::new(schema(name, &said).map_err(ExportError::Encode)?);
        let properties = Arc::new(properties(name, &said));
        Ok(Self { name, columns, schema, properties, row_group_rows, parts: Vec::new() })
    }

    /// Takes a row of a day.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn push(&mut self, place: &Place, day: i64, row: &R) -> Result<(), ExportError> {
        self.open(place, day)?;
        // Requests end a little out of order. One that is later than that goes to the older of the two days:
        // its own time says when it was.
        let part = match self.parts.as_mut_slice() {
            [.., before, last] => Some(if day < last.day { before } else { last }),
            [only] => Some(only),
            [] => None,
        };
        let Some(part) = part else { return Ok(()) };
        for (column, buffer) in self.columns.iter().zip(&mut part.buffers) {
            if !column.is_the_sets || part.rows == 0 {
                buffer.push(column.cell(row));
            }
        }
        part.rows = part.rows.saturating_add(1);
        if part.rows >= self.row_group_rows { part.flush(&self.columns) } else { Ok(()) }
    }

    /// Opens the file of a day that is later than all before, or the first one.
    fn open(&mut self, place: &Place, day: i64) -> Result<(), ExportError> {
        if self.parts.last().is_some_and(|last| day <= last.day) {
            return Ok(());
        }
        if let [.., before, _] = self.parts.as_mut_slice() {
            before.seal(&self.columns)?;
        }
        let properties = Arc::clone(&self.properties);
        let file = PartFile::create(place, (self.name, day), Arc::clone(&self.schema), properties)?;
        let new = |column: &Column<R>| Buffer::new(column.said.kind, column.said.null.is_some());
        let buffers = self.columns.iter().map(new).collect();
        self.parts.push(Part { day, file, buffers, rows: 0 });
        Ok(())
    }

    /// Writes what is left. A table without rows has a file all the same: engines ask for one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn seal(&mut self, place: &Place, day: i64) -> Result<(), ExportError> {
        if self.parts.is_empty() {
            self.open(place, day)?;
        }
        self.parts.iter_mut().try_for_each(|part| part.seal(&self.columns))
    }

    /// Makes the sealed files visible: how many, and their length in bytes.
    ///
    /// # Errors
    /// If one cannot be renamed.
    pub(super) fn publish(self) -> Result<(u64, u64), ExportError> {
        let (mut files, mut bytes) = (0_u64, 0_u64);
        for part in self.parts {
            bytes = bytes.saturating_add(part.file.publish()?);
            files = files.saturating_add(1);
        }
        Ok((files, bytes))
    }
}

impl Part {
    fn flush<R>(&mut self, columns: &[Column<R>]) -> Result<(), ExportError> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(());
        }
        for (column, buffer) in columns.iter().zip(&mut self.buffers) {
            if column.is_the_sets {
                buffer.repeat(rows);
            }
        }
        self.file.write_row_group(&mut self.buffers)
    }

    fn seal<R>(&mut self, columns: &[Column<R>]) -> Result<(), ExportError> {
        self.flush(columns)?;
        self.buffers = Vec::new();
        self.file.seal()
    }
}

fn schema(name: &str, columns: &[&Said]) -> Result<Type, ParquetError> {
    let fields: Result<Vec<TypePtr>, ParquetError> =
        columns.iter().map(|column| column.field().map(Arc::new)).collect();
    Type::group_type_builder(name).with_fields(fields?).build()
}

fn properties(name: &str, columns: &[&Said]) -> WriterProperties {
    let said = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let version = env!("CARGO_PKG_VERSION");
    let builder = WriterProperties::builder()
        .set_created_by(format!("wsgi-trace version {version}"))
        .set_key_value_metadata(Some(vec![said(VERSION_KEY, SCHEMA_VERSION), said(TABLE_KEY, name)]))
        .set_compression(Compression::LZ4_RAW)
        // A row group is small: the index of its pages, and limits of all columns, would be longer than what
        // they save.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    let with_encodings = columns.iter().fold(builder, |builder, column| {
        let path = || ColumnPath::new(vec![column.name.clone()]);
        let builder = if column.kind.is_sought() {
            builder.set_column_statistics_enabled(path(), EnabledStatistics::Chunk)
        } else {
            builder
        };
        if column.kind.varies() {
            let builder = builder.set_column_dictionary_enabled(path(), false);
            builder.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED)
        } else {
            builder
        }
    });
    with_encodings.build()
}
