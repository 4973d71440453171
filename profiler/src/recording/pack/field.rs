//! The fields of the kernel records, in the order in which they are packed, and what each is expected to be.
//!
//! In: the layouts of `profiler-common`. Out: [`SHAPES`]. A wrong expectation costs bytes, never truth: what
//! is stored is the difference.

use std::mem::offset_of;

use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::head::HeadRecord;
use profiler_common::record::lifecycle::LifecycleRecord;
use profiler_common::record::slice::SliceRecord;
use profiler_common::record::{KIND_CONNECTION, KIND_HEAD, KIND_LIFECYCLE, KIND_SLICE, RecordHeader};

/// What a field is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Named by the context: not stored at all.
    Context,
    /// As in the record before of the same context.
    Same,
    /// The record's kind.
    Kind,
    /// The length of the whole record.
    Length,
    /// The length of what follows the fixed part.
    Tail,
    /// The time of the record before, whoever's it was.
    RecordBefore,
    /// The time of this record.
    Time,
    /// A point in time where the one before was one; otherwise as [`Expect::Same`].
    PerhapsTime,
    /// One more than that of the thread's last slice.
    Sequence,
    /// Entry of a call: its exit less the three parts of its length.
    Enter,
    /// What is left of the gap since the thread's last slice.
    Gap,
}

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) offset: usize,
    pub(super) bytes: usize,
    pub(super) expect: Expect,
}

/// A kind of record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) kind: u16,
    /// Length of the fixed part.
    pub(super) bytes: usize,
    pub(super) fields: &'static [Field],
}

/// Most fields of a shape.
pub(super) const MAX_FIELDS: usize = 32;

macro_rules! header {
    ($field:ident: $bytes:literal $expect:ident) => {
        Field { offset: offset_of!(RecordHeader, $field), bytes: $bytes, expect: Expect::$expect }
    };
}

/// The header comes first in every record, and is packed first: what is expected of others rests on it.
macro_rules! shape {
    ($kind:expr, $record:ident { $($field:ident $(+ $add:literal)?: $bytes:literal $expect:ident),* $(,)? }) => {
        Shape {
            kind: $kind,
            bytes: size_of::<$record>(),
            fields: &[
                header!(kind: 2 Kind),
                header!(length_bytes: 2 Length),
                header!(cpu: 4 Same),
                header!(time_ns: 8 RecordBefore),
                header!(tgid: 4 Context),
                header!(tid: 4 Context),
                $(Field {
                    offset: offset_of!($record, $field) $(+ $add)?,
                    bytes: $bytes,
                    expect: Expect::$expect,
                }),*
            ],
        }
    };
}

/// Places in the fields of a slice that [`Expect::Enter`] and [`Expect::Gap`] add up, behind the header's.
pub(super) mod slice {
    pub(in super::super) const CALL: [usize; 3] = [7, 8, 9];
    pub(in super::super) const GAP: [usize; 2] = [10, 11];
    pub(in super::super) const ENTER: usize = 12;
    pub(in super::super) const SEQUENCE: usize = 14;
}

/// Place of a record's time, its process and its thread among the fields.
pub(super) const TIME: usize = 3;
pub(super) const TGID: usize = 4;
pub(super) const TID: usize = 5;
/// Place of the field that, with the thread, makes the context.
pub(super) const DISTINCTION: usize = 6;

/// All kinds that are taken apart; others are kept as they are.
pub(super) const SHAPES: &[Shape] = &[
    shape!(
        KIND_SLICE,
        SliceRecord {
            system_call: 2 Context,
            call_cpu_ns: 8 Same,
            call_run_queue_ns: 8 Same,
            call_blocked_ns: 8 Same,
            gap_run_queue_ns: 8 Same,
            gap_blocked_ns: 8 Same,
            enter_ns: 8 Enter,
            gap_cpu_ns: 8 Gap,
            sequence: 4 Sequence,
            detail: 8 Same,
            detail + 8: 8 Same,
            detail + 16: 8 Same,
            detail + 24: 8 PerhapsTime,
            result: 8 Same,
            gap_fault_ns: 8 Same,
            folded_ns: 8 Same,
            folded_calls: 4 Same,
            call_switches: 4 Same,
            gap_switches: 4 Same,
            waker_tid: 4 Same,
            gap_blocked_call: 4 Same,
            take_tail_ns: 4 Same,
            flags: 2 Same,
        }
    ),
    shape!(
        KIND_HEAD,
        HeadRecord {
            direction: 4 Context,
            fd: 4 Same,
            sequence: 4 Sequence,
            offset_bytes: 4 Same,
            captured_bytes: 4 Tail,
            reserved: 4 Same,
        }
    ),
    shape!(
        KIND_LIFECYCLE,
        LifecycleRecord {
            what: 4 Context,
            other_tgid: 4 Same,
            other_tid: 4 Same,
            reserved: 4 Same,
            detail: 8 Same,
            comm: 8 Same,
            comm + 8: 8 Same,
        }
    ),
    shape!(
        KIND_CONNECTION,
        ConnectionRecord {
            origin: 4 Context,
            socket: 8 Same,
            established_ns: 8 Time,
            generation: 4 Same,
            fd: 4 Same,
            listener_fd: 4 Same,
            family: 2 Same,
            local_port: 2 Same,
            peer_port: 2 Same,
            delayed_ms: 2 Same,
        }
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_record_is_packed_once() {
        for shape in SHAPES {
            let mut covered = vec![0; shape.bytes];
            for field in shape.fields {
                covered[field.offset..field.offset + field.bytes].iter_mut().for_each(|count| *count += 1);
            }
            assert!(covered.iter().all(|count| *count == 1), "kind {}: {covered:?}", shape.kind);
            assert!(shape.fields.len() <= MAX_FIELDS);
            assert_eq!(shape.fields[DISTINCTION].expect, Expect::Context);
        }
    }

    #[test]
    fn places_of_a_slices_fields_are_those_named() {
        let offset = |place: usize| SHAPES[0].fields[place].offset;
        assert_eq!(slice::CALL.map(offset)[1], offset_of!(SliceRecord, call_run_queue_ns));
        assert_eq!(slice::GAP.map(offset)[1], offset_of!(SliceRecord, gap_blocked_ns));
        assert_eq!(offset(slice::ENTER), offset_of!(SliceRecord, enter_ns));
        assert_eq!(offset(slice::SEQUENCE), offset_of!(SliceRecord, sequence));
    }
}
