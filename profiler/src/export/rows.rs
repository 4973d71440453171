//! A set of files: rows of one run, window after window, in all tables.
//!
//! In: entries as they come, the snapshot of each window at its end. Out: a file in each table, all of them
//! or none. Requests are written as they come to their end, so memory holds a row group and not the set.

use std::collections::BTreeMap;
use std::sync::Arc;

use profiler_core::finding::threshold::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::model::dropped::{Cause, Example};
use profiler_core::model::path_shape::write_path_shape;
use profiler_core::model::request::Request;
use profiler_core::timeline::Entry;
use profiler_core::verdict;

use super::ExportError;
use super::context::Context;
use super::endpoints::Endpoints;
use super::place::Place;
use super::table::Table;
use super::tables::connections::{self, ConnectionRow};
use super::tables::findings::{self, FindingRow};
use super::tables::gil_waits::{self, GilWaitRow};
use super::tables::leaves::{self, LeafRow};
use super::tables::requests::{self, RequestRow};
use super::tables::slots::{self, SlotRow};
pub(super) use super::tables::windows::Aside;
use super::tables::windows::{self, WindowRow};
use super::tables::{Of, route};

/// What stands for the route of requests beyond the bound.
const OTHER_ROUTE: &str = "{other}";
/// What stands for their method, by OpenTelemetry.
const OTHER_METHOD: &str = "_OTHER";

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows of `requests`.
    pub requests: u64,
    /// Windows.
    pub windows: u64,
    /// Files.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

/// What a set holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Rows of a row group: so many are in memory while it fills.
    pub(super) row_group_rows: usize,
    /// Methods with routes that are distinguished; later ones are one.
    pub(super) endpoints: usize,
}

/// Whether an entry becomes a row.
pub(super) const fn is_row(entry: &Entry) -> bool {
    matches!(entry, Entry::Request(_) | Entry::Dropped { .. })
}

/// All tables of a recording.
struct Tables {
    requests: Table<RequestRow>,
    slots: Table<SlotRow>,
    gil_waits: Table<GilWaitRow>,
    leaves: Table<LeafRow>,
    connections: Table<ConnectionRow>,
    findings: Table<FindingRow>,
    windows: Table<WindowRow>,
}

/// What is written, and how far it is. Fields are dropped in this order: files before their directories.
pub(super) struct Rows {
    tables: Tables,
    place: Place,
    of: Of,
    /// Requests that ended in the window and are written.
    completed: u64,
    endpoints: Endpoints,
    /// Memory for the route of the next request.
    route: String,
    /// Requests of the window that have the route of all others.
    in_other_routes: u64,
    /// Connections of the window that are written, by cause: how many, and how long they waited.
    dropped: BTreeMap<Cause, (u64, u64)>,
    /// The day in which the last window ended.
    last_day: Option<i64>,
    written: Written,
}

impl Rows {
    /// Begins a set at its place, with the window of this number.
    ///
    /// # Errors
    /// If the parquet crate refuses a schema.
    pub(super) fn begin(
        place: Place,
        context: Arc<Context>,
        limits: Limits,
        window: u64,
    ) -> Result<Self, ExportError> {
        let rows = limits.row_group_rows;
        let tables = Tables {
            requests: Table::new(requests::NAME, requests::columns(), rows)?,
            slots: Table::new(slots::NAME, slots::columns(), rows)?,
            gil_waits: Table::new(gil_waits::NAME, gil_waits::columns(), rows)?,
            leaves: Table::new(leaves::NAME, leaves::columns(), rows)?,
            connections: Table::new(connections::NAME, connections::columns(), rows)?,
            findings: Table::new(findings::NAME, findings::columns(), rows)?,
            windows: Table::new(windows::NAME, windows::columns(), rows)?,
        };
        Ok(Self {
            tables,
            place,
            of: Of { context, window },
            completed: 0,
            endpoints: Endpoints::up_to(limits.endpoints),
            route: String::new(),
            in_other_routes: 0,
            dropped: BTreeMap::new(),
            last_day: None,
            written: Written::default(),
        })
    }

    /// What has been taken so far; files are counted when they are published.
    pub(super) const fn written(&self) -> Written {
        self.written
    }

    /// Writes these entries, as those of the present window.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn take(&mut self, entries: &mut Vec<Entry>) -> Result<(), ExportError> {
        entries.drain(..).try_for_each(|entry| self.entry(entry))
    }

    fn entry(&mut self, entry: Entry) -> Result<(), ExportError> {
        match entry {
            Entry::Request(request) => self.request(request),
            Entry::Dropped { cause, example } => {
                let (count, waited_ns) = self.dropped.entry(cause).or_default();
                *count = count.saturating_add(1);
                *waited_ns = waited_ns.saturating_add(example.waited_ns.unwrap_or(0));
                self.dropped_connection(cause, example)
            }
            _ => Ok(()),
        }
    }

    fn request(&mut self, mut request: Box<Request>) -> Result<(), ExportError> {
        let day = self.of.context.day(request.times.end_ns);
        self.completed = self.completed.saturating_add(u64::from(!request.seen.open));
        self.written.requests = self.written.requests.saturating_add(1);
        let mut route = std::mem::take(&mut self.route);
        route.clear();
        write_path_shape(&request.http.path, &mut route);
        if !self.endpoints.distinguishes(&request.http.method, &route) {
            (request.http.method, route) = (OTHER_METHOD.to_owned(), OTHER_ROUTE.to_owned());
            self.in_other_routes = self.in_other_routes.saturating_add(1);
        }
        let row = RequestRow { of: self.of.clone(), route, request };
        let pushed = self.tables.requests.push(&self.place, day, &row);
        self.route = row.route;
        pushed
    }

    fn dropped_connection(&mut self, cause: Cause, mut example: Box<Example>) -> Result<(), ExportError> {
        let mut route = example.asked.as_ref().map(|asked| route(&asked.path)).unwrap_or_default();
        if let Some(asked) = &mut example.asked
            && !self.endpoints.distinguishes(&asked.method, &route)
        {
            (asked.method, route) = (OTHER_METHOD.to_owned(), OTHER_ROUTE.to_owned());
        }
        self.connection(&ConnectionRow::new(self.of.clone(), cause, example, route))
    }

    fn connection(&mut self, row: &ConnectionRow) -> Result<(), ExportError> {
        let day = self.of.context.day(row.time_ns());
        self.tables.connections.push(&self.place, day, row)
    }

    /// A window has ended while `entries` came: those of the next one are left there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn end_window(
        &mut self,
        entries: &mut Vec<Entry>,
        snapshot: Snapshot,
        aside: Aside,
    ) -> Result<(), ExportError> {
        let counted = snapshot.requests.completed.saturating_sub(aside.not_written);
        let mut later = Vec::new();
        for entry in std::mem::take(entries) {
            let is_of_it = match &entry {
                // Requests come in the order in which they are counted. Those that are open are of the last
                // window of all.
                Entry::Request(request) => !request.seen.open && self.completed < counted,
                Entry::Dropped { cause, .. } => {
                    self.dropped.get(cause).map_or(0, |(count, _)| *count) < snapshot.dropped.count(*cause)
                }
                _ => true,
            };
            if is_of_it {
                self.entry(entry)?;
            } else {
                later.push(entry);
            }
        }
        *entries = later;
        self.window(snapshot, aside)?;
        self.next_window();
        Ok(())
    }

    /// A window has ended that nothing is known of: all `entries` are taken for the next one's.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn skip_window(&mut self, entries: &mut Vec<Entry>) -> Result<(), ExportError> {
        self.next_window();
        self.take(entries)
    }

    fn next_window(&mut self) {
        self.of.window = self.of.window.saturating_add(1);
        (self.completed, self.in_other_routes) = (0, 0);
        self.dropped.clear();
    }

    /// Writes what a window says beside its requests.
    fn window(&mut self, mut snapshot: Snapshot, mut aside: Aside) -> Result<(), ExportError> {
        if !self.of.context.raw_paths {
            fold_paths(&mut snapshot);
        }
        let (of, end_ns) = (self.of.clone(), snapshot.window.end_ns);
        let day = of.context.day(end_ns);
        self.last_day = Some(day);
        aside.in_other_routes = self.in_other_routes;
        for finding in verdict::findings(&snapshot, &Thresholds::default()) {
            self.tables.findings.push(&self.place, day, &FindingRow::new(of.clone(), end_ns, finding))?;
        }
        for row in gil_waits::rows(&of, &snapshot) {
            self.tables.gil_waits.push(&self.place, day, &row)?;
        }
        for row in leaves::rows(&of, &snapshot) {
            self.tables.leaves.push(&self.place, day, &row)?;
        }
        for slot in &snapshot.slots.observed {
            self.tables.slots.push(&self.place, day, &SlotRow { of: of.clone(), slot: slot.clone() })?;
        }
        if snapshot.dropped.not_measured.is_none() {
            let dropped = std::mem::take(&mut self.dropped);
            let listed = |cause| dropped.get(&cause).copied().unwrap_or_default();
            for row in connections::rest(&of, &snapshot, &listed) {
                self.connection(&row)?;
            }
        }
        self.tables.windows.push(&self.place, day, &WindowRow::new(of, Box::new(snapshot), aside))?;
        self.written.windows = self.written.windows.saturating_add(1);
        Ok(())
    }

    /// Writes the last window of the run, with all that is left.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn last_window(
        &mut self,
        entries: &mut Vec<Entry>,
        snapshot: Snapshot,
        aside: Aside,
    ) -> Result<(), ExportError> {
        self.take(entries)?;
        self.window(snapshot, aside)
    }

    /// Makes everything visible: `windows` last, so that who finds one finds all of it.
    ///
    /// # Errors
    /// If it cannot be written; nothing of it is left then, unless files were visible already.
    pub(super) fn publish(mut self) -> Result<Written, ExportError> {
        let day = self.last_day.unwrap_or_default();
        let (Tables { requests, slots, gil_waits, leaves, connections, findings, windows }, place) =
            (&mut self.tables, &self.place);
        requests.seal(place, day)?;
        slots.seal(place, day)?;
        gil_waits.seal(place, day)?;
        leaves.seal(place, day)?;
        connections.seal(place, day)?;
        findings.seal(place, day)?;
        windows.seal(place, day)?;
        let Tables { requests, slots, gil_waits, leaves, connections, findings, windows } = self.tables;
        let published = [
            requests.publish()?,
            slots.publish()?,
            gil_waits.publish()?,
            leaves.publish()?,
            connections.publish()?,
            findings.publish()?,
            windows.publish()?,
        ];
        let (files, bytes) =
            published.iter().fold((0, 0), |(files, bytes), one| (files + one.0, bytes + one.1));
        Ok(Written { files, bytes, ..self.written })
    }
}

/// Findings name the request that a worker was killed over: by its shape too.
fn fold_paths(snapshot: &mut Snapshot) {
    let asked = snapshot.dropped.worker_ends.iter_mut().filter_map(|end| end.asked.as_mut());
    let examples = snapshot.dropped.causes.iter_mut().flat_map(|counted| &mut counted.examples);
    for asked in asked.chain(examples.filter_map(|example| example.asked.as_mut())) {
        asked.path = route(&asked.path);
    }
    for request in &mut snapshot.requests.slowest {
        request.http.path = route(&request.http.path);
    }
}
