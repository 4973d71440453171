//! Records and marks of windows through the whole pipeline: no panic, and the phases of every request add up.
//!
//! In: bytes. Each item is one byte that says what it is, and the bytes of a record's layout. Out: nothing.

use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::evidence::EvidenceRecord;
use profiler_common::record::frames::FramesRecord;
use profiler_common::record::head::HeadRecord;
use profiler_common::record::lifecycle::LifecycleRecord;
use profiler_common::record::light::{LightEndRecord, LightRecord};
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::sleep::SleepRecord;
use profiler_common::record::slice::{SliceRecord, Undecided};
use profiler_common::record::taken::{MAX_STINTS, Stint, TakenRecord};
use profiler_common::record::task::TaskRecord;
use profiler_common::record::timer::TimerRecord;
use profiler_common::record::wake::WakeRecord;
use profiler_common::record::{
    KIND_CONNECTION, KIND_EVIDENCE, KIND_FRAMES, KIND_HEAD, KIND_LIFECYCLE, KIND_LIGHT, KIND_LIGHT_END,
    KIND_PLAINTEXT, KIND_SLEEP, KIND_SLICE, KIND_TAKEN, KIND_TASK, KIND_TIMER, KIND_WAITER_FRAMES, KIND_WAKE,
    RecordHeader,
};
use profiler_core::fact::{Attached, DescriptorClass, DescriptorSeen, EndReason, Fact, FactRecord};
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::stream::Item;
use profiler_core::timeline::Entry;
use zerocopy::{FromBytes, IntoBytes};

/// Takes a layout off the front; what the input lacks is zero.
fn layout<R: FromBytes + IntoBytes>(rest: &mut &[u8]) -> R {
    let mut record = R::new_zeroed();
    let (own, after) = rest.split_at(rest.len().min(size_of::<R>()));
    if let Some(place) = record.as_mut_bytes().get_mut(..own.len()) {
        place.copy_from_slice(own);
    }
    *rest = after;
    record
}

/// The next record of a fixed layout, whose header is where `header` says.
fn fixed<R: FromBytes + IntoBytes + zerocopy::Immutable>(
    rest: &mut &[u8],
    kind: u16,
    is_wild: bool,
    header: impl Fn(&mut R) -> &mut RecordHeader,
) -> Item<Vec<u8>> {
    let mut record: R = layout(rest);
    frame(header(&mut record), kind, size_of::<R>(), is_wild);
    Item::Kernel(record.as_bytes().to_vec())
}

/// Gives a record its kind and length. Few threads and a window of seconds, so that records meet, unless
/// `is_wild`.
fn frame(header: &mut RecordHeader, kind: u16, length_bytes: usize, is_wild: bool) {
    header.kind = kind;
    header.length_bytes = length_bytes as u16;
    if !is_wild {
        header.tgid %= 3;
        header.tid %= 6;
        header.time_ns %= 1 << 33;
    }
}

/// What a capture holds.
fn message(what: u8, rest: &[u8]) -> &[u8] {
    match what >> 4 & 3 {
        0 => b"GET /a HTTP/1.1\r\n\r\n".as_slice(),
        1 => b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        2 => b"HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n",
        _ => rest.get(..40).unwrap_or_default(),
    }
}

/// The next item; `None`: the input is at its end.
fn item(rest: &mut &[u8]) -> Option<Item<Vec<u8>>> {
    let (what, after) = rest.split_first()?;
    *rest = after;
    let is_wild = what & 0x80 != 0;
    let fact = |fact, rest: &mut &[u8]| {
        let time_ns = layout::<u64>(rest) % if is_wild { u64::MAX } else { 1 << 33 };
        Item::Fact(Box::new(FactRecord { time_ns, fact }))
    };
    Some(match what & 0x0f {
        0..=5 | 7 => {
            let mut record: SliceRecord = layout(rest);
            let has_undecided = what & 0x20 != 0;
            let undecided: Undecided = if has_undecided { layout(rest) } else { Undecided::NOTHING };
            let undecided = if has_undecided { undecided.as_bytes() } else { &[] };
            frame(&mut record.header, KIND_SLICE, size_of::<SliceRecord>() + undecided.len(), is_wild);
            if what & 0x40 == 0 {
                // The record keeps its laws.
                let inside_ns = record.call_cpu_ns.wrapping_add(record.call_run_queue_ns);
                record.enter_ns =
                    record.header.time_ns.wrapping_sub(inside_ns.wrapping_add(record.call_blocked_ns));
            }
            Item::Kernel([record.as_bytes(), undecided].concat())
        }
        9 if what & 0x40 != 0 => {
            let mut record: PlaintextRecord = layout(rest);
            let message = message(*what, rest);
            frame(&mut record.header, KIND_PLAINTEXT, size_of::<PlaintextRecord>() + message.len(), is_wild);
            record.captured_bytes = message.len() as u32;
            record.session %= 4;
            Item::Kernel([record.as_bytes(), message].concat())
        }
        8 | 9 => {
            let mut record: HeadRecord = layout(rest);
            let message = message(*what, rest);
            frame(&mut record.header, KIND_HEAD, size_of::<HeadRecord>() + message.len(), is_wild);
            record.captured_bytes = message.len() as u32;
            Item::Kernel([record.as_bytes(), message].concat())
        }
        11 if what & 0x40 != 0 => {
            let mut record: TakenRecord = layout(rest);
            record.count %= MAX_STINTS as u32 + u32::from(is_wild);
            let length_bytes = size_of::<TakenRecord>() + record.count as usize * size_of::<Stint>();
            frame(&mut record.header, KIND_TAKEN, length_bytes, is_wild);
            record.header.cpu %= 3;
            let mut bytes = record.as_bytes().to_vec();
            for _ in 0..record.count {
                let mut stint: Stint = layout(rest);
                if !is_wild {
                    (stint.tid, stint.from_ns) = (stint.tid % 6, stint.from_ns % (1 << 33));
                    stint.until_ns = stint.from_ns + stint.until_ns % (1 << 24);
                }
                bytes.extend_from_slice(stint.as_bytes());
            }
            Item::Kernel(bytes)
        }
        10 | 11 => fixed(rest, KIND_CONNECTION, is_wild, |record: &mut ConnectionRecord| &mut record.header),
        12 => fixed(rest, KIND_LIFECYCLE, is_wild, |record: &mut LifecycleRecord| &mut record.header),
        6 => match what >> 4 & 3 {
            0 if what & 0x40 == 0 => {
                fixed(rest, KIND_WAKE, is_wild, |record: &mut WakeRecord| &mut record.header)
            }
            0 => fixed(rest, KIND_TIMER, is_wild, |record: &mut TimerRecord| &mut record.header),
            1 => fixed(rest, KIND_EVIDENCE, is_wild, |record: &mut EvidenceRecord| &mut record.header),
            2 => {
                let kind = if what & 0x40 == 0 { KIND_FRAMES } else { KIND_WAITER_FRAMES };
                fixed(rest, kind, is_wild, |record: &mut FramesRecord| &mut record.header)
            }
            _ if what & 0x40 == 0 => {
                fixed(rest, KIND_TASK, is_wild, |record: &mut TaskRecord| &mut record.header)
            }
            _ => fixed(rest, KIND_LIGHT, is_wild, |record: &mut LightRecord| &mut record.header),
        },
        13 => {
            let (fd, is_epoll) = (i32::from(what >> 4 & 3), what & 0x40 != 0);
            let class = if is_epoll { DescriptorClass::Epoll } else { DescriptorClass::Listener };
            let interest = if is_epoll { vec![0, 1, 2, 3] } else { Vec::new() };
            let interest_events = interest.iter().map(|_| layout(rest)).collect();
            let (shared, local_port) = (is_wild, 0);
            let seen = DescriptorSeen { tgid: 1, fd, class, interest, interest_events, shared, local_port };
            fact(Fact::DescriptorSeen(seen), rest)
        }
        14 if what & 0x10 == 0 => fact(Fact::WindowStarted, rest),
        14 => fact(Fact::Tick, rest),
        _ if what & 0x60 == 0x60 => {
            fixed(rest, KIND_LIGHT_END, is_wild, |record: &mut LightEndRecord| &mut record.header)
        }
        _ if what & 0x20 != 0 => {
            fixed(rest, KIND_SLEEP, is_wild, |record: &mut SleepRecord| &mut record.header)
        }
        _ if what & 0x10 == 0 => fact(Fact::WindowRolled, rest),
        _ => fact(Fact::WindowEnded { reason: EndReason::Duration }, rest),
    })
}

/// Takes one input.
pub fn body(bytes: &[u8]) {
    let mut pipeline = Pipeline::new(Settings { thread_slices: true });
    let mut check = |entry: Entry| {
        if let Entry::Request(request) = entry {
            assert_eq!(request.phases.total_ns(), request.total_ns(), "{request:?}");
        }
    };
    // Probes in the server's OpenSSL are placed.
    let attached = Attached { programs: vec![Attached::TLS_READS.to_owned()], ..Attached::default() };
    let attached = FactRecord { time_ns: 0, fact: Fact::Attached(attached) };
    pipeline.push(Item::<Vec<u8>>::Fact(Box::new(attached)), &mut check);
    let mut rest = bytes;
    while let Some(item) = item(&mut rest) {
        pipeline.push(item, &mut check);
    }
    let (windows, last) = pipeline.finish_windows(&mut check);
    for snapshot in windows.iter().chain([&last]) {
        assert_eq!(snapshot.coverage.conservation.requests_broken, 0);
        for slot in &snapshot.slots.observed {
            assert!(slot.busy_ns() <= slot.length_ns(), "{slot:?}");
        }
    }
}
