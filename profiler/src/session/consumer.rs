//! The outputs of a run: fed with the timeline while it goes on, finished with the snapshot.
//!
//! In: timeline entries, at the end the snapshot. Out: one report in the form that was asked for. The destination is
//! opened before the run, so that a mistake in its name costs no window.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use profiler_core::finding::evaluate;
use profiler_core::finding::threshold::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;
use profiler_core::pipeline::{Settings, not_measured};
use profiler_core::timeline::Entry;

use super::SessionError;
use crate::cli::{Format, Output};
use crate::output_file::OutputFileError;
use crate::report::escape::Charset;
use crate::report::ndjson::NdjsonSink;
use crate::report::output::{Destination, OutputError, Stream};
use crate::report::text::Style;
use crate::report::timeline::{PerfettoSink, TimelineError};
use crate::report::{json, text};

enum Form {
    /// Nothing is written.
    Nothing,
    Text(Destination, Style),
    Json(Destination),
    /// Opened with the first request: which phases are measured is known only then.
    NdjsonToCome(Option<Destination>),
    Ndjson(NdjsonSink<Stream>),
    /// Opened with the first entry: until then the file keeps what it held.
    TimelineToCome(Option<Destination>),
    Timeline(Box<PerfettoSink<Stream>>),
    /// Writing failed; said at the end.
    Failed(SessionError),
    /// The reader has seen enough.
    Left,
}

/// One output.
pub struct Consumer {
    form: Form,
    /// The file of the report; none: standard output.
    path: Option<PathBuf>,
    arrival_measured: bool,
}

impl Consumer {
    /// Opens the output that was asked for.
    ///
    /// # Errors
    /// If its file cannot be opened.
    pub fn open(output: &Output) -> Result<Self, SessionError> {
        let destination = Destination::open(output.output.as_deref())?;
        let form = match output.format {
            Format::Text => {
                let is_terminal = output.output.is_none() && std::io::stdout().is_terminal();
                let style = Style { colour: output.color.enabled(is_terminal), charset: charset() };
                Form::Text(destination, style)
            }
            Format::Json => Form::Json(destination),
            Format::Ndjson => Form::NdjsonToCome(Some(destination)),
            Format::Timeline => Form::TimelineToCome(Some(destination)),
        };
        Ok(Self { form, path: output.output.clone(), arrival_measured: true })
    }

    /// An output that takes everything and writes nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { form: Form::Nothing, path: None, arrival_measured: true }
    }

    /// What it wants of the pipeline.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        Settings { thread_slices: matches!(self.form, Form::TimelineToCome(_) | Form::Timeline(_)) }
    }

    /// Whether arrivals are measured in this run; to be told before the first request.
    pub const fn set_arrival_measured(&mut self, measured: bool) {
        self.arrival_measured = measured;
    }

    /// Whether nothing more can be written: the reader left, or the disk is full.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        matches!(self.form, Form::Failed(_) | Form::Left)
    }

    /// Takes one entry.
    pub fn entry(&mut self, entry: &Entry) {
        if let Form::NdjsonToCome(destination) = &mut self.form
            && matches!(entry, Entry::Request(_))
            && let Some(destination) = destination.take()
        {
            self.form = ndjson(destination, self.arrival_measured);
        }
        self.open_timeline();
        let outcome = match &mut self.form {
            Form::Ndjson(sink) => sink.push(entry).err(),
            Form::Timeline(sink) => match sink.entry(entry) {
                Err(error) => {
                    self.form = match timeline_failure(error, self.path.as_deref()) {
                        Some(error) => Form::Failed(error),
                        None => Form::Left,
                    };
                    None
                }
                Ok(()) => None,
            },
            _ => None,
        };
        if let Some(error) = outcome
            && let Form::Ndjson(sink) = std::mem::replace(&mut self.form, Form::Left)
            && let Err(error) = sink.into_inner().finish(Err(error))
        {
            self.form = Form::Failed(error.into());
        }
    }

    fn open_timeline(&mut self) {
        if let Form::TimelineToCome(destination) = &mut self.form
            && let Some(destination) = destination.take()
        {
            self.form = match destination.stream() {
                Ok(stream) => Form::Timeline(Box::new(PerfettoSink::new(stream))),
                Err(error) => Form::Failed(error.into()),
            };
        }
    }

    /// Writes the report.
    ///
    /// # Errors
    /// If it cannot be written. A reader that went away is no error.
    pub fn finish(mut self, snapshot: &Snapshot) -> Result<(), SessionError> {
        if let Form::NdjsonToCome(destination) = &mut self.form
            && let Some(destination) = destination.take()
        {
            self.form = ndjson(destination, self.arrival_measured);
        }
        self.open_timeline();
        match self.form {
            Form::Nothing | Form::Left | Form::NdjsonToCome(_) | Form::TimelineToCome(_) => Ok(()),
            Form::Failed(error) => Err(error),
            Form::Text(destination, style) => {
                let findings = evaluate(snapshot, &Thresholds::default());
                Ok(destination.write(text::render(snapshot, &findings, style).as_bytes())?)
            }
            Form::Json(destination) => {
                let findings = evaluate(snapshot, &Thresholds::default());
                Ok(destination.write(&json::render(snapshot, &findings)?)?)
            }
            Form::Ndjson(sink) => Ok(sink.into_inner().finish(Ok(()))?),
            Form::Timeline(sink) => match sink.finish() {
                Ok((stream, _counts)) => Ok(stream.finish(Ok(()))?),
                Err(error) => timeline_failure(error, self.path.as_deref()).map_or(Ok(()), Err),
            },
        }
    }
}

/// What a failure of the timeline's writer means; nothing, if the reader of standard output left.
fn timeline_failure(error: TimelineError, path: Option<&Path>) -> Option<SessionError> {
    match (error, path) {
        (TimelineError::Write(source), Some(path)) if path != Path::new("-") => {
            Some(OutputError::from(OutputFileError::from_write(path, source)).into())
        }
        (TimelineError::Write(source), _) if source.kind() == std::io::ErrorKind::BrokenPipe => None,
        (TimelineError::Write(source), _) => Some(OutputError::Stdout(source).into()),
        (error, _) => Some(error.into()),
    }
}

fn ndjson(destination: Destination, arrival_measured: bool) -> Form {
    match destination.stream() {
        Ok(stream) => {
            let phases = not_measured(arrival_measured).into_iter().map(|(phase, _): (Phase, String)| phase);
            Form::Ndjson(NdjsonSink::new(stream, phases))
        }
        Err(error) => Form::Failed(error.into()),
    }
}

/// The charset of the locale.
fn charset() -> Charset {
    let variable = |name: &str| std::env::var(name).ok();
    let (all, ctype, lang) = (variable("LC_ALL"), variable("LC_CTYPE"), variable("LANG"));
    Charset::of_locale(all.as_deref(), ctype.as_deref(), lang.as_deref())
}
