//! The stream of a recording: the same items, in the same order, as the live run had.
//!
//! In: a recording. Out: [`Item`]s, and at the end what could not be read.

use std::path::Path;

use bytes::Bytes;
use profiler_core::stream::Item;

use crate::recording::{OpenError, ReadSummary, Recording};

/// A recording as a source.
#[derive(Debug)]
pub struct FileSource {
    recording: Recording,
}

impl FileSource {
    /// Opens the recording at `path`.
    ///
    /// # Errors
    /// See [`OpenError`]: not readable, empty, not a recording, of a newer version, of another layout.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { recording: Recording::open(path)? })
    }

    /// Version of the program that wrote the recording.
    pub fn tool_version(&self) -> &str {
        self.recording.tool_version()
    }

    /// How much could be read so far; final once the iterator has ended.
    pub fn summary(&self) -> ReadSummary {
        self.recording.summary()
    }

    /// The next item, where it lies in the recording.
    pub fn next_item(&mut self) -> Option<Item<&[u8]>> {
        self.recording.next_item()
    }
}

impl Iterator for FileSource {
    type Item = Item<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recording.next()
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::fact::{Fact, FactRecord};

    use super::*;
    use crate::recording::Recorder;

    #[test]
    fn a_source_gives_what_the_live_run_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.wsgitrace");
        let live = [
            Item::Kernel(Bytes::from_static(b"a raw record")),
            Item::Fact(Box::new(FactRecord { time_ns: 3, fact: Fact::WindowStarted })),
        ];
        let mut recorder = Recorder::create(&path, "1.2.3").unwrap();
        for item in &live {
            recorder.record(item).unwrap();
        }
        recorder.finish().unwrap();
        let mut source = FileSource::open(&path).unwrap();
        assert_eq!(source.tool_version(), "1.2.3");
        assert_eq!(source.by_ref().collect::<Vec<_>>(), live);
        assert!(source.summary().is_complete());
    }
}
