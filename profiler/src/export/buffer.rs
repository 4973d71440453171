//! The values of one column, from the first row of a row group to its last.
//!
//! In: [`Cell`]s, one a row. Out: the column's chunk in the file. What a row group holds bounds the memory.

use bytes::Bytes;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::writer::SerializedColumnWriter;

use super::column::{Cell, Kind, Stored};

/// Values of one column that wait to be written.
#[derive(Debug)]
pub(super) struct Buffer {
    /// 1: there is a value, 0: null. Empty where the column is never null.
    levels: Option<Vec<i16>>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Int64(Vec<i64>),
    Int32(Vec<i32>),
    Double(Vec<f64>),
    Boolean(Vec<bool>),
    Bytes(Texts),
}

/// Texts one after the other; one that is the same as that of the row before is kept once.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    places: Vec<(usize, usize)>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        let last = self.places.last().copied();
        let place = match last.filter(|(from, to)| self.bytes.get(*from..*to) == Some(text)) {
            Some(place) => place,
            None => {
                let from = self.bytes.len();
                self.bytes.extend_from_slice(text);
                (from, self.bytes.len())
            }
        };
        self.places.push(place);
    }

    /// As the writer wants them: shares of one piece of memory.
    fn take(&mut self) -> Vec<ByteArray> {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let share = |(from, to): (usize, usize)| {
            let within = from <= to && to <= bytes.len();
            ByteArray::from(if within { bytes.slice(from..to) } else { Bytes::new() })
        };
        self.places.drain(..).map(share).collect()
    }
}

impl Buffer {
    pub(super) fn new(kind: Kind, is_nullable: bool) -> Self {
        let values = match kind.stored() {
            Stored::Int64 => Values::Int64(Vec::new()),
            Stored::Int32 => Values::Int32(Vec::new()),
            Stored::Double => Values::Double(Vec::new()),
            Stored::Boolean => Values::Boolean(Vec::new()),
            Stored::Bytes => Values::Bytes(Texts::default()),
        };
        Self { levels: is_nullable.then(Vec::new), values }
    }

    /// Takes the value of one row. A null where there must be none is a fault of ours: the file stays
    /// readable, with a zero there.
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        if let Some(levels) = &mut self.levels {
            let is_null = matches!(cell, Cell::Null);
            levels.push(i16::from(!is_null));
            if is_null {
                return;
            }
        }
        debug_assert!(!matches!(cell, Cell::Null), "null in a column that is never null");
        let number = if let Cell::Number(number) = cell { number } else { 0 };
        match &mut self.values {
            Values::Int64(list) => list.push(number),
            Values::Int32(list) => list.push(i32::try_from(number).unwrap_or(i32::MAX)),
            Values::Double(list) => list.push(if let Cell::Ratio(ratio) = cell { ratio } else { 0.0 }),
            Values::Boolean(list) => list.push(cell == Cell::Flag(true)),
            Values::Bytes(texts) => texts.push(match cell {
                Cell::Text(text) => text.as_bytes(),
                Cell::Binary(bytes) => bytes,
                _ => &[],
            }),
        }
    }

    /// The first row's value is that of so many rows.
    pub(super) fn repeat(&mut self, rows: usize) {
        fn fill<T: Clone>(list: &mut Vec<T>, rows: usize) {
            if let Some(first) = list.first().cloned() {
                list.resize(rows, first);
            }
        }
        if let Some(levels) = &mut self.levels {
            fill(levels, rows);
        }
        match &mut self.values {
            Values::Int64(list) => fill(list, rows),
            Values::Int32(list) => fill(list, rows),
            Values::Double(list) => fill(list, rows),
            Values::Boolean(list) => fill(list, rows),
            Values::Bytes(texts) => fill(&mut texts.places, rows),
        }
    }

    /// Writes all of it and begins again.
    ///
    /// # Errors
    /// What the writer says.
    pub(super) fn write(&mut self, mut column: SerializedColumnWriter<'_>) -> Result<()> {
        let levels = self.levels.as_deref();
        match &mut self.values {
            Values::Int64(list) => write::<Int64Type>(&mut column, list, levels)?,
            Values::Int32(list) => write::<Int32Type>(&mut column, list, levels)?,
            Values::Double(list) => write::<DoubleType>(&mut column, list, levels)?,
            Values::Boolean(list) => write::<BoolType>(&mut column, list, levels)?,
            Values::Bytes(texts) => write::<ByteArrayType>(&mut column, &texts.take(), levels)?,
        }
        self.clear();
        column.close()
    }

    fn clear(&mut self) {
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
        match &mut self.values {
            Values::Int64(list) => list.clear(),
            Values::Int32(list) => list.clear(),
            Values::Double(list) => list.clear(),
            Values::Boolean(list) => list.clear(),
            // Taken already.
            Values::Bytes(_) => {}
        }
    }
}

fn write<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    column.typed::<T>().write_batch(values, levels, None).map(|_written| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_in_a_row_are_kept_once_and_come_out_each() {
        let mut texts = Texts::default();
        for text in ["GET", "GET", "", "POST", "GET"] {
            texts.push(text.as_bytes());
        }
        assert_eq!(texts.bytes, b"GETPOSTGET");
        let out: Vec<String> = texts.take().iter().map(|text| text.as_utf8().unwrap().to_owned()).collect();
        assert_eq!(out, ["GET", "GET", "", "POST", "GET"]);
        assert!(texts.bytes.is_empty() && texts.places.is_empty());
    }

    #[test]
    fn what_is_the_same_in_all_rows_is_taken_once_and_comes_out_in_each() {
        let (mut text, mut none) = (Buffer::new(Kind::Text, false), Buffer::new(Kind::Text, true));
        text.push(Cell::Text("shop"));
        none.push(Cell::Null);
        for buffer in [&mut text, &mut none] {
            buffer.repeat(3);
        }
        assert_eq!(none.levels.as_deref(), Some([0; 3].as_slice()));
        assert!(matches!(&none.values, Values::Bytes(texts) if texts.places.is_empty()));
        let Values::Bytes(texts) = &mut text.values else { panic!("texts are bytes") };
        let out: Vec<String> = texts.take().iter().map(|text| text.as_utf8().unwrap().to_owned()).collect();
        assert_eq!(out, ["shop"; 3]);
    }

    #[test]
    fn nulls_take_no_place_among_the_values() {
        let mut buffer = Buffer::new(Kind::Count, true);
        for cell in [Cell::Number(3), Cell::Null, Cell::Number(5)] {
            buffer.push(cell);
        }
        assert_eq!(buffer.levels.as_deref(), Some([1, 0, 1].as_slice()));
        assert!(matches!(&buffer.values, Values::Int64(list) if *list == [3, 5]));
    }
}
