//! One recording as rows: replayed, and written as it goes.
//!
//! In: a recording. Out: a file in each table, all of them or none. Requests are written as they come to
//! their end, so memory does not grow with the length of the recording.

use std::path::Path;
use std::sync::Arc;

use profiler_core::fact::Fact;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::stream::Item;
use profiler_core::timeline::Entry;

use super::ExportError;
use super::context::{Context, Labels};
use super::place::Place;
use super::rows::{Aside, Limits, Rows, Written, is_row};
use crate::session::SessionError;
use crate::session::known::Known;
use crate::source::file::FileSource;

/// A recording has an end: nothing of it has to be left out.
const LIMITS: Limits = Limits { row_group_rows: 65_536, endpoints: usize::MAX };

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
                    rows = Some(begin(to, labels, raw_paths, &known, began_ns)?);
                }
            }
        }
        pipeline.push(item, &mut |entry| keep(&mut entries, entry));
        if let Some(rows) = &mut rows {
            while let Some(snapshot) = pipeline.take_window() {
                rows.end_window(&mut entries, snapshot, Aside::default())?;
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
    summary.tell(&mut snapshot.coverage.losses);
    let mut rows = match rows {
        Some(rows) => rows,
        None => begin(to, labels, raw_paths, &known, began_ns)?,
    };
    for snapshot in before {
        rows.end_window(&mut entries, snapshot, Aside::default())?;
    }
    rows.last_window(&mut entries, snapshot, Aside::default())?;
    rows.publish()
}

/// Keeps an entry that becomes a row.
fn keep(entries: &mut Vec<Entry>, entry: Entry) {
    if is_row(&entry) {
        entries.push(entry);
    }
}

fn begin(
    to: &Path,
    labels: &Labels,
    raw_paths: bool,
    known: &Known,
    began_ns: Option<u64>,
) -> Result<Rows, ExportError> {
    let context = Context::new(labels.clone(), raw_paths, known, began_ns.unwrap_or(0));
    let (service, host) = (labels.service_name.clone(), context.session.host_name.clone());
    let place = Place::new(to.to_path_buf(), service, host, context.recording_id.clone());
    Rows::begin(place, Arc::new(context), LIMITS, 0)
}
