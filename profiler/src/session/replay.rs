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
/// If it is not a recording, an empty one, or one of a newer version. A damaged one is read as far as it
/// goes.
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
    summary.tell(&mut snapshot.coverage.losses);
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use profiler_core::fact::{EndReason, Fact, FactRecord};

    use super::*;
    use crate::recording::Recorder;
    use crate::session::consumer::Consumer;

    #[test]
    fn what_a_recording_with_an_end_lacks_is_a_loss_of_its_report() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.wtrace");
        let mut recorder = Recorder::create(&path, "0.1.0").unwrap();
        let mut ends = Vec::new();
        let facts = [Fact::WindowStarted, Fact::Tick, Fact::WindowEnded { reason: EndReason::Duration }];
        for (fact, second) in facts.into_iter().zip(1..) {
            recorder.record_fact(&FactRecord { time_ns: second * 1_000_000_000, fact }).unwrap();
            recorder.flush().unwrap();
            ends.push(usize::try_from(recorder.totals().file_bytes).unwrap());
        }
        recorder.finish().unwrap();
        let whole = run(&path, &mut Consumer::nothing()).unwrap().coverage.losses;
        assert!(!whole.any(), "{whole:?}");
        // The frame of the tick is cut out: what is left has no unreadable byte, and an end.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.drain(ends[0]..ends[1]);
        std::fs::write(&path, bytes).unwrap();
        let cut = run(&path, &mut Consumer::nothing()).unwrap().coverage.losses;
        assert_eq!((cut.unreadable_bytes, cut.recording_truncated, cut.missing_items), (0, false, 1));
        assert!(cut.any());
    }
}
