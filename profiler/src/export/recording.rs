//! One recording as rows: replayed, and written as it goes.
//!
//! In: a recording. Out: a file in each table, all of them or none. Requests are written as they come to their end, so memory
//! does not grow with the length of the recording.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use profiler_core::fact::Fact;
use profiler_core::finding::evaluate;
use profiler_core::finding::threshold::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::model::dropped::Cause;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::stream::Item;
use profiler_core::timeline::Entry;

use super::ExportError;
use super::context::{Context, Labels};
use super::place::Place;
use super::table::Table;
use super::tables::connections::{self, ConnectionRow};
use super::tables::findings::{self, FindingRow};
use super::tables::gil_waits::{self, GilWaitRow};
use super::tables::requests::{self, RequestRow};
use super::tables::slots::{self, SlotRow};
use super::tables::windows::{self, WindowRow};
use super::tables::{Of, route};
use crate::session::SessionError;
use crate::session::known::Known;
use crate::source::file::FileSource;

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

/// Exports the recording at `path` into the directory `to`.
///
/// # Errors
/// If it is not a recording, or cannot be written: then nothing of it is left in `to`.
pub fn export(path: &Path, to: &Path, labels: &Labels, raw_paths: bool) -> Result<Written, ExportError> {
    let mut source = FileSource::open(path).map_err(SessionError::from)?;
    let mut pipeline = Pipeline::new(Settings::default());
    let mut known = Known::nothing();
    let mut began_ns = None;
    let mut rows: Option<Rows> = None;
    let mut entries = Vec::new();
    while let Some(item) = source.next_item() {
        if let Item::Fact(record) = &item {
            began_ns = began_ns.or(Some(record.time_ns));
            if rows.is_none() {
                known.note(&record.fact);
                // Where damage took the start of the window out of a recording, the first tick stands for it.
                if matches!(record.fact, Fact::WindowStarted | Fact::Tick) {
                    rows = Some(Rows::begin(to, labels, raw_paths, &known, began_ns)?);
                }
            }
        }
        pipeline.push(item, &mut |entry| keep(&mut entries, entry));
        if let Some(rows) = &mut rows {
            while let Some(snapshot) = pipeline.take_window() {
                rows.end_window(&mut entries, snapshot)?;
            }
            rows.take(&mut entries)?;
        }
    }
    let summary = source.summary();
    let (before, mut snapshot) = pipeline.finish_windows(&mut |entry| keep(&mut entries, entry));
    // Nothing counts before the window begins.
    if snapshot.window.start_ns == 0 {
        return Err(SessionError::NothingRecorded { path: path.to_path_buf() }.into());
    }
    snapshot.coverage.losses.unreadable_bytes = summary.unreadable_bytes;
    snapshot.coverage.losses.recording_truncated |= summary.truncated;
    let mut rows = match rows {
        Some(rows) => rows,
        None => Rows::begin(to, labels, raw_paths, &known, began_ns)?,
    };
    for snapshot in before {
        rows.end_window(&mut entries, snapshot)?;
    }
    rows.finish(&mut entries, snapshot)
}

/// Keeps an entry that becomes a row.
fn keep(entries: &mut Vec<Entry>, entry: Entry) {
    if matches!(entry, Entry::Request(_) | Entry::Dropped { .. }) {
        entries.push(entry);
    }
}

/// All tables of a recording.
struct Tables {
    requests: Table<RequestRow>,
    slots: Table<SlotRow>,
    gil_waits: Table<GilWaitRow>,
    connections: Table<ConnectionRow>,
    findings: Table<FindingRow>,
    windows: Table<WindowRow>,
}

/// What is written, and how far it is. Fields are dropped in this order: files before their directories.
struct Rows {
    tables: Tables,
    place: Place,
    of: Of,
    /// Requests that ended in the window and are written.
    completed: u64,
    /// Connections of the window that are written, by cause: how many, and how long they waited.
    dropped: BTreeMap<Cause, (u64, u64)>,
    written: Written,
}

impl Rows {
    fn begin(
        to: &Path,
        labels: &Labels,
        raw_paths: bool,
        known: &Known,
        began_ns: Option<u64>,
    ) -> Result<Self, ExportError> {
        let context = Arc::new(Context::new(labels.clone(), raw_paths, known, began_ns.unwrap_or(0)));
        let (service, host) = (labels.service_name.clone(), context.session.host_name.clone());
        let place = Place::new(to.to_path_buf(), service, host, context.recording_id.clone());
        let tables = Tables {
            requests: Table::new(requests::NAME, requests::columns())?,
            slots: Table::new(slots::NAME, slots::columns())?,
            gil_waits: Table::new(gil_waits::NAME, gil_waits::columns())?,
            connections: Table::new(connections::NAME, connections::columns())?,
            findings: Table::new(findings::NAME, findings::columns())?,
            windows: Table::new(windows::NAME, windows::columns())?,
        };
        let of = Of { context, window: 0 };
        Ok(Self { tables, place, of, completed: 0, dropped: BTreeMap::new(), written: Written::default() })
    }

    /// Writes these entries, as those of the present window.
    fn take(&mut self, entries: &mut Vec<Entry>) -> Result<(), ExportError> {
        entries.drain(..).try_for_each(|entry| self.entry(entry))
    }

    fn entry(&mut self, entry: Entry) -> Result<(), ExportError> {
        match entry {
            Entry::Request(request) => {
                let day = self.of.context.day(request.times.end_ns);
                self.completed = self.completed.saturating_add(u64::from(!request.seen.open));
                self.written.requests = self.written.requests.saturating_add(1);
                let row = RequestRow { of: self.of.clone(), route: route(&request.http.path), request };
                self.tables.requests.push(&self.place, day, &row)
            }
            Entry::Dropped { cause, example } => {
                let (count, waited_ns) = self.dropped.entry(cause).or_default();
                *count = count.saturating_add(1);
                *waited_ns = waited_ns.saturating_add(example.waited_ns.unwrap_or(0));
                self.connection(&ConnectionRow::new(self.of.clone(), cause, example))
            }
            _ => Ok(()),
        }
    }

    fn connection(&mut self, row: &ConnectionRow) -> Result<(), ExportError> {
        let day = self.of.context.day(row.time_ns());
        self.tables.connections.push(&self.place, day, row)
    }

    /// A window has ended while `entries` came: some of them are of the next one already.
    fn end_window(&mut self, entries: &mut Vec<Entry>, snapshot: Snapshot) -> Result<(), ExportError> {
        let mut later = Vec::new();
        for entry in std::mem::take(entries) {
            let is_of_it = match &entry {
                // They come in the order in which they are counted.
                Entry::Request(request) => request.seen.open || self.completed < snapshot.requests.completed,
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
        self.window(snapshot)?;
        self.of.window = self.of.window.saturating_add(1);
        self.completed = 0;
        self.dropped.clear();
        Ok(())
    }

    /// Writes what a window says beside its requests.
    fn window(&mut self, mut snapshot: Snapshot) -> Result<(), ExportError> {
        if !self.of.context.raw_paths {
            fold_paths(&mut snapshot);
        }
        let (of, end_ns) = (self.of.clone(), snapshot.window.end_ns);
        let day = of.context.day(end_ns);
        for finding in evaluate(&snapshot, &Thresholds::default()) {
            self.tables.findings.push(&self.place, day, &FindingRow::new(of.clone(), end_ns, finding))?;
        }
        for row in gil_waits::rows(&of, &snapshot) {
            self.tables.gil_waits.push(&self.place, day, &row)?;
        }
        for slot in &snapshot.slots.observed {
            self.tables.slots.push(&self.place, day, &SlotRow { of: of.clone(), slot: slot.clone() })?;
        }
        // Light mode does not see why connections end.
        if !snapshot.attached.is_light() {
            let dropped = std::mem::take(&mut self.dropped);
            let listed = |cause| dropped.get(&cause).copied().unwrap_or_default();
            for row in connections::rest(&of, &snapshot, &listed) {
                self.connection(&row)?;
            }
        }
        self.written.windows = self.written.windows.saturating_add(1);
        self.tables.windows.push(&self.place, day, &WindowRow::new(of, Box::new(snapshot)))
    }

    /// Writes the last window, and makes everything visible: `windows` last, so that who finds one finds all of it.
    fn finish(mut self, entries: &mut Vec<Entry>, snapshot: Snapshot) -> Result<Written, ExportError> {
        self.take(entries)?;
        let day = self.of.context.day(snapshot.window.end_ns);
        self.window(snapshot)?;
        let (Tables { requests, slots, gil_waits, connections, findings, windows }, place) =
            (&mut self.tables, &self.place);
        requests.seal(place, day)?;
        slots.seal(place, day)?;
        gil_waits.seal(place, day)?;
        connections.seal(place, day)?;
        findings.seal(place, day)?;
        windows.seal(place, day)?;
        let Tables { requests, slots, gil_waits, connections, findings, windows } = self.tables;
        let published = [
            requests.publish()?,
            slots.publish()?,
            gil_waits.publish()?,
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
