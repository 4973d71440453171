//! Rows of an agent that never ends: set of files after set of files, in a directory with a budget.
//!
//! In: runs with their entries and windows, as they come. Out: files, and [`Totals`] that say what became of
//! every request. A set ends with a window. What cannot be written is lost as a whole set, and counted; the
//! next window is tried again.

mod courier;
mod store;
mod surroundings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use profiler_core::model::Snapshot;
use profiler_core::timeline::Entry;

use super::ExportError;
use super::context::{Context, Labels};
use super::place::Place;
use super::rows::{Aside, Limits, Rows, Written};
use crate::session::known::Known;

pub use courier::Courier;
use store::Store;
use surroundings::{Here, Surroundings};

/// Memory while a row group fills: some 7 MB for requests.
const ROW_GROUP_ROWS: usize = 16_384;
/// Methods with routes that a set distinguishes: ten times those of the metrics.
const MAX_ENDPOINTS: usize = 1_000;
/// Requests after which a set is full.
const MAX_REQUESTS: u64 = 1_000_000;
/// Bytes of a request that a budget reckons with before they are written.
const REQUEST_BYTES: u64 = 64;
/// The share of the budget that the set in the making may take: the rest is for those that are whole.
const IN_THE_MAKING: u64 = 8;
/// A wall clock that was set by more than this ends a set, so that its times are off for one window at most.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// What is written where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory.
    pub to: PathBuf,
    /// What is said of the service.
    pub labels: Labels,
    /// Paths as clients sent them are wanted.
    pub raw_paths: bool,
    /// How long a set is; it ends with the window in which that is over.
    pub every: Duration,
    /// How many bytes the sets of this agent may take.
    pub budget_bytes: u64,
}

/// What became of all requests so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In files that are whole.
    pub written: Written,
    /// Requests that were not taken, as writing was behind.
    pub requests_behind: u64,
    /// Windows that were not taken for the same reason.
    pub windows_behind: u64,
    /// Requests that could not be written.
    pub requests_failed: u64,
    /// Windows that could not be written.
    pub windows_failed: u64,
    /// Requests in sets that were removed to keep the budget.
    pub requests_removed: u64,
    /// Windows in them.
    pub windows_removed: u64,
    /// Unfinished files of agents that were killed, removed.
    pub files_abandoned: u64,
    /// What the sets of this agent take now.
    pub stored_bytes: u64,
    /// What they may take.
    pub budget_bytes: u64,
    /// Why nothing is written now.
    pub failing: Option<String>,
}

impl Totals {
    /// Whether a request that was seen is in no file, beside those that the budget removed.
    pub const fn any_missing(&self) -> bool {
        self.requests_behind > 0
            || self.requests_failed > 0
            || self.windows_behind > 0
            || self.windows_failed > 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { requests, windows, files, bytes } = self.written;
        write!(out, "rows: requests {requests}, windows {windows}, files {files}, bytes {bytes}")?;
        if self.windows_removed > 0 {
            let (windows, requests) = (self.windows_removed, self.requests_removed);
            write!(out, "; removed to keep the budget: windows {windows}, requests {requests}")?;
        }
        if self.any_missing() {
            let requests = self.requests_behind.saturating_add(self.requests_failed);
            let windows = self.windows_behind.saturating_add(self.windows_failed);
            write!(out, "; not written: windows {windows}, requests {requests}")?;
        }
        self.failing.as_ref().map_or(Ok(()), |why| write!(out, "; {why}"))
    }
}

/// The writing itself.
struct Stream {
    settings: Settings,
    surroundings: Box<dyn Surroundings>,
    store: Store,
    run: Option<Run>,
    totals: Totals,
}

/// One attachment to a target.
struct Run {
    /// As it was when the run began: its id stays.
    context: Context,
    /// Number of the present window.
    window: u64,
    /// Begins with its first entry or its first window's end.
    set: Option<Set>,
    /// Writing failed: nothing is written until the next window.
    has_failed: bool,
    /// Entries since the window was ended, until its snapshot says which are of it.
    held: Option<Vec<Entry>>,
}

/// The files in the making.
struct Set {
    rows: Rows,
    context: Arc<Context>,
    /// When its first window began.
    began_ns: Option<u64>,
}

impl Stream {
    /// Looks at the directory: it is made where it does not exist, and what a killed agent left unfinished is
    /// removed.
    fn open(settings: Settings, surroundings: Box<dyn Surroundings>) -> Result<Self, ExportError> {
        let store = Store::open(&settings.to, &settings.labels.service_name, &surroundings.machine())?;
        let mut totals = Totals { budget_bytes: settings.budget_bytes, ..Totals::default() };
        totals.files_abandoned = store.remove_abandoned();
        let mut stream = Self { settings, surroundings, store, run: None, totals };
        stream.keep_budget();
        Ok(stream)
    }

    /// A run begins, of which this is known.
    fn begin(&mut self, known: &Known, began_ns: u64) {
        // One that got no end: the target's end was not seen in order.
        self.give_up_run();
        let context = Context::new(self.settings.labels.clone(), self.settings.raw_paths, known, began_ns);
        self.run = Some(Run { context, window: 0, set: None, has_failed: false, held: None });
    }

    /// Entries come, in their order.
    fn entries(&mut self, mut entries: Vec<Entry>) {
        let Some(run) = &mut self.run else { return };
        match &mut run.held {
            Some(held) => held.append(&mut entries),
            None => self.write(&mut entries),
        }
    }

    /// The window was ended just now; its snapshot comes soon.
    fn roll(&mut self) {
        if let Some(run) = &mut self.run {
            run.held.get_or_insert_default();
        }
    }

    /// The snapshot of the window that was ended comes, or it had to be left out; `not_written` requests of
    /// it were.
    fn window(&mut self, snapshot: Option<Snapshot>, not_written: u64) {
        let mut entries = self.held();
        let end_ns = snapshot.as_ref().map(|snapshot| snapshot.window.end_ns);
        self.end_window(
            &mut entries,
            snapshot,
            |rows, entries, snapshot, aside| rows.end_window(entries, snapshot, aside),
            not_written,
        );
        if self.is_set_over(end_ns) {
            self.publish();
        }
        self.write(&mut entries);
    }

    /// The run is over; this is its last window.
    fn end(&mut self, snapshot: Option<Snapshot>, not_written: u64) {
        let mut entries = self.held();
        self.end_window(
            &mut entries,
            snapshot,
            |rows, entries, snapshot, aside| rows.last_window(entries, snapshot, aside),
            not_written,
        );
        self.publish();
        self.run = None;
    }

    fn held(&mut self) -> Vec<Entry> {
        self.run.as_mut().and_then(|run| run.held.take()).unwrap_or_default()
    }

    fn end_window(
        &mut self,
        entries: &mut Vec<Entry>,
        snapshot: Option<Snapshot>,
        end: impl FnOnce(&mut Rows, &mut Vec<Entry>, Snapshot, Aside) -> Result<(), ExportError>,
        not_written: u64,
    ) {
        match snapshot {
            Some(snapshot) => {
                let aside = self.aside(not_written);
                let start_ns = snapshot.window.start_ns;
                self.attempt(entries, |set, entries| {
                    set.began_ns.get_or_insert(start_ns);
                    end(&mut set.rows, entries, snapshot, aside)
                });
            }
            // Its requests have rows without it: the gap in the numbers of windows shows that one is missing.
            None => self.attempt(entries, |set, entries| set.rows.skip_window(entries)),
        }
        let Some(run) = &mut self.run else { return };
        self.totals.windows_failed = self.totals.windows_failed.saturating_add(u64::from(run.has_failed));
        run.window = run.window.saturating_add(1);
        run.has_failed = false;
    }

    /// Whether the window should end now, as the set is full.
    fn is_full(&self) -> bool {
        let requests = (self.settings.budget_bytes / IN_THE_MAKING / REQUEST_BYTES).min(MAX_REQUESTS);
        let set = self.run.as_ref().and_then(|run| run.set.as_ref());
        set.is_some_and(|set| set.rows.written().requests >= requests)
    }

    /// Writes entries of the present window.
    fn write(&mut self, entries: &mut Vec<Entry>) {
        if !entries.is_empty() {
            self.attempt(entries, |set, entries| set.rows.take(entries));
        }
    }

    /// Does something to the set, which is begun where there is none. Where it fails, all of the set is lost,
    /// and these entries.
    fn attempt(
        &mut self,
        entries: &mut Vec<Entry>,
        act: impl FnOnce(&mut Set, &mut Vec<Entry>) -> Result<(), ExportError>,
    ) {
        let Some(run) = &mut self.run else { return };
        let requests = requests_of(entries);
        let mut lost = Written { requests, ..Written::default() };
        let outcome = if run.has_failed {
            Err(None)
        } else {
            let set = match run.set.take() {
                Some(set) => Ok(set),
                None => begin_set(&self.settings, self.surroundings.as_ref(), &mut self.store, run),
            };
            set.and_then(|mut set| {
                let before = set.rows.written();
                lost = Written { requests: before.requests.saturating_add(requests), ..before };
                // Where it fails the set is dropped, which removes its files.
                act(&mut set, entries).map(|()| set)
            })
            .map_err(Some)
        };
        match outcome {
            Ok(set) => run.set = Some(set),
            Err(error) => {
                run.has_failed = true;
                entries.clear();
                self.is_lost(lost, error.map(|error| error.to_string()));
            }
        }
    }

    fn aside(&self, not_written: u64) -> Aside {
        let set = self.run.as_ref().and_then(|run| run.set.as_ref());
        let step_ns = set.map_or(0, |set| self.clock_step_ns(set));
        Aside { not_written, in_other_routes: 0, clock_step_ns: Some(step_ns) }
    }

    /// How far the wall clock was set since the set began.
    fn clock_step_ns(&self, set: &Set) -> i64 {
        self.surroundings.wall_clock_offset_ns().saturating_sub(set.context.session.wall_clock_offset_ns)
    }

    /// Whether the set ends with the window that ended at `end_ns`: its time is over, it is full, the day or
    /// the host's name is another one, or the clock was set.
    fn is_set_over(&self, end_ns: Option<u64>) -> bool {
        let is_full = self.is_full();
        let Some(set) = self.run.as_ref().and_then(|run| run.set.as_ref()) else { return false };
        let Some(end_ns) = end_ns else { return is_full };
        let since_ns = set.began_ns.unwrap_or(end_ns);
        let every_ns = u64::try_from(self.settings.every.as_nanos()).unwrap_or(u64::MAX);
        let is_old = end_ns.saturating_sub(since_ns) >= every_ns;
        is_full
            || is_old
            || set.context.day(since_ns) != set.context.day(end_ns)
            || self.clock_step_ns(set).unsigned_abs() >= CLOCK_STEP_NS
            || self.surroundings.host_name() != set.context.session.host_name
    }

    /// Makes the set visible, and keeps the budget.
    fn publish(&mut self) {
        let Some(set) = self.run.as_mut().and_then(|run| run.set.take()) else { return };
        let before = set.rows.written();
        match set.rows.publish() {
            Ok(written) => {
                let sum = &mut self.totals.written;
                sum.requests = sum.requests.saturating_add(written.requests);
                sum.windows = sum.windows.saturating_add(written.windows);
                sum.files = sum.files.saturating_add(written.files);
                sum.bytes = sum.bytes.saturating_add(written.bytes);
                self.totals.failing = None;
            }
            Err(error) => self.is_lost(before, Some(error.to_string())),
        }
        self.keep_budget();
    }

    fn keep_budget(&mut self) {
        let whole_bytes = self.settings.budget_bytes - self.settings.budget_bytes / IN_THE_MAKING;
        let kept = self.store.keep_within(whole_bytes);
        self.totals.stored_bytes = kept.stored_bytes;
        self.totals.requests_removed = self.totals.requests_removed.saturating_add(kept.requests_removed);
        self.totals.windows_removed = self.totals.windows_removed.saturating_add(kept.windows_removed);
    }

    fn give_up_run(&mut self) {
        let set = self.run.take().and_then(|run| run.set);
        if let Some(set) = set {
            self.is_lost(set.rows.written(), Some("the run had no end".to_owned()));
        }
    }

    fn is_lost(&mut self, lost: Written, why: Option<String>) {
        self.totals.requests_failed = self.totals.requests_failed.saturating_add(lost.requests);
        self.totals.windows_failed = self.totals.windows_failed.saturating_add(lost.windows);
        self.totals.failing = why.or(self.totals.failing.take());
    }
}

/// Begins a set: with the name that the host has now, and the clock as it goes now.
fn begin_set(
    settings: &Settings,
    surroundings: &dyn Surroundings,
    store: &mut Store,
    run: &Run,
) -> Result<Set, ExportError> {
    let mut context = run.context.clone();
    context.session.host_name = surroundings.host_name();
    context.session.wall_clock_offset_ns = surroundings.wall_clock_offset_ns();
    let stem = store.next_stem(&context.recording_id);
    let (service, host) = (settings.labels.service_name.clone(), context.session.host_name.clone());
    let place = Place::new(settings.to.clone(), service, host, stem);
    let context = Arc::new(context);
    let limits = Limits { row_group_rows: ROW_GROUP_ROWS, endpoints: MAX_ENDPOINTS };
    let rows = Rows::begin(place, Arc::clone(&context), limits, run.window)?;
    Ok(Set { rows, context, began_ns: None })
}

fn requests_of(entries: &[Entry]) -> u64 {
    let requests = entries.iter().filter(|entry| matches!(entry, Entry::Request(_))).count();
    u64::try_from(requests).unwrap_or(u64::MAX)
}
