//! Watches a server for a short while, up to the moment that is shown.
//!
//! In: what to watch, for how long. Out: the [`Moment`] at its end.

use std::time::Duration;

use profiler_core::fact::EndReason;
use tokio::time::{Instant, sleep_until};

use super::looked::Looked;
use super::moment::Moment;
use crate::fact::Proc;
use crate::session::SessionError;
use crate::session::attached::{Session, Tick, Watch};
use crate::session::signals::Signals;

/// Watches.
///
/// # Errors
/// If the target is gone or the programs cannot be attached. Nothing stays attached.
pub fn run(watch: Watch, duration: Duration) -> Result<Moment, SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(watch, duration))
}

async fn drive(watch: Watch, duration: Duration) -> Result<Moment, SessionError> {
    let mut signals = Signals::new()?;
    let mut session = Session::begin(watch, Looked::default())?;
    let end = Instant::now() + duration;
    let reason = loop {
        tokio::select! {
            tick = session.tick() => if matches!(tick, Tick::TargetGone) {
                break EndReason::TargetExited;
            },
            () = sleep_until(end) => break EndReason::Duration,
            () = signals.any() => break EndReason::Interrupted,
        }
    };
    if reason == EndReason::TargetExited {
        // Where its threads were is of no moment any more.
        return Err(SessionError::TargetGone { pid: session.tree().root });
    }
    // Before the look: what has run meanwhile is known then to be awake.
    session.observer().read_not_run(&Proc::default());
    let (snapshot, now) = session.look();
    let queued = session.accept_queue();
    let looked = std::mem::take(session.observer());
    let moment = Moment::of(&snapshot, &now, &looked, queued);
    session.finish(reason);
    Ok(moment)
}
