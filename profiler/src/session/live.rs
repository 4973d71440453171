//! A live run of one window: attach, watch until the window ends, report.
//!
//! In: the target and how long to watch. Out: a snapshot, the timeline through an observer, a recording if
//! wanted.

use std::time::Duration;

use profiler_core::fact::EndReason;
use tokio::time::{Instant, sleep_until};

use super::SessionError;
use super::attached::{Outcome, Session, Tick, Watch};
use super::observer::Observer;
use super::progress::ProgressLine;
use super::signals::Signals;
use crate::attach;

/// Runs to the end of the window; `duration` is its length, `None`: until it is interrupted or the target
/// ends.
///
/// # Errors
/// If the target is gone or the programs cannot be attached. Nothing stays attached.
pub fn run<O: Observer>(
    watch: Watch,
    duration: Option<Duration>,
    quiet: bool,
    observer: &mut O,
) -> Result<Outcome, SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(watch, duration, ProgressLine::new(quiet), observer))
}

async fn drive<O: Observer>(
    watch: Watch,
    duration: Option<Duration>,
    mut progress: ProgressLine,
    observer: &mut O,
) -> Result<Outcome, SessionError> {
    let mut signals = Signals::new()?;
    if let Some(price) = attach::gil::price(watch.attach.gil) {
        progress.say(&price);
    }
    let mut session = Session::begin(watch, observer)?;
    let tree = session.tree();
    progress.say(&format!(
        "watching process {} and {} more, {}; Ctrl-C ends the window and reports",
        tree.root,
        tree.tgids.len().saturating_sub(1),
        duration.map_or_else(|| "until Ctrl-C".to_owned(), |duration| format!("for {duration:?}")),
    ));
    // A window that is never ended by time ends by a signal or with the target.
    let end = Instant::now() + duration.unwrap_or(Duration::from_hours(24 * 365));
    let reason = loop {
        tokio::select! {
            tick = session.tick() => match tick {
                Tick::Drained => {}
                Tick::Gathered => progress.show(&session.progress()),
                Tick::TargetGone => break EndReason::TargetExited,
                Tick::RecordingFailed => break EndReason::RecordingFailed,
                // What further came would be for nothing.
                Tick::NobodyReads => break EndReason::Interrupted,
            },
            () = sleep_until(end) => break EndReason::Duration,
            () = signals.any() => break EndReason::Interrupted,
        }
    };
    progress.clear();
    Ok(session.finish(reason))
}
