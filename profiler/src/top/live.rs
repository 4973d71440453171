//! `top` on a running server.
//!
//! In: a session, keys, time. Out: a screen of the window that goes on; every so often a new window begins,
//! so that what is shown is recent. While a new window is too young to be judged, the one before it is shown.

use std::sync::Arc;
use std::time::Duration;

use profiler_core::fact::{EndReason, Fact};
use profiler_core::finding::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::model::now::Now;
use profiler_core::pipeline::Settings;
use profiler_core::timeline::Entry;
use profiler_core::verdict;
use ratatui::crossterm::event::Event;
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::TopError;
use super::collect::Collector;
use super::key::Command;
use super::terminal::events;
use super::ui::Ui;
use crate::report::screen::model::{Shown, Source};
use crate::session::SessionError;
use crate::session::attached::{Session, Tick, Watch};
use crate::session::observer::Observer;
use crate::session::signals::Signals;

/// How often it is looked, and drawn.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Age from which a window can be judged, or a third of its length where that is less.
const JUDGED_FROM_NS: u64 = 10_000_000_000;

impl Observer for Collector {
    fn settings(&self) -> Settings {
        Settings { thread_slices: true }
    }

    fn note(&mut self, fact: &Fact) {
        self.fact(fact);
    }

    fn entry(&mut self, entry: &Entry) {
        self.entry(entry);
    }
}

/// Windows, the one that goes on and the one before it.
struct Windows {
    length_ns: u64,
    before: Option<Arc<Snapshot>>,
}

impl Windows {
    /// What is shown of a look.
    fn shown(&self, snapshot: Snapshot, now: Now, collector: &Collector) -> Shown {
        let age_ns = snapshot.window.length_ns();
        let now_ns = snapshot.window.end_ns;
        let young = age_ns < JUDGED_FROM_NS.min(self.length_ns / 3);
        let (snapshot, ended_ago_ns) = match &self.before {
            Some(before) if young => (Arc::clone(before), Some(now_ns.saturating_sub(before.window.end_ns))),
            _ => (Arc::new(snapshot), None),
        };
        let findings = Arc::new(verdict::findings(&snapshot, &Thresholds::default()));
        let (kept, rates) = (collector.kept(), collector.rates(now_ns));
        let lines = collector.lines(&snapshot, &now);
        let source = Source::Live { window_ns: self.length_ns, ended_ago_ns };
        Shown { snapshot, findings, now, lines, kept, rates, source }
    }
}

/// Watches until the reader has had enough. `open` takes the terminal over, once the programs are attached.
///
/// # Errors
/// If the target is gone, the programs cannot be attached, the terminal not be used, or the report not be
/// written.
pub fn run(
    watch: Watch,
    window: Duration,
    open: impl FnOnce() -> Result<Ui, TopError>,
) -> Result<(), TopError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(SessionError::from)?.block_on(drive(watch, window, &mut events(), open))
}

/// The same, where there is a runtime. Keys are read from `events`: nobody else may take them meanwhile.
///
/// # Errors
/// As [`run`].
pub async fn drive(
    watch: Watch,
    window: Duration,
    events: &mut Receiver<Event>,
    open: impl FnOnce() -> Result<Ui, TopError>,
) -> Result<(), TopError> {
    let mut signals = Signals::new()?;
    let mut session = Session::begin(watch, Collector::default())?;
    let mut ui = open()?;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let length_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
    let mut windows = Windows { length_ns, before: None };
    let gone = loop {
        ui.draw()?;
        tokio::select! {
            tick = session.tick() => if matches!(tick, Tick::TargetGone) {
                break true;
            },
            _ = look.tick() => {
                let (snapshot, now) = session.look();
                if snapshot.window.length_ns() >= length_ns {
                    windows.before = Some(Arc::new(snapshot.clone()));
                    new_window(&mut session);
                }
                // The window as it ended, once all that belongs to it is in order.
                while let Some(ended) = session.take_window() {
                    windows.before = windows.before.is_some().then(|| Arc::new(ended));
                }
                ui.show(windows.shown(snapshot, now, session.observer()));
            }
            event = events.recv() => {
                let Some(event) = event else { break false };
                match ui.event(&event) {
                    Some(Command::Quit) => break false,
                    Some(Command::Write) => ui.write(),
                    Some(Command::NewWindow) => {
                        windows.before = None;
                        new_window(&mut session);
                        look.reset_immediately();
                    }
                    _ => {}
                }
            }
            () = signals.any() => break false,
        }
    };
    if gone {
        let collector = std::mem::take(session.observer());
        let outcome = session.finish(EndReason::TargetExited);
        let at_ns = outcome.snapshot.window.end_ns;
        ui.show(windows.shown(outcome.snapshot, Now { at_ns, ..Now::default() }, &collector));
        ui.say("The server has exited: this is what was seen last. q quits.".to_owned());
        stay(&mut ui, events, &mut signals).await?;
    }
    ui.close()
}

fn new_window(session: &mut Session<Collector>) {
    session.roll();
    session.observer().new_window();
}

/// Keeps the screen until the reader has had enough.
async fn stay(ui: &mut Ui, events: &mut Receiver<Event>, signals: &mut Signals) -> Result<(), TopError> {
    let mut redraw = interval(LOOK_EVERY);
    loop {
        ui.draw()?;
        tokio::select! {
            _ = redraw.tick() => {}
            event = events.recv() => {
                let Some(event) = event else { return Ok(()) };
                match ui.event(&event) {
                    Some(Command::Quit) => return Ok(()),
                    Some(Command::Write) => ui.write(),
                    _ => {}
                }
            }
            () = signals.any() => return Ok(()),
        }
    }
}
