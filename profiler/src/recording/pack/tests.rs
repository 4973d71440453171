//! Packing: the same items to the byte, whatever they are; hostile bytes end in a refusal.

use profiler_common::record::slice::SliceRecord;
use profiler_common::record::{KIND_SLICE, RecordHeader};
use proptest::prelude::*;
use zerocopy::IntoBytes as _;

use super::super::format::MAX_RAW_BYTES;
use super::super::item::{TAG_FACT, put};
use super::*;

/// What a frame holds.
fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    let mut unpacker = Unpacker::new(packed)?;
    while !unpacker.is_at_end() {
        let item = unpacker.next(packed)?;
        let fixed = item.fixed.map_or(&[][..], |fixed| unpacker.fixed(fixed));
        put(&mut payload, item.tag, &[fixed, packed.get(item.bytes)?].concat());
        if payload.len() > MAX_RAW_BYTES {
            return None;
        }
    }
    Some(payload)
}

fn payload(items: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (tag, bytes) in items {
        put(&mut payload, *tag, bytes);
    }
    payload
}

prop_compose! {
    /// Like a kernel record or not: any kind, any length, few threads so that contexts meet again.
    fn record()(kind in 0_u16..6, tid in 0_u32..3, rest in prop::collection::vec(any::<u8>(), 0..220)) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend_from_slice(&rest);
        if let Some(place) = bytes.get_mut(20..24) {
            place.copy_from_slice(&tid.to_le_bytes());
        }
        bytes
    }
}

proptest! {
    #[test]
    fn any_items_come_back_to_the_byte(
        items in prop::collection::vec((prop_oneof![Just(TAG_KERNEL), Just(TAG_FACT), Just(9)], record()), 0..30)
    ) {
        let payload = payload(&items);
        prop_assert_eq!(unpacked(&pack(&payload)), Some(payload));
    }

    #[test]
    fn hostile_bytes_are_refused_or_bounded(
        items in prop::collection::vec((Just(TAG_KERNEL), record()), 0..10),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut packed = pack(&payload(&items));
        for (place, byte) in changes {
            let place = place.index(packed.len());
            packed[place] = byte;
        }
        if let Some(payload) = unpacked(&packed) {
            prop_assert!(payload.len() <= MAX_RAW_BYTES + 300);
        }
    }
}

#[test]
fn steady_slices_take_few_bytes() {
    let (mut items, mut now_ns) = (Vec::new(), 1_000_000_000_000_u64);
    let mut exits = [now_ns; 4];
    for number in 0..4_000_u32 {
        let thread = number % 4;
        let call_ns = 2_000 + u64::from(number.wrapping_mul(2_654_435_761) >> 22);
        now_ns += 20_000;
        let last = &mut exits[thread as usize];
        let header = RecordHeader {
            kind: KIND_SLICE,
            length_bytes: 168,
            time_ns: now_ns,
            tgid: 100,
            tid: 101 + thread,
            ..RecordHeader::default()
        };
        let slice = SliceRecord {
            header,
            enter_ns: now_ns - call_ns,
            call_cpu_ns: call_ns,
            gap_cpu_ns: now_ns - call_ns - *last,
            sequence: number / 4 + 1,
            system_call: 45,
            ..SliceRecord::default()
        };
        *last = now_ns;
        items.push((TAG_KERNEL, slice.as_bytes().to_vec()));
    }
    let payload = payload(&items);
    let packed = pack(&payload);
    assert_eq!(unpacked(&packed).as_deref(), Some(payload.as_slice()));
    let stored = lz4_flex::block::compress(&packed);
    assert!(stored.len() < items.len() * 5, "{} bytes for {} slices", stored.len(), items.len());
}
