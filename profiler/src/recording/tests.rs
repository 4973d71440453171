//! Recordings as a whole: written, cut, damaged, read again.

use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use profiler_core::fact::{EndReason, Fact, FactRecord};
use profiler_core::model::Losses;
use profiler_core::stream::Item;
use proptest::prelude::*;

use profiler_common::record::KIND_SLICE;
use profiler_common::record::slice::SliceRecord;

use super::format::{
    FILE_HEADER_BYTES, FORMAT_VERSION, FRAME_ITEMS, FRAME_TRAILER, FileHeader, FrameHeader, MARKER,
    MAX_ITEM_BYTES, MAX_RAW_BYTES, MAX_STORED_BYTES,
};
use super::item::{put_fact, put_kernel};
use super::pack::pack;
use super::scan::Scanner;
use super::{
    FRAME_TARGET_BYTES, LAYOUT_HASH, MAX_EXPANSION, OpenError, ReadSummary, RecordError, Recorder, Recording,
    Storage, Totals,
};
use crate::output_file::OutputFileError;

const PATH: &str = "in memory";

/// A disk of limited size.
#[derive(Debug)]
struct Disk<'bytes> {
    bytes: &'bytes mut Vec<u8>,
    limit: usize,
}

impl Write for Disk<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.limit - self.bytes.len();
        if room == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let taken = room.min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Disk<'_> {
    fn cut_back(&mut self, length_bytes: u64) {
        self.bytes.truncate(usize::try_from(length_bytes).unwrap());
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn record(batches: &[Vec<Item<Bytes>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let disk = Disk { bytes: &mut bytes, limit: usize::MAX };
    let mut recorder = Recorder::on(disk, Path::new(PATH), "0.1.0").unwrap();
    for batch in batches {
        for item in batch {
            recorder.record(item).unwrap();
        }
        recorder.flush().unwrap();
    }
    recorder.finish().unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Result<Recording<&[u8]>, OpenError> {
    Recording::from_reader(bytes, Path::new(PATH))
}

fn read(bytes: &[u8]) -> (Vec<Item<Bytes>>, ReadSummary) {
    let mut recording = open(bytes).unwrap();
    let items = recording.by_ref().collect();
    (items, recording.summary())
}

/// Where the frames of a recording begin.
fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(MARKER.len()).enumerate();
    windows.filter(|(_, window)| **window == MARKER).map(|(start, _)| start).collect()
}

/// What a report is told of a recording: unreadable bytes, unreadable items, missing items, whether it breaks
/// off.
fn told(bytes: &[u8]) -> (u64, u64, u64, bool) {
    let mut losses = Losses::default();
    read(bytes).1.tell(&mut losses);
    let Losses { unreadable_bytes, unreadable_items, missing_items, recording_truncated, .. } = losses;
    let told = (unreadable_bytes, unreadable_items, missing_items, recording_truncated);
    assert_eq!(losses.any(), told != (0, 0, 0, false), "{told:?}");
    told
}

fn fact(time_ns: u64) -> Item<Bytes> {
    Item::Fact(Box::new(FactRecord { time_ns, fact: Fact::WindowEnded { reason: EndReason::Duration } }))
}

prop_compose! {
    fn item()(bytes in prop::collection::vec(any::<u8>(), 0..80), time_ns in any::<u64>(), is_fact in any::<bool>())
        -> Item<Bytes> {
        if is_fact { fact(time_ns) } else { Item::Kernel(Bytes::from(bytes)) }
    }
}

fn batches() -> impl Strategy<Value = Vec<Vec<Item<Bytes>>>> {
    prop::collection::vec(prop::collection::vec(item(), 1..8), 1..6)
}

/// How many items lie in whole frames within the first `length` bytes.
fn whole_items(batches: &[Vec<Item<Bytes>>], length: usize) -> usize {
    let mut count = 0;
    for end in 1..=batches.len() {
        let prefix = &batches[..end];
        // Frames do not depend on what follows them: the prefix's own file without its trailer.
        let mut bytes = Vec::new();
        let disk = Disk { bytes: &mut bytes, limit: usize::MAX };
        let mut recorder = Recorder::on(disk, Path::new(PATH), "0.1.0").unwrap();
        for batch in prefix {
            for item in batch {
                recorder.record(item).unwrap();
            }
            recorder.flush().unwrap();
        }
        drop(recorder);
        if bytes.len() > length {
            break;
        }
        count = prefix.iter().map(Vec::len).sum();
    }
    count
}

#[test]
fn a_large_stream_is_split_into_frames_by_size() {
    let items: Vec<Item<Bytes>> =
        (0..10_000_u64).map(|number| Item::Kernel(Bytes::from(number.to_le_bytes().repeat(21)))).collect();
    let bytes = record(std::slice::from_ref(&items));
    let (read, summary) = read(&bytes);
    assert_eq!(read, items);
    assert!(summary.is_complete());
    let expected = (items.len() * 173).div_ceil(FRAME_TARGET_BYTES) as u64;
    assert!((expected..=expected + 1).contains(&summary.frames), "{summary:?}");
    assert!(bytes.len() < items.len() * 173 / 4, "records of one kind compress: {}", bytes.len());
}

#[test]
fn totals_and_the_trailer_count_what_was_recorded() {
    let mut bytes = Vec::new();
    let disk = Disk { bytes: &mut bytes, limit: usize::MAX };
    let mut recorder = Recorder::on(disk, Path::new(PATH), "0.1.0").unwrap();
    recorder.record_kernel(b"one").unwrap();
    recorder.flush().unwrap();
    recorder.record::<Bytes>(&fact(1)).unwrap();
    recorder.record_kernel(b"two").unwrap();
    let totals = recorder.finish().unwrap();
    assert_eq!((totals.items, totals.kernel_records, totals.facts, totals.frames), (3, 2, 1, 2));
    // The second frame is lost: the trailer says how much that was.
    let second = frame_starts(&bytes)[1];
    bytes[second + 40] ^= 1;
    let (items, summary) = read(&bytes);
    assert_eq!(items, [Item::Kernel(Bytes::from_static(b"one"))]);
    assert_eq!((summary.items, summary.missing_items, summary.truncated), (1, 2, false));
    assert!(summary.unreadable_bytes > 32);
}

#[test]
fn a_recorder_that_is_dropped_leaves_what_it_gathered() {
    let mut bytes = Vec::new();
    let disk = Disk { bytes: &mut bytes, limit: usize::MAX };
    let mut recorder = Recorder::on(disk, Path::new(PATH), "0.1.0").unwrap();
    recorder.record_kernel(b"one").unwrap();
    drop(recorder);
    let (items, summary) = read(&bytes);
    assert_eq!(items.len(), 1);
    assert!(summary.truncated);
    assert_eq!(summary.unreadable_bytes, 0);
}

#[test]
fn a_full_disk_is_an_error_and_what_was_written_stays_readable() {
    let noise: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let mut bytes = Vec::new();
    let disk = Disk { bytes: &mut bytes, limit: 300_000 };
    let mut recorder = Recorder::on(disk, Path::new(PATH), "0.1.0").unwrap();
    recorder.record_kernel(&noise).unwrap();
    recorder.flush().unwrap();
    recorder.record_kernel(&noise).unwrap();
    let error = recorder.flush().unwrap_err();
    assert!(matches!(error, RecordError::Output(OutputFileError::Full { .. })), "{error}");
    assert!(matches!(recorder.record_kernel(b"more"), Err(RecordError::Stopped)));
    assert!(matches!(recorder.finish(), Err(RecordError::Stopped)));
    let (items, summary) = read(&bytes);
    assert_eq!(items, [Item::Kernel(Bytes::from(noise))]);
    assert_eq!((summary.truncated, summary.unreadable_bytes), (true, 0), "half a frame was cut off again");
}

#[test]
fn a_full_device_is_reported_as_full() {
    let error = Recorder::create(Path::new("/dev/full"), "0.1.0").unwrap_err();
    assert!(matches!(error, RecordError::Output(OutputFileError::Full { .. })), "{error}");
}

#[test]
fn a_recording_is_private_and_never_follows_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.wsgitrace");
    std::fs::write(&path, b"an older file, readable by all").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    Recorder::create(&path, "0.1.0").unwrap().finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(Recording::open(&path).unwrap().next().is_none());
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    let error = Recorder::create(&link, "0.1.0").unwrap_err();
    assert!(matches!(error, RecordError::Output(OutputFileError::Link { .. })), "{error}");
    let error = Recorder::create(directory.path(), "0.1.0").unwrap_err();
    assert!(matches!(error, RecordError::Output(OutputFileError::Directory { .. })), "{error}");
}

#[test]
fn an_item_that_no_reader_would_accept_is_refused_alone() {
    let mut bytes = Vec::new();
    let disk = Disk { bytes: &mut bytes, limit: usize::MAX };
    let mut recorder = Recorder::on(disk, Path::new(PATH), "0.1.0").unwrap();
    let largest = vec![7; MAX_ITEM_BYTES];
    recorder.record_kernel(b"small").unwrap();
    recorder.record_kernel(&largest).unwrap();
    let error = recorder.record_kernel(&vec![7; MAX_ITEM_BYTES + 1]).unwrap_err();
    assert!(matches!(error, RecordError::TooLarge { bytes } if bytes == MAX_ITEM_BYTES + 1));
    recorder.finish().unwrap();
    let (items, summary) = read(&bytes);
    assert_eq!(items.last(), Some(&Item::Kernel(Bytes::from(largest))));
    assert!(summary.is_complete());
}

#[test]
fn what_is_no_recording_is_refused_with_the_reason() {
    let header =
        |version, layout_hash| FileHeader { version, layout_hash, tool_version: "9.9.9".into() }.to_bytes();
    assert!(matches!(open(b""), Err(OpenError::Empty { .. })));
    assert!(matches!(open(b"\x89WS"), Err(OpenError::DamagedHeader { .. })));
    assert!(matches!(open(b"{}"), Err(OpenError::NotARecording { .. })));
    assert!(matches!(open(&[0x7f; 1000]), Err(OpenError::NotARecording { .. })));
    let ours = header(FORMAT_VERSION, LAYOUT_HASH);
    assert!(open(&ours).is_ok());
    assert!(matches!(open(&ours[..63]), Err(OpenError::DamagedHeader { .. })));
    assert!(matches!(open(&header(0, LAYOUT_HASH)), Err(OpenError::NotARecording { .. })));
    let error = open(&header(FORMAT_VERSION + 4, LAYOUT_HASH)).unwrap_err();
    assert!(matches!(error, OpenError::NewerVersion { found: 5, supported: 1, .. }), "{error}");
    assert!(error.to_string().contains("version 5") && error.to_string().contains("version 1"), "{error}");
    let error = open(&header(FORMAT_VERSION, LAYOUT_HASH ^ 1)).unwrap_err();
    assert!(error.to_string().contains("9.9.9"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Recording::open(directory.path()), Err(OpenError::Unreadable { .. })));
    let missing = directory.path().join("missing");
    assert!(matches!(Recording::open(&missing), Err(OpenError::Unreadable { .. })));
}

/// A frame of any kind around a payload.
fn frame(kind: u32, items: u32, payload: &[u8]) -> Vec<u8> {
    let stored = lz4_flex::block::compress(payload);
    let header = FrameHeader {
        kind,
        items,
        raw_bytes: u32::try_from(payload.len()).unwrap(),
        stored_bytes: u32::try_from(stored.len()).unwrap(),
        payload_crc: crc32fast::hash(&stored),
    };
    [header.to_bytes().to_vec(), stored].concat()
}

#[test]
fn a_frame_that_cannot_be_unpacked_is_counted_and_the_next_one_read() {
    let mut bytes = record(&[]);
    bytes.truncate(FILE_HEADER_BYTES);
    bytes.extend_from_slice(&frame(FRAME_ITEMS, 3, b"made by nobody"));
    bytes.extend_from_slice(&record(&[vec![fact(1)]])[FILE_HEADER_BYTES..]);
    let (items, summary) = read(&bytes);
    assert_eq!(items, [fact(1)]);
    assert_eq!((summary.unreadable_items, summary.missing_items), (3, 0));
    assert!(!summary.is_complete());
}

#[test]
fn a_sound_recording_tells_no_loss_whatever_it_holds() {
    let rolled = Item::Fact(Box::new(FactRecord { time_ns: 2, fact: Fact::WindowRolled }));
    let whole =
        record(&[vec![fact(1)], vec![rolled, Item::Kernel(Bytes::from_static(b"one"))], vec![fact(3)]]);
    assert_eq!(told(&whole), (0, 0, 0, false), "a window that rolled");
    let end = frame_starts(&whole)[3];
    assert_eq!(told(&whole[..end]), (0, 0, 0, true), "the disk was full: nothing counts what is missing");
}

#[test]
fn what_a_recording_with_an_end_lacks_is_told_though_each_of_its_bytes_can_be_read() {
    let whole = record(&[vec![fact(1)], vec![fact(2), fact(3)], vec![fact(4)]]);
    let starts = frame_starts(&whole);
    let cut = [&whole[..starts[1]], &whole[starts[2]..]].concat();
    assert_eq!(told(&cut), (0, 0, 2, false), "a frame was cut out");
    let mut payload = Vec::new();
    put_kernel(&mut payload, b"record");
    put_fact(&mut payload, b"{\"not\": \"a fact\"}");
    let totals = serde_json::to_vec(&Totals { items: 2, ..Totals::default() }).unwrap();
    let frames = [frame(FRAME_ITEMS, 2, &pack(&payload)), frame(FRAME_TRAILER, 0, &totals)].concat();
    let unread = [&whole[..FILE_HEADER_BYTES], &frames].concat();
    assert_eq!(told(&unread), (0, 1, 1, false), "a fact that is none");
}

#[test]
fn what_comes_out_of_a_small_file_stays_small() {
    let mut payload = Vec::new();
    let mut slice = [0; size_of::<SliceRecord>()];
    slice[..2].copy_from_slice(&KIND_SLICE.to_le_bytes());
    let in_frame = 4_000_000 / slice.len();
    for _ in 0..in_frame {
        put_kernel(&mut payload, &slice);
    }
    let frame = frame(FRAME_ITEMS, u32::try_from(in_frame).unwrap(), &pack(&payload));
    let mut bytes = record(&[]);
    for _ in 0..60 {
        bytes.extend_from_slice(&frame);
    }
    let hostile = 60 * in_frame * slice.len() / bytes.len();
    assert!(hostile > 1500, "the file holds {hostile} times its size");
    let mut recording = open(&bytes).unwrap();
    let mut items_bytes = 0;
    while let Some(Item::Kernel(record)) = recording.next_item() {
        items_bytes += record.len() as u64;
    }
    assert!(items_bytes <= MAX_EXPANSION.of(bytes.len() as u64), "{items_bytes} of {}", bytes.len());
    assert!(recording.summary().unreadable_items > 0, "what was left out is counted");
}

#[test]
fn a_frame_that_claims_more_than_its_bytes_can_hold_is_passed_over_before_there_is_room_for_it() {
    let stored = [0_u8];
    let claims = FrameHeader {
        kind: FRAME_ITEMS,
        items: 1,
        raw_bytes: u32::try_from(MAX_RAW_BYTES).unwrap(),
        stored_bytes: 1,
        payload_crc: crc32fast::hash(&stored),
    };
    let bytes = [claims.to_bytes().as_slice(), &stored].concat().repeat(100);
    let mut payload = Vec::new();
    let mut scanner = Scanner::new(bytes.as_slice());
    assert!(scanner.next_frame(&mut payload).is_none());
    assert_eq!((scanner.unreadable_bytes, payload.capacity()), (bytes.len() as u64, 0));
    // What packs best is still read.
    let zeros = frame(FRAME_ITEMS, 1, &vec![0; MAX_RAW_BYTES]);
    assert!(Scanner::new(zeros.as_slice()).next_frame(&mut payload).is_some());
    assert_eq!(payload.len(), MAX_RAW_BYTES);
}

#[test]
fn a_frame_inside_a_frame_that_claims_too_much_is_still_found() {
    let whole = record(&[vec![fact(1)], vec![fact(2)]]);
    let claims = FrameHeader {
        kind: FRAME_ITEMS,
        items: 1,
        raw_bytes: 100,
        stored_bytes: u32::try_from(MAX_STORED_BYTES).unwrap(),
        payload_crc: 0,
    };
    let mut bytes = whole[..FILE_HEADER_BYTES].to_vec();
    bytes.extend_from_slice(&claims.to_bytes());
    bytes.extend_from_slice(&whole[FILE_HEADER_BYTES..]);
    let (items, summary) = read(&bytes);
    assert_eq!(items, [fact(1), fact(2)]);
    assert_eq!((summary.unreadable_bytes, summary.truncated), (32, false));
}

#[test]
fn headers_nested_in_each_other_cost_linear_time() {
    let claims = FrameHeader {
        kind: FRAME_ITEMS,
        items: 1,
        raw_bytes: 100,
        stored_bytes: u32::try_from(MAX_STORED_BYTES).unwrap(),
        payload_crc: 0,
    };
    let mut bytes = record(&[]);
    bytes.truncate(FILE_HEADER_BYTES);
    while bytes.len() < 3 * MAX_STORED_BYTES {
        bytes.extend_from_slice(&claims.to_bytes());
    }
    let (items, summary) = read(&bytes);
    assert_eq!(items, []);
    assert_eq!(summary.unreadable_bytes, (bytes.len() - FILE_HEADER_BYTES) as u64);
}

proptest! {
    #[test]
    fn what_is_recorded_is_read_again(batches in batches()) {
        let (items, summary) = read(&record(&batches));
        prop_assert_eq!(items, batches.concat());
        prop_assert!(summary.is_complete());
    }

    #[test]
    fn a_recording_cut_anywhere_gives_its_whole_frames(batches in batches(), cut in any::<prop::sample::Index>()) {
        let whole = record(&batches);
        let length = cut.index(whole.len());
        let cut = &whole[..length];
        match open(cut) {
            Err(OpenError::Empty { .. }) => prop_assert_eq!(length, 0),
            Err(OpenError::DamagedHeader { .. }) => prop_assert!(length < FILE_HEADER_BYTES),
            Err(error) => prop_assert!(false, "{}", error),
            Ok(_) => {
                let (items, summary) = read(cut);
                let expected = whole_items(&batches, length);
                prop_assert_eq!(&items[..], &batches.concat()[..expected]);
                prop_assert!(summary.truncated);
            }
        }
    }

    #[test]
    fn a_changed_byte_costs_one_frame_at_most(
        batches in batches(),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let mut bytes = record(&batches);
        let place = place.index(bytes.len());
        let before = whole_items(&batches, place);
        bytes[place] ^= change;
        match open(&bytes) {
            Err(OpenError::NotARecording { .. } | OpenError::DamagedHeader { .. }) => {
                prop_assert!(place < FILE_HEADER_BYTES);
            }
            Err(error) => prop_assert!(false, "{}", error),
            Ok(_) => {
                let (items, summary) = read(&bytes);
                let all = batches.concat();
                prop_assert_eq!(&items[..before], &all[..before]);
                let lost_batch = batches.iter().scan(0, |sum, batch| { *sum += batch.len(); Some((*sum, batch.len())) })
                    .find(|(end, _)| *end > before);
                match lost_batch {
                    Some((end, _)) => prop_assert_eq!(&items[before..], &all[end..]),
                    None => prop_assert_eq!(items.len(), all.len()),
                }
                prop_assert!(!summary.is_complete());
                prop_assert!(summary.unreadable_bytes > 0);
            }
        }
    }

    #[test]
    fn bytes_inserted_or_removed_cost_one_frame_at_most(
        batches in batches(),
        place in any::<prop::sample::Index>(),
        inserted in prop::collection::vec(any::<u8>(), 1..20),
        remove in any::<bool>(),
    ) {
        let mut bytes = record(&batches);
        let place = FILE_HEADER_BYTES + place.index(bytes.len() - FILE_HEADER_BYTES);
        let before = whole_items(&batches, place);
        if remove {
            bytes.drain(place..=place);
        } else {
            bytes.splice(place..place, inserted);
        }
        let (items, _) = read(&bytes);
        let all = batches.concat();
        prop_assert_eq!(&items[..before], &all[..before]);
        let end = batches.iter().scan(0, |sum, batch| { *sum += batch.len(); Some(*sum) })
            .find(|end| *end > before).unwrap_or(before);
        prop_assert!(items.ends_with(&all[end..]));
    }

    #[test]
    fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..400), with_header in any::<bool>()) {
        let mut bytes = if with_header { record(&[])[..FILE_HEADER_BYTES].to_vec() } else { Vec::new() };
        bytes.extend_from_slice(&garbage);
        if let Ok(recording) = open(&bytes) {
            prop_assert_eq!(recording.count(), 0);
        }
    }

    #[test]
    fn a_frame_of_garbage_with_right_checksums_never_panics(
        garbage in prop::collection::vec(any::<u8>(), 0..400),
        raw_bytes in 0_u32..2000,
        items in any::<u32>(),
        kind in 1_u32..3,
        compressed in any::<bool>(),
    ) {
        let stored = if compressed { lz4_flex::block::compress(&garbage) } else { garbage.clone() };
        let header = FrameHeader {
            kind,
            items,
            raw_bytes: if compressed { u32::try_from(garbage.len()).unwrap() } else { raw_bytes },
            stored_bytes: u32::try_from(stored.len()).unwrap(),
            payload_crc: crc32fast::hash(&stored),
        };
        let mut bytes = record(&[])[..FILE_HEADER_BYTES].to_vec();
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(&stored);
        let after = record(&[vec![fact(5)]]);
        bytes.extend_from_slice(&after[FILE_HEADER_BYTES..]);
        let (items, _) = read(&bytes);
        prop_assert_eq!(items.last(), Some(&fact(5)));
    }
}
