//! The forms of a report: one file each behind [`Form`], listed in [`FORMS`].
//!
//! In: how a run began, timeline entries while it goes on, the snapshot and its findings at the end. Out: one report
//! in one form. Adding a form is adding its file and its line here; the command line and its help follow.

use std::io;

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;
use profiler_core::timeline::Entry;

use super::output::Lazy;
use super::text::Style;
use super::{html, json, ndjson, text, timeline};

/// All forms, in the order of the help; the first is the default.
pub static FORMS: &[FormKind] = &[text::FORM, html::FORM, json::FORM, ndjson::FORM, timeline::FORM];

/// One form that a report can take.
#[derive(Debug)]
pub struct FormKind {
    /// What `--format` calls it.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Makes an empty report of this form.
    pub open: fn(Lazy, Style) -> Box<dyn Form>,
}

/// What is known when a run begins.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// Phases that this run cannot measure.
    pub not_measured: Vec<Phase>,
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`.
    pub wall_clock_offset_ns: Option<i64>,
}

/// A report in the making. An error of the writer ends it: nothing more is asked of it.
pub trait Form {
    /// Whether it shows what threads did, not only requests.
    fn wants_thread_slices(&self) -> bool {
        false
    }

    /// The run begins; comes before every entry.
    fn begin(&mut self, _beginning: &Beginning) {}

    /// Takes one entry.
    ///
    /// # Errors
    /// What the writer says.
    fn entry(&mut self, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }

    /// The run is over: writes what is left, and flushes.
    ///
    /// # Errors
    /// What the writer says.
    fn finish(&mut self, snapshot: &Snapshot, findings: &[Finding]) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_forms_are_unique_and_explained() {
        for (index, form) in FORMS.iter().enumerate() {
            assert!(!form.help.is_empty() && form.name.chars().all(|letter| letter.is_ascii_lowercase()));
            assert!(FORMS.iter().skip(index + 1).all(|other| other.name != form.name), "{}", form.name);
        }
    }
}
