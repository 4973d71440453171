//! `wsgi-trace --pid PID`: trace and report.
//!
//! In: target, window, form of the report. Out: the report; a recording beside it if one is wanted.

use super::{Failure, target};
use crate::cli::Trace;
use crate::recording::Recorder;
use crate::session::SessionError;
use crate::session::consumer::Consumer;
use crate::session::live;

/// Traces and reports.
///
/// # Errors
/// [`Failure`]. If only the recording failed, the report is written all the same.
pub fn run(options: &Trace) -> Result<(), Failure> {
    // The target first: a mistake there must not touch any file.
    let mut watch = target::watch(&options.target, &options.watch, None)?;
    let mut consumer = Consumer::open(&options.output)?;
    watch.recorder = match &options.record {
        Some(path) => Some(Recorder::create(path, env!("CARGO_PKG_VERSION")).map_err(SessionError::from)?),
        None => None,
    };
    let outcome = live::run(watch, &mut consumer)?;
    consumer.finish(&outcome.snapshot)?;
    match outcome.recording_failed {
        Some(error) => Err(SessionError::from(error).into()),
        None => Ok(()),
    }
}
