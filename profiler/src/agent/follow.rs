//! Follows one server: finds it, attaches, watches window after window, and finds it again after it has gone.
//!
//! In: a way to find the server, the length of a window, questions from the HTTP side. Out: what is seen, on
//! the board. Everything happens on one thread; attaching blocks it for a second or two.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use profiler_core::fact::left_out::LeftOut;
use profiler_core::fact::{EndReason, Fact};
use profiler_core::model::Snapshot;
use profiler_core::timeline::Entry;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::AgentError;
use super::board::{Board, KeptAsk, Question, Status, TargetNow};
use super::budget::Refusal;
use super::change::Changes;
use super::cost::Cost;
use super::frozen::Frozen;
use super::full::{Ask, Full, Wish};
use super::heap::give_memory_back;
use super::http::Server;
use super::trigger::{SIGNAL, Seen, p99_ns};
use crate::attach::{self, AttachError};
use crate::export::Courier;
use crate::fact::memory::resident_bytes;
use crate::fact::process::is_running;
use crate::fact::{FactError, Proc, Tree, Watched};
use crate::otlp::exporter::Exporter;
use crate::recording::{Keep, KeptCopy};
use crate::report::escape::{Charset, line};
use crate::session::SessionError;
use crate::session::attached::{Session, Tick, Watch};
use crate::session::cost_limit::Step;
use crate::session::observer::Observer;
use crate::session::shared::Programs;
use crate::session::signals::{Heard, Signals};
use crate::source::live::clock::monotonic_ns;

/// How often it is looked for a target that is away, at first.
const FIND_EVERY: Duration = Duration::from_secs(1);
/// How often, once it has been away for long: looking reads the whole of `/proc`.
const FIND_SELDOM: Duration = Duration::from_secs(5);
/// After how many attempts the second rule holds.
const OFTEN: u32 = 60;

/// Questions answered by one look.
const MAX_ASKED: usize = 16;

/// Columns of what is said of a change.
const MAX_SAID: usize = 400;

/// Over which requests the percentile is taken that can begin a full trace, in nanoseconds.
const PERCENTILE_OF_NS: u64 = 10_000_000_000;

/// How to attach.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    /// For all the time that the target is watched.
    pub attach: attach::Settings,
    /// For full traces beside that; `None`: it is a full trace itself.
    pub full: Option<attach::Settings>,
    /// Light mode, where `attach` takes more than that and this machine lets it be attached.
    pub lighter: Option<attach::Settings>,
    /// In place of both, in full, where this machine does not let all of light mode be attached; `None`:
    /// that is an error.
    pub instead: Option<attach::Settings>,
    /// What this means for the server, in one sentence.
    pub sentence: &'static str,
}

/// Finds the server: its processes, and the one that stands for it.
pub type Find = Rc<dyn Fn() -> Result<(Tree, u32), FactError>>;

/// Adds what stands before the server, where that is to be traced too.
pub type WithFrontEnd = Rc<dyn Fn(Tree) -> Result<Watched, FactError>>;

/// Says how to attach to a server.
pub type Choose = Rc<dyn Fn(&Tree) -> Chosen>;

/// Says a sentence to whoever started the agent, unless it was said last.
pub type Say = Rc<dyn Fn(&str)>;

/// What to follow and how.
pub struct Follow {
    /// How to find it.
    pub find: Find,
    /// Adds what stands before it, where that is to be traced too.
    pub with_front_end: WithFrontEnd,
    /// The process, where one process is meant and not what comes after it.
    pub only_pid: Option<u32>,
    /// Length of a window.
    pub window: Duration,
    /// Says how to attach to a server.
    pub choose: Choose,
    /// What the user names as own code.
    pub own: Rc<[String]>,
    /// Programs that others may use too.
    pub programs: Rc<Programs>,
    /// Says what changes.
    pub say: Say,
    /// Full traces beside light mode.
    pub full: Full,
    /// Questions for one from the HTTP side.
    pub asks: mpsc::Receiver<Ask>,
    /// Where it is shown.
    pub board: Arc<Board>,
    /// Where requests are exported to, beside it.
    pub exporter: Option<Arc<Exporter>>,
    /// What writes them as rows, beside it.
    pub rows: Option<Arc<Courier>>,
    /// Questions from the HTTP side.
    pub questions: mpsc::Receiver<Question>,
    /// How much to keep in memory.
    pub keep: Option<Keep>,
    /// Who asks for what is kept.
    pub kept_asks: mpsc::Receiver<KeptAsk>,
    /// What was kept of the last target as it ended.
    pub last_kept: Option<KeptCopy>,
    /// What was set aside of what is kept.
    pub frozen: Frozen,
    /// Windows that are compared where the server changes.
    pub changes: Rc<RefCell<Changes>>,
    /// What may be taken of the machine; `None`: that has no limit.
    pub cost: Option<Cost>,
    /// Who serves, until a signal comes. It ends before the programs are detached: that may leave a process
    /// of ours behind for a second, which must not hold the socket.
    pub server: Option<Server>,
}

/// Puts finished requests on the board, and on their way to a collector and into files.
struct Scribe {
    board: Arc<Board>,
    exporter: Option<Arc<Exporter>>,
    rows: Option<Arc<Courier>>,
}

impl Observer for Scribe {
    fn note(&mut self, fact: &Fact) {
        if let Some(exporter) = &self.exporter {
            exporter.note(fact);
        }
        if let Some(rows) = &self.rows {
            rows.note(fact);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        if let Some(exporter) = &self.exporter {
            exporter.entry(entry);
        }
        if let Some(rows) = &self.rows {
            rows.entry(entry);
        }
        if let Entry::Request(request) = entry
            && !request.seen.open
        {
            self.board.request(request);
        }
    }
}

/// How watching ended.
enum End {
    /// By a signal.
    Over,
    /// The target has gone, or another has taken its place.
    Gone,
    /// More or less of it is to be watched, for what it takes.
    Stepped,
    /// Nothing of it is to be watched for so long; the process that it is known by.
    Paused(Duration, u32),
}

/// How a pause ended.
enum Pause {
    /// By a signal.
    Signal,
    /// It was as long as it was to be.
    Over,
    /// The target has gone.
    Gone,
}

impl Follow {
    /// Follows until a signal comes.
    ///
    /// # Errors
    /// If attaching fails in a way that waiting does not mend, or the one process that was meant has ended.
    pub async fn run(mut self, signals: &mut Signals) -> Result<(), AgentError> {
        let mut attempts = 0_u32;
        let mut was_attached = false;
        loop {
            match self.begin() {
                Ok((session, chosen)) => {
                    (attempts, was_attached) = (0, true);
                    match self.watch(session, chosen, signals).await {
                        End::Over => return Ok(()),
                        End::Gone => {}
                        End::Stepped => continue,
                        End::Paused(pause, root) => match self.pause_for_its_cost(pause, root, signals).await
                        {
                            Pause::Signal => return Ok(()),
                            Pause::Over => continue,
                            Pause::Gone => self.note_gone(),
                        },
                    }
                }
                Err(error) if self.only_pid.is_none() && (was_attached || mends_itself(&error)) => {
                    self.board.set_status(Status::Waiting(error.to_string()));
                }
                // It ended while less or more of it was about to be watched.
                Err(error) if was_attached && mends_itself(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(pid) = self.only_pid {
                return Err(AgentError::TargetGone { pid });
            }
            attempts = attempts.saturating_add(1);
            let pause = if attempts > OFTEN { FIND_SELDOM } else { FIND_EVERY };
            if self.pause(pause, signals).await {
                return Ok(());
            }
        }
    }

    fn begin(&mut self) -> Result<(Session<Scribe>, Chosen), SessionError> {
        let (server, named_pid) = (self.find)()?;
        let mut chosen = (self.choose)(&server);
        let watched = (self.with_front_end)(server)?;
        if !self.board.is_paused() {
            self.board.set_status(Status::Attaching);
        }
        let begin = |watched, attach, left_out| {
            let scribe = Scribe {
                board: Arc::clone(&self.board),
                exporter: self.exporter.clone(),
                rows: self.rows.clone(),
            };
            let own = self.own.to_vec();
            let watch = Watch { watched, named_pid, attach, own, record: None, keep: self.keep, left_out };
            Session::begin_with(&self.programs, watch, scribe)
        };
        let (attach, left_out) = within(&mut self.cost, &chosen);
        let mut session = begin(watched.clone(), attach, left_out);
        if let Err(SessionError::Attach(error)) = &session
            && error.is_of_light()
            && (chosen.lighter.take().is_some() || chosen.instead.is_some())
        {
            let sentence = format!("everything is traced: {error}");
            if let Some(attach) = chosen.instead.take() {
                (chosen.attach, chosen.full) = (attach, None);
            }
            let (attach, left_out) = within(&mut self.cost, &chosen);
            session = begin(watched, attach, left_out);
            (self.say)(&sentence);
        } else if session.is_ok() && self.leaves_nothing_out() {
            (self.say)(chosen.sentence);
        }
        give_memory_back();
        let session = session?;
        if let Some(cost) = &mut self.cost {
            cost.begins(monotonic_ns());
            self.board.set_cost(cost.now());
        }
        Ok((session, chosen))
    }

    fn leaves_nothing_out(&self) -> bool {
        self.cost.as_ref().is_none_or(Cost::leaves_nothing_out)
    }

    /// What is to be done for what is taken, if anything. `is_end`: the window ends, so a pause may begin. A
    /// full trace beside light mode ends first.
    fn judge_cost(&mut self, session: &Session<Scribe>, chosen: &Chosen, is_end: bool) -> Option<End> {
        let cost = self.cost.as_mut()?;
        let (now, say, full) = (session.cost(), &self.say, &mut self.full);
        if cost.lacks_programs(&now) {
            say(
                "--max-cost counts what this process takes alone: what programs take in the kernel is known with CAP_SYS_ADMIN",
            );
        }
        if full.has_changed() {
            cost.settles(now.now_ns);
        }
        let programs_cpus = full.programs_cpus();
        let mut spares = || full.ends_for_its_cost();
        let before = within_level(cost, chosen);
        let mut step = cost.read(now.with(programs_cpus), &mut spares);
        if is_end && step.is_none() {
            step = cost.ends_window(now.now_ns);
        }
        self.board.set_cost(cost.now());
        let step = step?;
        say(&cost.sentence(step));
        match step {
            Step::Pause(pause) => Some(End::Paused(pause, session.tree().root)),
            // Between pauses it is watched in the same way as a level above.
            Step::Down(_) | Step::Up(_) if within_level(cost, chosen) == before => None,
            Step::Down(_) | Step::Up(_) => Some(End::Stepped),
        }
    }

    /// Nothing is watched for so long, as it would take more than may be taken. `root`: what the target is
    /// known by.
    async fn pause_for_its_cost(&mut self, pause: Duration, root: u32, signals: &mut Signals) -> Pause {
        let Some(cost) = &mut self.cost else { return Pause::Over };
        cost.pauses(monotonic_ns());
        self.board.set_cost(cost.now());
        self.board.set_status(Status::Paused(cost.sentence(Step::Pause(pause))));
        let until = Instant::now() + pause;
        let end = loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Pause::Over;
            }
            if self.pause(left.min(FIND_EVERY), signals).await {
                break Pause::Signal;
            }
            if !is_running(&Proc::default(), root) {
                break Pause::Gone;
            }
        };
        if let Some(cost) = &mut self.cost {
            cost.ends_pause(monotonic_ns());
            self.board.set_cost(cost.now());
        }
        end
    }

    /// The target is not there any more.
    fn note_gone(&self) {
        self.changes.borrow_mut().restarted();
        self.board.set_status(Status::Waiting("the target has ended".to_owned()));
    }

    /// Somebody asks for a full trace.
    fn asked(&mut self, ask: Ask, chosen: Chosen) {
        if matches!(ask.wish, Wish::Begin(_)) && !self.leaves_nothing_out() {
            return refuse(ask, Refusal::Cost);
        }
        let Some(attach) = chosen.full else { return refuse(ask, Refusal::Always) };
        let watch = self.again(attach);
        self.full.asked(ask, watch);
    }

    /// Looks whether a full trace is to begin by itself, or what is kept to be set aside.
    fn consider(&mut self, session: &mut Session<Scribe>, chosen: Chosen) {
        let full = chosen.full.filter(|_| self.full.is_waiting() && self.leaves_nothing_out());
        if full.is_none() && !self.frozen.is_waiting() {
            return;
        }
        let since_ns = monotonic_ns().saturating_sub(PERCENTILE_OF_NS);
        let seen = Seen {
            p99_ns: p99_ns(self.board.durations_ns(since_ns)),
            queue: session.accept_queue(),
            findings: self.board.present(),
        };
        if let Some(cause) = self.frozen.met(&seen) {
            self.freeze(session, cause.label());
        }
        if let Some(attach) = full {
            let watch = self.again(attach);
            self.full.consider(&seen, watch);
        }
    }

    fn last_kept(&self) -> Option<KeptCopy> {
        self.last_kept.clone()
    }

    /// Answers somebody who wants what is kept; `now`: what is there at this moment.
    fn answer(&self, ask: KeptAsk, now: impl FnOnce(&Self) -> Option<KeptCopy>) {
        if !ask.answer.is_closed() {
            let copy = if ask.is_frozen { self.frozen.copy() } else { now(self) };
            // Whoever asked may have given up meanwhile.
            let _ = ask.answer.send(copy);
        }
    }

    /// Sets aside what is kept.
    fn freeze(&mut self, session: &mut Session<Scribe>, cause: &'static str) {
        if let Some(copy) = session.kept() {
            self.frozen.set(copy);
            self.board.froze(cause);
            (self.say)(&format!("what is kept was set aside ({cause}): GET /recording.wtrace?of=trigger"));
        }
    }

    /// Waits; whether a signal came.
    async fn pause(&mut self, pause: Duration, signals: &mut Signals) -> bool {
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return false,
                () = signals.any() => return true,
                // There is nothing to see; whoever asked notices.
                Some(question) = self.questions.recv() => drop(question),
                Some(ask) = self.asks.recv() => refuse(ask, Refusal::NotWatching),
                Some(ask) = self.kept_asks.recv() => self.answer(ask, Self::last_kept),
            }
        }
    }

    async fn watch(&mut self, mut session: Session<Scribe>, chosen: Chosen, signals: &mut Signals) -> End {
        self.last_kept = None;
        self.board.set_status(Status::Watching);
        self.board.set_light(session.is_light());
        let mut rolls = interval_at(Instant::now() + self.window, self.window);
        rolls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Vec<Question> = Vec::new();
        let (end, reason) = loop {
            while let Some(window) = session.take_window() {
                self.end_window(window, Courier::window);
            }
            let is_full = !session.is_rolling() && self.rows.as_ref().is_some_and(|rows| rows.take_full());
            if is_full {
                self.roll(&mut session);
                rolls.reset();
            }
            // Between the end of a window and its account, a look would show neither the one nor the other.
            if !asked.is_empty() && !session.is_rolling() {
                let target = target_now(&session);
                self.board.look(session.peek(), target);
                self.board.set_held(session.held());
                self.full.look(std::mem::take(&mut asked));
            }
            tokio::select! {
                tick = session.tick() => match tick {
                    Tick::Drained => {}
                    Tick::Gathered => {
                        if self.is_replaced(session.tree()) {
                            break (End::Gone, EndReason::TargetExited);
                        }
                        self.consider(&mut session, chosen);
                        if let Some(end) = self.judge_cost(&session, &chosen, false) {
                            break (end, EndReason::Cost);
                        }
                    }
                    // Nothing is recorded and the board always wants more: the last two do not come.
                    Tick::TargetGone | Tick::RecordingFailed | Tick::NobodyReads => {
                        break (End::Gone, EndReason::TargetExited);
                    }
                },
                _ = rolls.tick() => match self.judge_cost(&session, &chosen, true) {
                    Some(end) => break (end, EndReason::Cost),
                    None => self.roll(&mut session),
                },
                Some(question) = self.questions.recv(), if asked.len() < MAX_ASKED => asked.push(question),
                Some(ask) = self.asks.recv() => self.asked(ask, chosen),
                Some(ask) = self.kept_asks.recv() => self.answer(ask, |_| session.kept()),
                () = self.full.next() => {}
                heard = signals.next() => match heard {
                    Heard::SetAside => self.freeze(&mut session, SIGNAL),
                    Heard::End => break (End::Over, EndReason::Interrupted),
                },
            }
        };
        if matches!(end, End::Over)
            && let Some(server) = self.server.take()
        {
            server.stop();
        }
        // What happened before the target ended can still be had.
        self.last_kept = session.kept();
        let outcome = session.finish(reason);
        for window in outcome.windows {
            self.end_window(window, Courier::window);
        }
        self.end_window(outcome.snapshot, Courier::end);
        self.full.stop(reason).await;
        if let Some(cost) = &mut self.cost {
            cost.ends();
            self.board.set_cost(cost.now());
        }
        match end {
            End::Over | End::Gone => self.note_gone(),
            End::Stepped | End::Paused(..) => {
                self.board.set_status(Status::Paused("what is watched changes, by --max-cost".to_owned()));
            }
        }
        end
    }

    fn roll(&self, session: &mut Session<Scribe>) {
        session.roll();
        if let Some(rows) = &self.rows {
            rows.roll();
        }
    }

    fn end_window(&self, window: Snapshot, write: fn(&Courier, &Snapshot)) {
        if let Some(rows) = &self.rows {
            write(rows, &window);
        }
        let view = self.board.window(window);
        if let Some(change) = self.changes.borrow_mut().window(&view.snapshot, &view.findings) {
            (self.say)(&line(&change.sentence, MAX_SAID, Charset::Unicode));
            self.board.changed(change);
        }
    }

    /// Finds the target as it is when it is called, for a full trace of it; `None`: it cannot be found.
    fn again(&self, attach: attach::Settings) -> impl FnOnce() -> Option<Watch> + use<> {
        let (find, with_front_end) = (Rc::clone(&self.find), Rc::clone(&self.with_front_end));
        let own = self.own.to_vec();
        let is_limited = self.cost.is_some();
        move || {
            let (server, named_pid) = find().ok()?;
            let watched = with_front_end(server).ok()?;
            // Nothing is left out of it, but what it takes may have a limit.
            let left_out = is_limited.then(Vec::new);
            Some(Watch { watched, named_pid, attach, own, record: None, keep: None, left_out })
        }
    }

    /// Whether another server has taken the target's place while some of its processes still live: after an
    /// upgrade on the fly, or a deploy that overlaps.
    fn is_replaced(&self, tree: &Tree) -> bool {
        self.only_pid.is_none()
            && !is_running(&Proc::default(), tree.root)
            && (self.find)().is_ok_and(|(found, _)| found.root != tree.root)
    }
}

/// How to attach within the limit, and what is left out for that; `None`: there is no limit.
fn within(cost: &mut Option<Cost>, chosen: &Chosen) -> (attach::Settings, Option<Vec<LeftOut>>) {
    let Some(cost) = cost else { return (chosen.attach, None) };
    (within_level(cost, chosen), Some(cost.left_out()))
}

fn within_level(cost: &mut Cost, chosen: &Chosen) -> attach::Settings {
    cost.attach(chosen.attach, chosen.lighter, monotonic_ns())
}

fn refuse(ask: Ask, refusal: Refusal) {
    // Whoever asked may have given up.
    let _ = ask.answer.send(Err(refusal));
}

fn target_now(session: &Session<Scribe>) -> TargetNow {
    let proc = Proc::default();
    let tgids = &session.tree().tgids;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    TargetNow {
        processes: count(tgids.len()),
        threads: count(session.open_slices().len()),
        resident_bytes: tgids.iter().filter_map(|tgid| resident_bytes(&proc, *tgid)).sum(),
    }
}

/// Whether it may go away by waiting: the target is not there, or not ready.
const fn mends_itself(error: &SessionError) -> bool {
    match error {
        SessionError::Fact(error) => {
            !matches!(error, FactError::NotPermitted { .. } | FactError::Sandbox { .. })
        }
        SessionError::NoListener { .. } | SessionError::TargetGone { .. } => true,
        SessionError::Attach(error) => matches!(error, AttachError::NoTarget),
        _ => false,
    }
}
