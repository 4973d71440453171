//! What is known now: written by the session's thread, read by the one that serves.
//!
//! In: requests, windows, the state of the target. Out: the same, to be shown. Nothing is computed under the lock but
//! sums.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use profiler_core::finding::threshold::Thresholds;
use profiler_core::finding::{Finding, evaluate};
use profiler_core::model::Snapshot;
use profiler_core::model::request::Request;
use tokio::sync::oneshot;

use super::counts::Counts;
use super::tally::Tally;

/// How it stands with the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is not there, or cannot be watched yet; why.
    Waiting(String),
    /// It was found; the programs are being attached.
    Attaching,
    /// It is watched.
    Watching,
}

/// Somebody wants to see the open window as it stands: answered once it is on the board.
pub type Question = oneshot::Sender<()>;

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
    /// The newest requests that ended in it.
    pub requests: Vec<Arc<Request>>,
}

impl View {
    /// Evaluates a window.
    #[must_use]
    pub fn new(snapshot: Snapshot, requests: Vec<Arc<Request>>) -> Self {
        let findings = evaluate(&snapshot, &Thresholds::default());
        Self { snapshot, findings, requests }
    }
}

/// How it stands, and what has happened so far.
#[derive(Clone, Debug)]
pub struct State {
    /// How it stands with the target.
    pub status: Status,
    /// Since when.
    pub since: Instant,
    /// Times that programs were attached.
    pub attaches: u64,
    /// Times that the target was lost.
    pub losses_of_target: u64,
    /// Windows that have ended.
    pub windows: u64,
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
}

impl Default for Board {
    fn default() -> Self {
        let state = State {
            status: Status::Waiting("not looked yet".to_owned()),
            since: Instant::now(),
            attaches: 0,
            losses_of_target: 0,
            windows: 0,
        };
        let known = Known {
            state,
            target: None,
            tally: Tally::default(),
            counts: Counts::default(),
            last: None,
            current: None,
        };
        Self { known: Mutex::new(Inner { known, ended: Counts::default() }) }
    }
}

impl Board {
    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        self.lock().known.clone()
    }

    /// How it stands now.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().known.state.clone()
    }

    /// The last window that has ended.
    #[must_use]
    pub fn last(&self) -> Option<Arc<View>> {
        self.lock().known.last.clone()
    }

    /// The open window, as it was seen last, and when.
    #[must_use]
    pub fn current(&self) -> Option<(Instant, Arc<View>)> {
        self.lock().known.current.clone()
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
            (Status::Watching, _) => {
                state.losses_of_target = state.losses_of_target.saturating_add(1);
                (known.target, known.current) = (None, None);
            }
            _ => {}
        }
        (state.status, state.since) = (status, Instant::now());
    }

    /// A request is finished.
    pub fn request(&self, request: &Request) {
        self.lock().known.tally.add(request);
    }

    /// The open window as it stands.
    pub fn look(&self, snapshot: Snapshot, target: TargetNow) {
        let counts = Counts::of(&snapshot);
        let requests = self.lock().known.tally.newest(snapshot.window.start_ns);
        // Rules are judged outside the lock.
        let view = Arc::new(View::new(snapshot, requests));
        let mut inner = self.lock();
        inner.show(&counts);
        inner.known.target = Some(target);
        inner.known.current = Some((Instant::now(), view));
    }

    /// A window has ended.
    pub fn window(&self, snapshot: Snapshot) {
        let counts = Counts::of(&snapshot);
        let requests = self.lock().known.tally.newest(snapshot.window.start_ns);
        let view = Arc::new(View::new(snapshot, requests));
        let mut inner = self.lock();
        inner.ended.add(&counts);
        inner.show(&Counts::default());
        inner.known.state.windows = inner.known.state.windows.saturating_add(1);
        inner.known.last = Some(view);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked while it held the lock had only added to sums.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts of all ended windows and the open one.
    fn show(&mut self, open: &Counts) {
        let mut now = self.ended.clone();
        now.add(open);
        now.raise_to(&self.known.counts);
        self.known.counts = now;
    }
}
