//! A live run of one window: attach, watch until the window ends, report.
//!
//! In: the target and how long to watch. Out: a snapshot, the timeline through an observer, a recording if
//! wanted.

use std::time::Duration;

use profiler_core::fact::EndReason;
use tokio::time::{Instant, sleep_until};

use super::SessionError;
use super::attached::{Outcome, Session, Tick, Watch};
use super::cost_limit::CostLimit;
use super::observer::Observer;
use super::progress::ProgressLine;
use super::signals::Signals;
use crate::attach;

/// When a window ends, unless it is interrupted or the target ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// After so long.
    pub duration: Option<Duration>,
    /// When more than this share of all CPUs is taken.
    pub max_cost_ratio: Option<f64>,
}

/// Runs to the end of the window.
///
/// # Errors
/// If the target is gone or the programs cannot be attached. Nothing stays attached.
pub fn run<O: Observer>(
    watch: Watch,
    until: Until,
    quiet: bool,
    observer: &mut O,
) -> Result<Outcome, SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(watch, until, ProgressLine::new(quiet), observer))
}

async fn drive<O: Observer>(
    watch: Watch,
    Until { duration, max_cost_ratio }: Until,
    mut progress: ProgressLine,
    observer: &mut O,
) -> Result<Outcome, SessionError> {
    let mut signals = Signals::new()?;
    if let Some(price) = attach::gil::price(watch.attach.gil) {
        progress.say(&price);
    }
    let left_out = max_cost_ratio.map(|_| Vec::new());
    let mut session = Session::begin(Watch { left_out, ..watch }, observer)?;
    let tree = session.tree();
    progress.say(&format!(
        "watching process {} and {} more, {}; Ctrl-C ends the window and reports",
        tree.root,
        tree.tgids.len().saturating_sub(1),
        duration.map_or_else(|| "until Ctrl-C".to_owned(), |duration| format!("for {duration:?}")),
    ));
    // A window that is never ended by time ends by a signal or with the target.
    let end = Instant::now() + duration.unwrap_or(Duration::from_hours(24 * 365));
    let mut limit = max_cost_ratio.map(CostLimit::new);
    if let Some(limit) = &mut limit {
        limit.begins(session.cost().now_ns);
    }
    let reason = loop {
        tokio::select! {
            tick = session.tick() => match tick {
                Tick::Drained => {}
                Tick::Gathered => {
                    progress.show(&session.progress());
                    let step = limit.as_mut().and_then(|limit| limit.read(session.cost(), &mut || false));
                    if step.is_some() {
                        break EndReason::Cost;
                    }
                }
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
    if reason == EndReason::Cost {
        progress.say(
            "the window ends early: watching took more of this machine than --max-cost; --light takes less",
        );
    }
    Ok(session.finish(reason))
}
