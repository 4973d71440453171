//! What is known now: written by the session's thread, read by the one that serves.
//!
//! In: requests, windows, the state of the target. Out: the same, to be shown. Nothing is computed under the
//! lock but sums.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use profiler_core::finding::threshold::Thresholds;
use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;
use profiler_core::model::request::Request;
use profiler_core::verdict::{self, Verdict};
use tokio::sync::oneshot;

use super::change::Change;
use super::cost::CostNow;
use super::counts::Counts;
use super::tally::Tally;
use super::trigger::Cause;
use crate::recording::{Held, KeptCopy};

/// Whether the target is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The target is not there, or cannot be watched yet; why.
    Waiting(String),
    /// The target was found; the programs are being attached.
    Attaching,
    /// The target is watched.
    Watching,
    /// The target is there and not watched for a while, to take no more than may be taken; why.
    Paused(String),
}

/// Somebody wants to see the open window as it stands: answered once it is on the board.
pub type Question = oneshot::Sender<()>;

/// Somebody wants what is kept in memory.
#[derive(Debug)]
pub struct KeptAsk {
    /// What was set aside when something happened, and not what is there now.
    pub is_frozen: bool,
    /// `None` is the answer where there is nothing.
    pub answer: oneshot::Sender<Option<KeptCopy>>,
}

/// What the target's processes are like now.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetNow {
    /// Its processes.
    pub processes: u64,
    /// Its threads.
    pub threads: u64,
    /// Resident memory of all processes, in bytes; what they share counts for each.
    pub resident_bytes: u64,
}

/// One window, with what is to be said of it.
#[derive(Debug)]
pub struct View {
    /// Its numbers.
    pub snapshot: Snapshot,
    /// What the rules say.
    pub findings: Vec<Finding>,
    /// What stands behind requests' waiting.
    pub verdict: Verdict,
    /// The newest requests that ended in it.
    pub requests: Vec<Arc<Request>>,
}

impl View {
    /// Evaluates a window.
    pub fn new(snapshot: Snapshot, requests: Vec<Arc<Request>>) -> Self {
        let findings = verdict::findings(&snapshot, &Thresholds::default());
        let verdict = verdict::of(&snapshot, &findings);
        Self { snapshot, findings, verdict, requests }
    }
}

/// How it stands, and what has happened so far.
#[derive(Clone, Debug)]
pub struct State {
    /// Whether the target is watched.
    pub status: Status,
    /// Since when.
    pub since: Instant,
    /// Times that programs were attached.
    pub attaches: u64,
    /// Times that the target was lost.
    pub losses_of_target: u64,
    /// Windows that have ended.
    pub windows: u64,
    /// What is attached now.
    pub modes: Modes,
}

/// In which modes programs are attached to the target now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Light mode.
    pub light: bool,
    /// Every system call is seen: all the time, or for a while beside light mode.
    pub full: bool,
}

impl Modes {
    /// Whether what takes system calls is not seen now.
    pub const fn is_light_alone(self) -> bool {
        self.light && !self.full
    }
}

/// Full traces beside light mode.
#[derive(Clone, Debug, Default)]
pub struct FullTraces {
    /// Begun, by the label of their cause.
    pub begun: BTreeMap<&'static str, u64>,
    /// Not begun though a condition was met: the budget was used up.
    pub refused: u64,
    /// Full traces that could not be attached, or were cut off as the target ended.
    pub failed: u64,
    /// Why the last of these.
    pub failure: Option<String>,
    /// The last window traced in full.
    pub last: Option<Arc<View>>,
    /// The one that goes on, as it was seen last.
    pub current: Option<(Instant, Arc<View>)>,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub struct Known {
    /// How it stands.
    pub state: State,
    /// The target's processes, while it is watched.
    pub target: Option<TargetNow>,
    /// Finished requests.
    pub tally: Tally,
    /// Counts up to the last look.
    pub counts: Counts,
    /// The last window that has ended.
    pub last: Option<Arc<View>>,
    /// The open window, as it was seen last.
    pub current: Option<(Instant, Arc<View>)>,
    /// Full traces.
    pub full: FullTraces,
    /// Changes of the server.
    pub changed: Changed,
    /// How much of the stream is in memory; `None`: none is to be.
    pub held: Option<Held>,
    /// What was set aside of it, by the label of its cause.
    pub frozen: BTreeMap<&'static str, u64>,
    /// What is taken of the machine; `None`: that has no limit.
    pub cost: Option<CostNow>,
}

/// Changes of the server of which it is known what became of them.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// How many, by the name of what became of them.
    pub by_outcome: BTreeMap<&'static str, u64>,
    /// The last, and since when it is known.
    pub last: Option<(Instant, Arc<Change>)>,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    known: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    known: Known,
    /// Counts of the windows that have ended.
    ended: Counts,
    /// Counts of the open window.
    open: Counts,
    /// Counts of the full trace beside the open window.
    open_full: Counts,
}

impl Default for Board {
    fn default() -> Self {
        let state = State {
            status: Status::Waiting("not looked yet".to_owned()),
            since: Instant::now(),
            attaches: 0,
            losses_of_target: 0,
            windows: 0,
            modes: Modes::default(),
        };
        let known = Known {
            state,
            target: None,
            tally: Tally::default(),
            counts: Counts::default(),
            last: None,
            current: None,
            full: FullTraces::default(),
            changed: Changed::default(),
            held: None,
            frozen: BTreeMap::new(),
            cost: None,
        };
        let [ended, open, open_full] = [(); 3].map(|()| Counts::default());
        Self { known: Mutex::new(Inner { known, ended, open, open_full }) }
    }
}

impl Board {
    /// What is known now.
    pub fn known(&self) -> Known {
        self.lock().known.clone()
    }

    /// How it stands now.
    pub fn state(&self) -> State {
        self.lock().known.state.clone()
    }

    /// Whether the target is not watched for a while.
    pub fn is_paused(&self) -> bool {
        matches!(self.lock().known.state.status, Status::Paused(_))
    }

    /// The last window that has ended.
    pub fn last(&self) -> Option<Arc<View>> {
        self.lock().known.last.clone()
    }

    /// The open window, as it was seen last, and when.
    pub fn current(&self) -> Option<(Instant, Arc<View>)> {
        self.lock().known.current.clone()
    }

    /// How it stands, and full traces.
    pub fn health(&self) -> (State, FullTraces) {
        let inner = self.lock();
        (inner.known.state.clone(), inner.known.full.clone())
    }

    /// The last change of the server of which it is known what became of it.
    pub fn last_change(&self) -> Option<(Instant, Arc<Change>)> {
        self.lock().known.changed.last.clone()
    }

    /// The last window traced in full.
    pub fn last_full(&self) -> Option<Arc<View>> {
        self.lock().known.full.last.clone()
    }

    /// The full trace that goes on beside light mode, as it was seen last.
    pub fn current_full(&self) -> Option<Arc<View>> {
        self.lock().known.full.current.clone().map(|(_, view)| view)
    }

    /// Findings that are present in the last whole window.
    pub fn present(&self) -> Vec<&'static str> {
        let last = self.last();
        let findings = last.iter().flat_map(|view| &view.findings);
        findings.filter(|finding| finding.answer == Answer::Present).map(|finding| finding.id).collect()
    }

    /// How long the requests took that ended at `since_ns` or later, in nanoseconds: of the newest ones.
    pub fn durations_ns(&self, since_ns: u64) -> Vec<u64> {
        self.lock().known.tally.newest.durations_ns(since_ns)
    }

    /// The state of the target changes.
    pub fn set_status(&self, status: Status) {
        let known = &mut self.lock().known;
        let state = &mut known.state;
        if state.status == status {
            return;
        }
        match (&state.status, &status) {
            (_, Status::Watching) => state.attaches = state.attaches.saturating_add(1),
            (Status::Watching | Status::Paused(_), _) => {
                let is_lost = !matches!(status, Status::Paused(_));
                state.losses_of_target = state.losses_of_target.saturating_add(u64::from(is_lost));
                (known.target, known.current, known.held) = (None, None, None);
                state.modes = Modes::default();
            }
            _ => {}
        }
        (state.status, state.since) = (status, Instant::now());
    }

    /// The target is attached to, in this mode.
    pub fn set_light(&self, is_light: bool) {
        self.lock().known.state.modes = Modes { light: is_light, full: !is_light };
    }

    /// A full trace beside light mode goes on, or has ended.
    pub fn set_full(&self, is_on: bool) {
        let modes = &mut self.lock().known.state.modes;
        modes.full = modes.light && is_on;
    }

    /// A full trace is being attached.
    pub fn full_begins(&self, cause: &Cause) {
        let begun = &mut self.lock().known.full.begun;
        let count = begun.entry(cause.label()).or_default();
        *count = count.saturating_add(1);
    }

    /// A condition is met, and the budget is used up.
    pub fn full_refused(&self) {
        let full = &mut self.lock().known.full;
        full.refused = full.refused.saturating_add(1);
    }

    /// A full trace has no window.
    pub fn full_failed(&self, reason: String) {
        let full = &mut self.lock().known.full;
        full.failed = full.failed.saturating_add(1);
        full.failure = Some(reason);
    }

    /// A request is finished.
    pub fn request(&self, request: &Request) {
        self.lock().known.tally.add(request);
    }

    /// The open window as it stands.
    pub fn look(&self, snapshot: Snapshot, target: TargetNow) {
        let counts = Counts::of(&snapshot);
        let requests = self.lock().known.tally.newest.since(snapshot.window.start_ns);
        // Rules are judged outside the lock.
        let view = Arc::new(View::new(snapshot, requests));
        let mut inner = self.lock();
        inner.open = counts;
        inner.show();
        inner.known.target = Some(target);
        inner.known.current = Some((Instant::now(), view));
    }

    /// The window of the full trace beside light mode, as it stands.
    pub fn look_full(&self, snapshot: Snapshot, requests: Vec<Arc<Request>>) {
        let counts = Counts::beside(&snapshot, &self.shown());
        let view = Arc::new(View::new(snapshot, requests));
        let mut inner = self.lock();
        inner.open_full = counts;
        inner.show();
        inner.known.full.current = Some((Instant::now(), view));
    }

    /// A window has ended; with what is to be said of it.
    pub fn window(&self, snapshot: Snapshot) -> Arc<View> {
        let counts = Counts::of(&snapshot);
        let requests = self.lock().known.tally.newest.since(snapshot.window.start_ns);
        let view = Arc::new(View::new(snapshot, requests));
        let mut inner = self.lock();
        inner.open = Counts::default();
        inner.end(&counts);
        if !view.snapshot.attached.is_light() {
            inner.known.full.last = Some(Arc::clone(&view));
        }
        inner.known.last = Some(Arc::clone(&view));
        view
    }

    /// So much of the stream is in memory.
    pub fn set_held(&self, held: Option<Held>) {
        self.lock().known.held = held;
    }

    /// What is taken of the machine, where that has a limit.
    pub fn set_cost(&self, cost: CostNow) {
        self.lock().known.cost = Some(cost);
    }

    /// What is taken of the machine; `None`: that has no limit.
    pub fn cost(&self) -> Option<CostNow> {
        self.lock().known.cost.clone()
    }

    /// What is in memory was set aside, for this cause.
    pub fn froze(&self, cause: &'static str) {
        let count = &mut self.lock().known.frozen;
        let count = count.entry(cause).or_default();
        *count = count.saturating_add(1);
    }

    /// It is known what became of a change of the server.
    pub fn changed(&self, change: Change) {
        let changed = &mut self.lock().known.changed;
        let count = changed.by_outcome.entry(change.outcome).or_default();
        *count = count.saturating_add(1);
        changed.last = Some((Instant::now(), Arc::new(change)));
    }

    /// The window of the full trace beside light mode has ended.
    pub fn window_full(&self, snapshot: Snapshot, requests: Vec<Arc<Request>>) {
        let counts = Counts::beside(&snapshot, &self.shown());
        let view = Arc::new(View::new(snapshot, requests));
        let mut inner = self.lock();
        inner.open_full = Counts::default();
        inner.end(&counts);
        inner.known.full.current = None;
        inner.known.full.last = Some(Arc::clone(&view));
        inner.known.last = Some(view);
    }

    /// What is counted so far.
    fn shown(&self) -> Counts {
        self.lock().known.counts.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked while it held the lock had only added to sums.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A window of one of the two sessions has ended.
    fn end(&mut self, counts: &Counts) {
        self.ended.add(counts);
        self.show();
        self.known.state.windows = self.known.state.windows.saturating_add(1);
    }

    /// Counts of all ended windows and the open ones.
    fn show(&mut self) {
        let mut now = self.ended.clone();
        now.add(&self.open);
        now.add(&self.open_full);
        now.raise_to(&self.known.counts);
        self.known.counts = now;
    }
}
