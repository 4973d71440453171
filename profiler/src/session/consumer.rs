//! The report of a run: fed with the timeline while it goes on, finished with the snapshot.
//!
//! In: timeline entries, at the end the snapshot. Out: one report in the form that was asked for. Its file is
//! looked at before the run, so that a mistake in its name costs no window, and written to only when there is
//! something.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;

use profiler_core::fact::Fact;
use profiler_core::finding::Finding;
use profiler_core::finding::threshold::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::pipeline::Settings;
use profiler_core::timeline::Entry;
use profiler_core::verdict;

use super::SessionError;
use super::known::Known;
use crate::cli::Output;
use crate::otlp::exporter::Exporter;
use crate::report::escape::Charset;
use crate::report::form::Form;
use crate::report::output::{Destination, Lazy, OutputError, failure};
use crate::report::style::Style;

/// Entries that wait for the run to begin: names of processes and threads.
const MAX_EARLY_ENTRIES: usize = 65_536;

/// One report.
pub struct Consumer {
    /// None: nothing is wanted, or nothing more can be written.
    form: Option<Box<dyn Form>>,
    /// The file of the report; none: standard output.
    path: Option<PathBuf>,
    failed: Option<OutputError>,
    wanted: bool,
    begun: bool,
    early: Vec<Entry>,
    known: Known,
    exporter: Option<Arc<Exporter>>,
}

impl Consumer {
    /// Looks at the output that was asked for.
    ///
    /// # Errors
    /// If its file cannot be written to.
    pub fn open(output: &Output) -> Result<Self, SessionError> {
        let writer = Lazy::new(Destination::open(output.output.as_deref())?);
        let is_terminal = output.output.is_none() && io::stdout().is_terminal();
        let colour = output.color.enabled(is_terminal);
        let style = Style { colour, charset: charset(), verbose: output.verbose };
        let form = (output.form().open)(writer, style);
        Ok(Self { form: Some(form), path: output.output.clone(), wanted: true, ..Self::nothing() })
    }

    /// A report that takes everything and writes nothing.
    pub const fn nothing() -> Self {
        Self {
            form: None,
            path: None,
            failed: None,
            wanted: false,
            begun: false,
            early: Vec::new(),
            known: Known::nothing(),
            exporter: None,
        }
    }

    /// This consumer, with an export beside the report.
    pub fn exporting(mut self, exporter: Option<Arc<Exporter>>) -> Self {
        self.exporter = exporter;
        self
    }

    /// What it wants of the pipeline.
    pub fn settings(&self) -> Settings {
        Settings { thread_slices: self.form.as_ref().is_some_and(|form| form.wants_thread_slices()) }
    }

    /// Takes a fact, before what it changes: some say what the run measures, one that the window begins.
    pub fn note(&mut self, fact: &Fact) {
        if let Some(exporter) = &self.exporter {
            exporter.note(fact);
        }
        if !self.begun {
            self.known.note(fact);
        }
        // Where damage took the start of the window out of a recording, the first tick stands for it.
        if matches!(fact, Fact::WindowStarted | Fact::Tick) {
            self.begin();
        }
    }

    /// The run has begun; entries that came before it are taken now.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        if let Some(form) = &mut self.form {
            form.begin(&self.known.beginning());
        }
        for entry in std::mem::take(&mut self.early) {
            self.write(&entry);
        }
    }

    /// Whether nothing more can be written: the reader left, or the disk is full.
    pub const fn has_stopped(&self) -> bool {
        self.wanted && self.form.is_none()
    }

    /// Takes one entry.
    pub fn entry(&mut self, entry: &Entry) {
        if let Some(exporter) = &self.exporter {
            exporter.entry(entry);
        }
        self.write(entry);
    }

    fn write(&mut self, entry: &Entry) {
        let Some(form) = &mut self.form else { return };
        if !self.begun {
            if self.early.len() < MAX_EARLY_ENTRIES {
                self.early.push(entry.clone());
            }
            return;
        }
        if let Err(error) = form.entry(entry) {
            self.fail(error);
        }
    }

    /// Writes the report, with what is `added` to the findings.
    ///
    /// # Errors
    /// If it cannot be written. A reader that went away is no error.
    pub fn finish(
        mut self,
        snapshot: &Snapshot,
        added: impl FnOnce(&mut [Finding]),
    ) -> Result<(), SessionError> {
        // A recording that was cut off before its window begins here.
        self.begin();
        if let Some(form) = &mut self.form {
            let mut findings = verdict::findings(snapshot, &Thresholds::default());
            added(&mut findings);
            if let Err(error) = form.finish(snapshot, &findings) {
                self.fail(error);
            }
        }
        self.failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn fail(&mut self, error: io::Error) {
        self.form = None;
        self.failed = failure(error, self.path.as_deref());
    }
}

/// The charset of the locale.
pub fn charset() -> Charset {
    let variable = |name: &str| std::env::var(name).ok();
    let (all, ctype, lang) = (variable("LC_ALL"), variable("LC_CTYPE"), variable("LANG"));
    Charset::of_locale(all.as_deref(), ctype.as_deref(), lang.as_deref())
}
