//! Full traces beside light mode: a second session, for a while.
//!
//! In: who asks for one, what light mode sees. Out: its window, on the board. Programs are attached and detached on
//! another thread, so that the rings of light mode are emptied meanwhile: that alone counts requests.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use profiler_core::fact::EndReason;
use profiler_core::timeline::Entry;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::board::Board;
use super::budget::{Budget, By, Limits, Refusal};
use super::newest::Newest;
use super::trigger::{Cause, Seen, met};
use crate::cli::full::{Condition, FullTraces, LONGEST};
use crate::session::SessionError;
use crate::session::attached::{Outcome, Session, Tick, Watch};
use crate::session::observer::Observer;

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A full trace of this length; `None`: as long as one that begins by itself.
    Begin(Option<Duration>),
    /// The end of the one that is under way.
    End,
}

/// Somebody wants something of full traces.
#[derive(Debug)]
pub struct Ask {
    /// What.
    pub wish: Wish,
    /// How long it will go on.
    pub answer: oneshot::Sender<Result<Duration, Refusal>>,
}

/// Full traces, one after the other.
pub struct Full {
    conditions: Vec<Condition>,
    length: Duration,
    budget: Budget,
    began: Instant,
    state: State,
    board: Arc<Board>,
}

enum State {
    Off,
    Attaching { task: JoinHandle<Result<Open, SessionError>>, length: Duration, reason: EndReason },
    On { open: Box<Open>, until: Instant, reason: EndReason },
    Ending(JoinHandle<Ended>),
}

/// A trace that goes on.
struct Open {
    session: Session<Keeper>,
    requests: Arc<Mutex<Newest>>,
}

/// A trace that has ended.
struct Ended {
    outcome: Outcome,
    requests: Arc<Mutex<Newest>>,
}

/// Keeps the newest requests for the page.
struct Keeper(Arc<Mutex<Newest>>);

impl Observer for Keeper {
    fn entry(&mut self, entry: &Entry) {
        if let Entry::Request(request) = entry
            && !request.seen.open
        {
            lock(&self.0).add(request);
        }
    }
}

fn lock(requests: &Mutex<Newest>) -> std::sync::MutexGuard<'_, Newest> {
    // Whoever panicked while it held the lock had only added to a queue.
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open {
    fn begin(watch: Watch) -> Result<Self, SessionError> {
        let requests = Arc::new(Mutex::new(Newest::default()));
        let session = Session::begin(watch, Keeper(Arc::clone(&requests)))?;
        Ok(Self { session, requests })
    }

    fn finish(self, reason: EndReason) -> Ended {
        Ended { outcome: self.session.finish(reason), requests: self.requests }
    }
}

impl Full {
    /// None so far.
    #[must_use]
    pub fn new(options: &FullTraces, board: Arc<Board>) -> Self {
        let limits = Limits { longest: LONGEST, share_percent: options.share_percent, pause: options.pause };
        Self {
            conditions: options.when.clone(),
            length: options.length,
            budget: Budget::new(limits),
            began: Instant::now(),
            state: State::Off,
            board,
        }
    }

    /// Whether a condition could begin one now: otherwise nobody need look.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        !self.conditions.is_empty() && matches!(self.state, State::Off)
    }

    /// Begins one if what is seen meets a condition and the budget allows it. `watch` finds the target.
    pub fn consider(&mut self, seen: &Seen, watch: impl FnOnce() -> Option<Watch>) {
        let Some(condition) = met(&self.conditions, seen).cloned() else { return };
        match self.grant(self.length, By::Trigger) {
            Ok(granted) => {
                self.begin(granted, &Cause::Condition(condition), watch);
            }
            Err(_) => self.board.full_refused(),
        }
    }

    /// Answers somebody. `watch` finds the target.
    pub fn asked(&mut self, ask: Ask, watch: impl FnOnce() -> Option<Watch>) {
        let answer = match ask.wish {
            Wish::Begin(length) => {
                let granted = self.grant(length.unwrap_or(self.length), By::Request);
                granted.and_then(|granted| {
                    let has_begun = self.begin(granted, &Cause::Request, watch);
                    if has_begun { Ok(granted) } else { Err(Refusal::NotWatching) }
                })
            }
            Wish::End => self.cut(),
        };
        // Whoever asked may have given up.
        let _ = ask.answer.send(answer);
    }

    /// What the budget says. Attaching and detaching take a time of their own, in which there is no second one either.
    fn grant(&mut self, wanted: Duration, by: By) -> Result<Duration, Refusal> {
        let left = match &self.state {
            State::Off => return self.budget.grant(self.began.elapsed(), wanted, by),
            State::Attaching { length, .. } => *length,
            State::On { until, .. } => until.saturating_duration_since(Instant::now()),
            State::Ending(_) => Duration::ZERO,
        };
        Err(Refusal::UnderWay { left })
    }

    /// Has the one that is under way end now.
    fn cut(&mut self) -> Result<Duration, Refusal> {
        match &mut self.state {
            State::Off => return Err(Refusal::NoneUnderWay),
            State::Attaching { length, reason, .. } => {
                (*length, *reason) = (Duration::ZERO, EndReason::Interrupted);
            }
            State::On { until, reason, .. } => {
                (*until, *reason) = (Instant::now(), EndReason::Interrupted);
            }
            State::Ending(_) => {}
        }
        Ok(Duration::ZERO)
    }

    /// Whether it begins: the target may have gone.
    fn begin(&mut self, granted: Duration, cause: &Cause, watch: impl FnOnce() -> Option<Watch>) -> bool {
        let Some(watch) = watch() else {
            self.budget.ended(self.began.elapsed());
            return false;
        };
        self.board.full_begins(cause);
        let task = spawn_blocking(move || Open::begin(watch));
        self.state = State::Attaching { task, length: granted, reason: EndReason::Duration };
        true
    }

    /// Goes on with the trace that is under way; comes back when there is something to do. May be cancelled at any time.
    pub async fn next(&mut self) {
        match &mut self.state {
            State::Off => pending().await,
            State::Attaching { task, length, reason } => {
                let attached = task.await;
                let (length, reason) = (*length, *reason);
                self.attached(attached, length, reason);
            }
            State::On { open, until, .. } => {
                let is_over = tokio::select! {
                    tick = open.session.tick() => matches!(tick, Tick::TargetGone),
                    () = sleep_until(*until) => true,
                };
                if is_over {
                    self.end();
                }
            }
            State::Ending(task) => {
                let ended = task.await;
                self.ended(ended.map_err(|error| error.to_string()));
            }
        }
    }

    /// The window begins now: attaching took its own time.
    fn attached(
        &mut self,
        attached: Result<Result<Open, SessionError>, JoinError>,
        length: Duration,
        reason: EndReason,
    ) {
        let failed = match attached {
            Ok(Ok(open)) => {
                self.board.set_full(true);
                self.state = State::On { open: Box::new(open), until: Instant::now() + length, reason };
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.ended(Err(failed));
    }

    fn end(&mut self) {
        if let State::On { open, reason, .. } = std::mem::replace(&mut self.state, State::Off) {
            self.state = State::Ending(spawn_blocking(move || open.finish(reason)));
        }
    }

    fn ended(&mut self, ended: Result<Ended, String>) {
        self.state = State::Off;
        self.budget.ended(self.began.elapsed());
        match ended {
            Ok(Ended { outcome, requests }) => {
                let requests = lock(&requests).since(outcome.snapshot.window.start_ns);
                self.board.window_full(outcome.snapshot, requests);
            }
            Err(reason) => self.board.full_failed(reason),
        }
        self.board.set_full(false);
    }

    /// Puts the window of the trace that goes on, as it stands, on the board.
    pub fn look(&mut self) {
        if let State::On { open, .. } = &mut self.state {
            let snapshot = open.session.peek();
            let requests = lock(&open.requests).since(snapshot.window.start_ns);
            self.board.look_full(snapshot, requests);
        }
    }

    /// Ends the one that is under way, as the target has gone or the agent ends.
    pub async fn stop(&mut self, reason: EndReason) {
        match std::mem::replace(&mut self.state, State::Off) {
            State::Off => return,
            State::Attaching { task, .. } => {
                // Dropped as soon as it is attached.
                let failed = match task.await {
                    Ok(Ok(_)) => "the target has ended".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                self.ended(Err(failed));
            }
            State::On { open, .. } => self.ended(Ok(open.finish(reason))),
            State::Ending(task) => {
                let ended = task.await;
                self.ended(ended.map_err(|error| error.to_string()));
            }
        }
    }
}
