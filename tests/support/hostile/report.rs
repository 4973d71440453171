//! A whole file through `report`: as bytes of a recording, unpacked, replayed, and written in every form.
//! Nothing panics, and what comes out of a small file stays small.
//!
//! In: bytes of a file. Out: nothing.

use std::path::Path;

use profiler_core::stream::Item;
use wsgi_trace::recording::{MAX_EXPANSION, Recording};

use super::items::All;

/// Items replayed of one input: enough for every machine, and quick.
const MAX_ITEMS: u64 = 20_000;

/// Takes one input.
pub fn body(bytes: &[u8]) {
    let Ok(mut recording) = Recording::from_reader(bytes, Path::new("fuzz")) else { return };
    let mut all = All::new();
    let (mut items, mut unpacked_bytes) = (0_u64, 0_u64);
    while let Some(item) = recording.next_item() {
        items += 1;
        unpacked_bytes += match &item {
            Item::Kernel(record) => record.len() as u64,
            Item::Fact(_) => 1,
        };
        if items <= MAX_ITEMS {
            all.push(item);
        }
    }
    assert!(unpacked_bytes <= MAX_EXPANSION.of(bytes.len() as u64), "{unpacked_bytes} of {}", bytes.len());
    assert_eq!(recording.summary().items, items);
    all.finish();
}
