//! A file as a recording: bare, and behind a valid header. No panic, bounded memory, every byte accounted
//! for.
//!
//! In: bytes. Out: nothing.
use std::io;
use std::path::Path;

use profiler_core::stream::Item;
use wsgi_trace::recording::{Recorder, Recording, Storage};

/// Recorder storage in memory.
pub struct Memory<'bytes>(pub &'bytes mut Vec<u8>);

impl io::Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Memory<'_> {
    fn cut_back(&mut self, _: u64) {}

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(bytes: &[u8]) -> u64 {
    let Ok(mut recording) = Recording::from_reader(bytes, Path::new("fuzz")) else { return 0 };
    let items = recording.by_ref().count() as u64;
    let summary = recording.summary();
    assert_eq!(summary.items, items);
    assert!(summary.unreadable_bytes <= bytes.len() as u64);
    items
}

/// Takes one input.
pub fn body(bytes: &[u8]) {
    read(bytes);
    // A whole frame, the input in place of what follows, and a whole recording's frames after it.
    let mut file = Vec::new();
    let Ok(mut recorder) = Recorder::on(Memory(&mut file), Path::new("fuzz"), "fuzz") else { return };
    let whole = recorder.record(&Item::Kernel(bytes)).and_then(|()| recorder.flush());
    drop(recorder);
    // Refused: larger than an item may be.
    if whole.is_err() {
        return;
    }
    file.extend_from_slice(bytes);
    assert!(read(&file) >= 1, "a whole frame was not delivered");
}
