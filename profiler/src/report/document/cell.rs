//! A value of a report, and words with values in them.
//!
//! In: numbers of a snapshot, words (those of the target are hostile). Out: cells and sentences that know how
//! they read, and where in the JSON report their numbers stand.

use std::cmp::Reverse;

use profiler_core::model::latency::Latency;
use profiler_core::phase::{Phase, Phases};

use crate::report::escape::Charset;
use crate::report::{summary, unit, vocabulary};

/// One part of a bar.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What it is; on the page also the class that colours it.
    pub(crate) name: &'static str,
    /// Its length.
    pub(crate) length: u64,
}

#[derive(Clone, Debug, Default)]
enum Value {
    #[default]
    Nothing,
    Words(String),
    Id(u64),
    Count(u64),
    Counted(u64, &'static str),
    Duration(u64),
    Bytes(u64),
    /// A part of a whole.
    Share(u64, u64),
    /// What most of a time was, of how much.
    Mostly(Phase, u64, u64),
    /// A number whose unit is at the end of this name.
    Measured(&'static str, f64),
    /// A bar, where there is room for one.
    Bar(Vec<Part>, u64),
}

/// A value, and where it stands in the JSON report. The default is a dash: not known, or nothing to measure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    value: Value,
    pointer: Option<String>,
    exact: Option<u64>,
}

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        Self { value, ..Self::default() }
    }
}

/// Text from anywhere.
pub(crate) fn words(text: impl Into<String>) -> Cell {
    Value::Words(text.into()).into()
}

/// What a process or a thread is called by.
pub(crate) fn id(id: impl Into<u64>) -> Cell {
    Value::Id(id.into()).into()
}

pub(crate) fn count(count: u64) -> Cell {
    Value::Count(count).into()
}

/// A count with its noun.
pub(super) fn counted(count: u64, noun: &'static str) -> Cell {
    Value::Counted(count, noun).into()
}

pub(crate) fn duration(duration_ns: u64) -> Cell {
    Value::Duration(duration_ns).into()
}

pub(super) fn bytes(bytes: u64) -> Cell {
    Value::Bytes(bytes).into()
}

/// A part of a whole; a dash where there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> Cell {
    Value::Share(part, whole).into()
}

/// What so many of these durations do not exceed; a dash where there are none.
pub(crate) fn quantile(latency: &Latency, quantile: f64) -> Cell {
    maybe((latency.count() > 0).then(|| latency.quantile_ns(quantile)), duration)
}

/// The longest of these durations; a dash where there are none.
pub(super) fn longest(latency: &Latency) -> Cell {
    maybe((latency.count() > 0).then(|| latency.max_ns()), duration)
}

/// The phase that took most of some time, with its share; a dash where there is none.
pub(crate) fn mostly(phases: &Phases) -> Cell {
    let longest = phases.iter().max_by_key(|(phase, duration_ns)| (*duration_ns, Reverse(*phase)));
    maybe(longest, |(phase, duration_ns)| Value::Mostly(phase, duration_ns, phases.total_ns()).into())
}

/// A number with the unit that its name ends in.
pub(super) fn measured(name: &'static str, value: f64) -> Cell {
    Value::Measured(name, value).into()
}

/// A bar made of parts; its full width stands for `whole`.
pub(super) fn bar(parts: Vec<Part>, whole: u64) -> Cell {
    Value::Bar(parts, whole).into()
}

/// What may not be there: a dash then.
pub(crate) fn maybe<T>(value: Option<T>, cell: impl FnOnce(T) -> Cell) -> Cell {
    value.map(cell).unwrap_or_default()
}

impl Cell {
    /// Its value also stands in the JSON report, at this pointer (RFC 6901); in a table below the pointer of
    /// its row (empty: there).
    pub(super) fn at(self, pointer: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..self }
    }

    /// What stands in the JSON report at its pointer, where that is another number than the one that is
    /// shown.
    pub(super) fn exactly(self, exact: u64) -> Self {
        Self { exact: Some(exact), ..self }
    }

    /// With its pointer below that of its row; without, where the row does not stand in the JSON report.
    pub(super) fn below(self, row: &str) -> Self {
        let below = |key: String| if key.is_empty() { row.to_owned() } else { format!("{row}/{key}") };
        Self { pointer: self.pointer.filter(|_| !row.is_empty()).map(below), ..self }
    }

    /// As people read it.
    pub(crate) fn shown(&self, charset: Charset) -> String {
        match &self.value {
            Value::Nothing | Value::Bar(..) => "-".to_owned(),
            Value::Words(text) => text.clone(),
            Value::Id(id) => id.to_string(),
            Value::Count(count) => unit::count(*count),
            Value::Counted(count, noun) => unit::counted(*count, noun),
            Value::Duration(duration_ns) => unit::duration(*duration_ns, charset),
            Value::Bytes(bytes) => unit::bytes(*bytes),
            Value::Share(part, whole) => unit::percent(summary::ratio(*part, *whole)),
            Value::Mostly(phase, part, whole) => {
                format!("{} {}", phase.name(), unit::whole_percent(summary::ratio(*part, *whole)))
            }
            Value::Measured(name, value) => unit::measured(name, *value, charset).1,
        }
    }

    /// The text in fewer characters, where there is such a form.
    pub(crate) fn brief(&self, charset: Charset) -> String {
        match &self.value {
            Value::Counted(count, _) => unit::count(*count),
            Value::Mostly(phase, part, whole) => {
                let letter = vocabulary::of_phase(*phase).letter;
                format!("{letter} {}", unit::whole_percent(summary::ratio(*part, *whole)))
            }
            _ => self.shown(charset),
        }
    }

    /// Its pointer into the JSON report, and what stands there.
    pub(crate) fn figure(&self) -> Option<(&str, String)> {
        Some((self.pointer.as_deref()?, self.exact()?))
    }

    /// The number itself.
    pub(crate) fn exact(&self) -> Option<String> {
        Some(match (&self.value, self.exact) {
            (Value::Nothing | Value::Words(_) | Value::Bar(..) | Value::Mostly(..), _) => return None,
            (_, Some(exact)) => exact.to_string(),
            (Value::Share(part, whole), None) => format!("{:.6}", summary::ratio(*part, *whole)?),
            (Value::Measured(_, value), None) => value.to_string(),
            (
                Value::Id(number)
                | Value::Count(number)
                | Value::Counted(number, _)
                | Value::Duration(number)
                | Value::Bytes(number),
                None,
            ) => number.to_string(),
        })
    }

    /// The parts of a bar, and what its full width stands for.
    pub(crate) fn parts(&self) -> Option<(&[Part], u64)> {
        match &self.value {
            Value::Bar(parts, whole) => Some((parts, *whole)),
            _ => None,
        }
    }
}

/// A piece of a sentence.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Words from anywhere.
    Text(String),
    /// A value.
    Figure(Cell),
}

/// A sentence, or what stands for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words(Vec<Piece>);

impl Words {
    /// With text at its end.
    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.0.push(Piece::Text(text));
        }
        self
    }

    /// With a value at its end.
    pub(super) fn figure(mut self, figure: Cell) -> Self {
        self.0.push(Piece::Figure(figure));
        self
    }

    /// Its pieces, in order.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// All pieces as text.
    pub(crate) fn as_text(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Figure(figure) => figure.shown(Charset::Unicode),
        };
        self.0.iter().map(piece).collect()
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::default().text(text)
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::default().text(text)
    }
}

impl From<Cell> for Words {
    fn from(figure: Cell) -> Self {
        Self::default().figure(figure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_a_dash_without_a_figure() {
        for cell in [Cell::default(), maybe(None, count), share(1, 0)] {
            let cell = cell.at("key");
            assert_eq!(cell.shown(Charset::Unicode), "-");
            assert_eq!((cell.figure(), cell.exact()), (None, None));
        }
    }

    #[test]
    fn a_figure_is_exact_and_stands_below_its_row() {
        let cell = maybe(Some(1_234_567), duration).at("total_ns").below("/rows/3");
        assert_eq!(cell.shown(Charset::Ascii), "1.23 ms");
        assert_eq!(cell.figure(), Some(("/rows/3/total_ns", "1234567".to_owned())));
        assert_eq!(share(1, 3).at("/x").figure(), Some(("/x", "0.333333".to_owned())));
        assert_eq!(share(1, 3).at("/x").exactly(7).figure(), Some(("/x", "7".to_owned())));
    }

    #[test]
    fn words_read_as_one_sentence() {
        let words =
            Words::from("throttled ").figure(duration(90_000_000)).text(" in ").figure(counted(3, "period"));
        assert_eq!(words.as_text(), "throttled 90.0 ms in 3 periods");
    }
}
