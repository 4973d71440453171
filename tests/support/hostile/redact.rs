//! One capture in portions: nothing panics, no length changes, and only bytes that may be kept differ from
//! filler.
//!
//! In: a direction, a portion size, then the captured bytes. Out: nothing.
use profiler_common::record::head::HeadRecord;
use profiler_common::record::{KIND_HEAD, RecordHeader};
use profiler_core::redact::{FILLER, Redactor};
use zerocopy::IntoBytes;

/// Takes one input.
pub fn body(bytes: &[u8]) {
    let mut redactor = Redactor::new();
    // As a raw record, whatever it is.
    let mut raw = bytes.to_vec();
    redactor.redact(&mut raw);
    assert_eq!(raw.len(), bytes.len());

    let [direction, portion, captured @ ..] = bytes else { return };
    let mut kept = Vec::new();
    for portion in captured.chunks(usize::from(*portion).max(1)) {
        let head = HeadRecord {
            header: RecordHeader { kind: KIND_HEAD, ..RecordHeader::default() },
            direction: u32::from(*direction & 1),
            offset_bytes: kept.len() as u32,
            captured_bytes: portion.len() as u32,
            ..HeadRecord::default()
        };
        let mut record = head.as_bytes().to_vec();
        record.extend_from_slice(portion);
        redactor.redact(&mut record);
        kept.extend_from_slice(record.get(size_of::<HeadRecord>()..).unwrap_or_default());
    }
    assert_eq!(kept.len(), captured.len());
    for (before, after) in captured.iter().zip(&kept) {
        assert!(after == before || *after == FILLER, "a byte became something else");
    }
}
