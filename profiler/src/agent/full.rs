//! Full traces beside light mode: a second session, for a while.
//!
//! In: who asks for one, what light mode sees. Out: its window, on the board. The session lives on a thread
//! of its own, from attaching to detaching: the rings of light mode are emptied meanwhile, and that alone
//! counts requests.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use profiler_core::fact::EndReason;
use profiler_core::timeline::Entry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::board::{Board, Question};
use super::budget::{Budget, By, Limits, Refusal};
use super::heap::give_memory_back;
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
    running: Option<Running>,
    was_running: bool,
    board: Arc<Board>,
}

/// The trace that is under way.
struct Running {
    /// When it will end, if attaching took no time.
    until: Instant,
    commands: mpsc::UnboundedSender<Command>,
    /// CPUs that its programs take, as bits of an `f64`.
    programs_cpus: Arc<AtomicU64>,
    ended: oneshot::Receiver<Result<Ended, String>>,
}

/// Messages to its thread.
enum Command {
    /// Put the window as it stands on the board, and answer these.
    Look(Vec<Question>),
    /// End, for this reason.
    End(EndReason),
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

fn lock(requests: &Mutex<Newest>) -> MutexGuard<'_, Newest> {
    // Whoever panicked while it held the lock had only added to a queue.
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Traces for so long, on this thread.
fn trace(
    watch: Watch,
    length: Duration,
    (board, programs_cpus): (&Board, &AtomicU64),
    commands: mpsc::UnboundedReceiver<Command>,
) -> Result<Ended, SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(watch, length, (board, programs_cpus), commands))
}

async fn drive(
    watch: Watch,
    length: Duration,
    (board, programs_cpus): (&Board, &AtomicU64),
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> Result<Ended, SessionError> {
    let requests = Arc::new(Mutex::new(Newest::default()));
    let mut session = Session::begin(watch, Keeper(Arc::clone(&requests)))?;
    // Attaching took its own time.
    let until = Instant::now() + length;
    board.set_full(true);
    let reason = loop {
        tokio::select! {
            tick = session.tick() => match tick {
                Tick::TargetGone => break EndReason::TargetExited,
                Tick::Gathered => {
                    let cpus = session.cost().programs_cpus.unwrap_or_default();
                    programs_cpus.store(cpus.to_bits(), Ordering::Relaxed);
                }
                _ => {}
            },
            () = sleep_until(until) => break EndReason::Duration,
            command = commands.recv() => match command {
                Some(Command::Look(questions)) => {
                    let snapshot = session.peek();
                    let newest = lock(&requests).since(snapshot.window.start_ns);
                    board.look_full(snapshot, newest);
                    answer(questions);
                }
                Some(Command::End(reason)) => break reason,
                None => break EndReason::Interrupted,
            },
        }
    };
    Ok(Ended { outcome: session.finish(reason), requests })
}

/// What was asked for is on the board.
fn answer(questions: Vec<Question>) {
    for question in questions {
        // Whoever asked may have given up.
        let _ = question.send(());
    }
}

impl Full {
    /// None so far.
    pub fn new(options: &FullTraces, board: Arc<Board>) -> Self {
        let limits = Limits { longest: LONGEST, share_percent: options.share_percent, pause: options.pause };
        Self {
            conditions: options.when.clone(),
            length: options.length,
            budget: Budget::new(limits),
            began: Instant::now(),
            running: None,
            was_running: false,
            board,
        }
    }

    /// Whether a condition could begin one now: otherwise nobody need look.
    pub const fn is_waiting(&self) -> bool {
        !self.conditions.is_empty() && self.running.is_none()
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
        if ask.answer.is_closed() {
            // Nobody waits for it any more: they were told that the agent does not answer.
            return;
        }
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

    /// What the budget says. Attaching and detaching take a time of their own, in which there is no second
    /// one either.
    fn grant(&mut self, wanted: Duration, by: By) -> Result<Duration, Refusal> {
        match &self.running {
            None => self.budget.grant(self.began.elapsed(), wanted, by),
            Some(running) => {
                Err(Refusal::UnderWay { left: running.until.saturating_duration_since(Instant::now()) })
            }
        }
    }

    /// Has the one that is under way end now.
    fn cut(&mut self) -> Result<Duration, Refusal> {
        let running = self.running.as_ref().ok_or(Refusal::NoneUnderWay)?;
        // Where its thread has ended, it needs no telling.
        let _ = running.commands.send(Command::End(EndReason::Interrupted));
        Ok(Duration::ZERO)
    }

    /// Has the one that is under way end, as more is taken than may be; whether there is one.
    pub fn ends_for_its_cost(&mut self) -> bool {
        let Some(running) = &self.running else { return false };
        // Where its thread has ended, it needs no telling.
        let _ = running.commands.send(Command::End(EndReason::Cost));
        true
    }

    /// CPUs that its programs take.
    pub fn programs_cpus(&self) -> f64 {
        let running = self.running.as_ref();
        running.map_or(0.0, |running| f64::from_bits(running.programs_cpus.load(Ordering::Relaxed)))
    }

    /// Whether one has begun or ended since this was asked last.
    pub const fn has_changed(&mut self) -> bool {
        let is_running = self.running.is_some();
        let has_changed = self.was_running != is_running;
        self.was_running = is_running;
        has_changed
    }

    /// Whether it begins: the target may have gone.
    fn begin(&mut self, granted: Duration, cause: &Cause, watch: impl FnOnce() -> Option<Watch>) -> bool {
        let Some(watch) = watch() else {
            self.budget.ended(self.began.elapsed());
            return false;
        };
        self.board.full_begins(cause);
        let (commands, told) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let programs_cpus = Arc::new(AtomicU64::new(0));
        let until = Instant::now() + granted;
        self.running = Some(Running { until, commands, programs_cpus: Arc::clone(&programs_cpus), ended });
        let board = Arc::clone(&self.board);
        let thread = std::thread::Builder::new().name("full-trace".to_owned()).spawn(move || {
            let outcome =
                trace(watch, granted, (&board, &programs_cpus), told).map_err(|error| error.to_string());
            // Where nobody waits any more, the agent has ended.
            let _ = end.send(outcome);
        });
        if let Err(error) = thread {
            self.ended(Err(error.to_string()));
        }
        true
    }

    /// Waits until the trace that is under way has ended, and puts its window on the board. May be cancelled
    /// at any time.
    pub async fn next(&mut self) {
        match &mut self.running {
            None => pending().await,
            Some(running) => {
                let ended = (&mut running.ended).await;
                self.ended(ended.unwrap_or_else(|_| Err("its thread broke off".to_owned())));
            }
        }
    }

    fn ended(&mut self, ended: Result<Ended, String>) {
        self.running = None;
        self.budget.ended(self.began.elapsed());
        match ended {
            Ok(Ended { outcome, requests }) => {
                let requests = lock(&requests).since(outcome.snapshot.window.start_ns);
                self.board.window_full(outcome.snapshot, requests);
            }
            Err(reason) => self.board.full_failed(reason),
        }
        self.board.set_full(false);
        give_memory_back();
    }

    /// Answers those who want to see how things stand, once the window of a trace that goes on is on the
    /// board too.
    pub fn look(&self, questions: Vec<Question>) {
        let is_open = self.board.state().modes.full;
        match self.running.as_ref().filter(|_| is_open) {
            // Where its thread has ended, those who asked notice.
            Some(running) => drop(running.commands.send(Command::Look(questions))),
            None => answer(questions),
        }
    }

    /// Ends the one that is under way, as the target has gone or the agent ends.
    pub async fn stop(&mut self, reason: EndReason) {
        if let Some(running) = &self.running {
            // Where its thread has ended, it needs no telling.
            let _ = running.commands.send(Command::End(reason));
            self.next().await;
        }
    }
}
