//! `wsgi-trace report FILE`: the report of a recording; needs no privileges.
//!
//! In: a recording, form of the report. Out: the report that the live run would have given.

use super::{Failure, fail_on, refuse_same_file};
use crate::cli::{Report, otlp};
use crate::otlp::exporter::Pace;
use crate::session::SessionError;
use crate::session::consumer::Consumer;
use crate::session::replay;

/// Reports on a recording.
///
/// # Errors
/// [`Failure`].
pub fn run(options: &Report) -> Result<(), Failure> {
    if let Some(report) = &options.output.output {
        refuse_same_file(report, &options.recording, "the report and the recording")?;
    }
    let exporter = options.otlp.start(Pace::Replay).map_err(SessionError::from)?;
    let mut consumer = Consumer::open(&options.output)?.exporting(exporter.clone());
    let snapshot = replay::run(&options.recording, &mut consumer)?;
    consumer.finish(&snapshot)?;
    otlp::finish(exporter.as_deref(), false);
    fail_on::check(&options.fail_on, &snapshot)
}
