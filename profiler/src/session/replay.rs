//! A run from a recording: the same pipeline, another source.
//!
//! In: a recording. Out: the snapshot that the live run gave, with what could not be read counted as loss.

use std::path::Path;

use profiler_core::model::Snapshot;
use profiler_core::pipeline::Pipeline;
use profiler_core::stream::Item;

use super::SessionError;
use super::observer::Observer;
use crate::source::file::FileSource;

/// Replays a recording to its end.
///
/// # Errors
/// If it is not a recording, an empty one, or one of a newer version. A damaged one is read as far as it goes.
pub fn run<O: Observer>(path: &Path, observer: &mut O) -> Result<Snapshot, SessionError> {
    let mut source = FileSource::open(path)?;
    let mut pipeline = Pipeline::new(observer.settings());
    while let Some(item) = source.next_item() {
        if let Item::Fact(record) = &item {
            observer.note(&record.fact);
        }
        pipeline.push(item, &mut |entry| observer.entry(&entry));
    }
    let summary = source.summary();
    let mut snapshot = pipeline.finish(&mut |entry| observer.entry(&entry));
    // Nothing counts before the window begins.
    if snapshot.window.start_ns == 0 {
        return Err(SessionError::NothingRecorded { path: path.to_path_buf() });
    }
    snapshot.coverage.losses.unreadable_bytes = summary.unreadable_bytes;
    snapshot.coverage.losses.recording_truncated |= summary.truncated;
    Ok(snapshot)
}
