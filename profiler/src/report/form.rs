//! What a form of a report is: one file each behind [`Form`].
//!
//! In: how a run began, timeline entries while it goes on, the snapshot and its findings at the end. Out: one
//! report in one form.

use std::io;

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;
use profiler_core::timeline::Entry;

use super::output::Lazy;
use super::style::Style;

/// One form that a report can take.
#[derive(Debug)]
pub struct FormKind {
    /// What `--format` calls it.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Endings of files that are taken to hold it; the first is the usual one.
    pub endings: &'static [&'static str],
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
