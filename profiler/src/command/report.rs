//! `wsgi-trace report FILE`: the report of a recording; needs no privileges.
//!
//! In: a recording, form of the report. Out: the report that the live run would have given.

use profiler_core::model::Snapshot;

use super::{Failure, fail_on, refuse_same_file};
use crate::cli::{Output, Report, otlp};
use crate::otlp::exporter::Pace;
use crate::session::SessionError;
use crate::session::consumer::Consumer;
use crate::session::replay;
use crate::whatif::advised;
use crate::whatif::trace::Trace;

/// What forecasts need of the window, where they are asked for.
pub(super) fn trace_for(output: &Output) -> Option<Trace> {
    output.forecast.then(Trace::default)
}

/// Writes the report, with forecasts of its advice from the trace.
pub(super) fn finish(
    consumer: Consumer,
    snapshot: &Snapshot,
    trace: Option<&Trace>,
) -> Result<(), SessionError> {
    consumer.finish(snapshot, |findings| {
        if let Some(trace) = trace {
            advised::attach(snapshot, trace, findings);
        }
    })
}

/// Reports on a recording.
///
/// # Errors
/// [`Failure`].
pub fn run(options: &Report) -> Result<(), Failure> {
    if let Some(report) = &options.output.output {
        refuse_same_file(report, &options.recording, "the report and the recording")?;
    }
    let exporter = options.otlp.start(Pace::Replay).map_err(SessionError::from)?;
    options.output.say_contradiction();
    let mut consumer = Consumer::open(&options.output)?.exporting(exporter.clone());
    let mut trace = trace_for(&options.output);
    let snapshot = replay::run(&options.recording, &mut (&mut consumer, &mut trace))?;
    finish(consumer, &snapshot, trace.as_ref())?;
    otlp::finish(exporter.as_deref(), false);
    fail_on::check(&options.fail_on, &snapshot)
}
