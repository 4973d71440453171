//! `wsgi-trace --pid PID`: trace and report.
//!
//! In: target, window, form of the report. Out: the report; a recording beside it if one is wanted.

use super::{Failure, fail_on, open_recording, refuse_same_file, report, target};
use crate::cli::{Trace, otlp};
use crate::otlp::exporter::Pace;
use crate::session::SessionError;
use crate::session::consumer::Consumer;
use crate::session::live::{self, Until};

/// Traces and reports.
///
/// # Errors
/// [`Failure`]. If only the recording failed, the report is written all the same.
pub fn run(options: &Trace) -> Result<(), Failure> {
    // The target first: a mistake there must not touch any file.
    let mut watch = target::watch(&options.target, &options.watch, None)?;
    if let (Some(report), Some(record)) = (&options.output.output, &options.record) {
        refuse_same_file(report, record, "the report and the recording")?;
    }
    let exporter = options.otlp.start(Pace::Live).map_err(SessionError::from)?;
    if !options.watch.quiet {
        options.output.say_contradiction();
    }
    let mut consumer = Consumer::open(&options.output)?.exporting(exporter.clone());
    watch.record = options.record.as_deref().map(open_recording).transpose()?;
    let mut trace = report::trace_for(&options.output);
    let mut observers = (&mut consumer, &mut trace);
    let until = Until { duration: options.watch.duration, max_cost_ratio: options.max_cost.ratio };
    let outcome = live::run(watch, until, options.watch.quiet, &mut observers)?;
    report::finish(consumer, &outcome.snapshot, trace.as_ref())?;
    otlp::finish(exporter.as_deref(), options.watch.quiet);
    match outcome.recording_failed {
        Some(error) => Err(SessionError::from(error).into()),
        None => fail_on::check(&options.fail_on, &outcome.snapshot),
    }
}
