//! `wsgi-trace record`: trace into a file, report later.
//!
//! In: target, window, file. Out: the recording, and one line that says what is in it.

use std::io::Write as _;

use super::{Failure, open_recording, target};
use crate::cli::Record;
use crate::session::SessionError;
use crate::session::consumer::Consumer;
use crate::session::live::{self, Until};

/// Records.
///
/// # Errors
/// [`Failure`]. What was written stays readable.
pub fn run(options: &Record) -> Result<(), Failure> {
    let mut watch = target::watch(&options.target, &options.watch, None)?;
    watch.record = Some(open_recording(&options.output)?);
    let until = Until { duration: options.watch.duration, ..Until::default() };
    let outcome = live::run(watch, until, options.watch.quiet, &mut Consumer::nothing())?;
    if let Some(error) = outcome.recording_failed {
        return Err(SessionError::from(error).into());
    }
    if !options.watch.quiet {
        let path = options.output.display();
        // Nobody may be reading: then there is nobody to tell.
        let _ = writeln!(
            std::io::stderr(),
            "wsgi-trace: {} requests recorded; wsgi-trace report {path} reports on them",
            outcome.snapshot.requests.completed
        );
    }
    Ok(())
}
