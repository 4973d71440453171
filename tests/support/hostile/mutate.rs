//! Mutations that keep a recording one: items change, frames keep right lengths and checksums. A fuzzer that
//! flips bits of a file gets no further than its checksums.
//!
//! In: a file or a list of items, a seed, the fuzzer's own way to change bytes. Out: another one in its
//! place.

use std::path::Path;

use profiler_core::fact::FactRecord;
use profiler_core::stream::Item;
use wsgi_trace::recording::{Recorder, Recording};

use super::items;
use super::recording_reader::Memory;

/// The fuzzer's own way to change bytes: `(bytes, how many are used, how many there may be)`; how many are
/// used then.
pub type Fuzz<'a> = &'a mut dyn FnMut(&mut [u8], usize, usize) -> usize;

/// A mutator: `(bytes, how many are used, how many there may be, seed, the fuzzer's own way)`; how many are
/// used then.
pub type Mutator = fn(&mut [u8], usize, usize, u32, Fuzz<'_>) -> usize;

/// First bytes of every frame, and how long the headers of a file and of a frame are.
const MARKER: [u8; 8] = [0xf5, 0x1e, 0xc7, 0x9a, 0xff, 0x2b, 0xe3, 0x0d];
const FILE_HEADER_BYTES: usize = 64;
const FRAME_HEADER_BYTES: usize = 32;
/// Items taken from a file.
const MAX_ITEMS: usize = 4000;
/// Room that an item or a payload may grow by.
const ROOM_BYTES: usize = 256;
/// Numbers at which things break.
const EDGES: [u64; 10] = [0, 1, 2, 127, 255, 65_535, u32::MAX as u64, 1 << 33, i64::MAX as u64, u64::MAX];

/// A stream of numbers that look random.
struct Dice(u64);

impl Dice {
    fn new(seed: u32) -> Self {
        Self(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % bound.max(1)
    }

    fn edge(&mut self) -> u64 {
        let place = self.below(EDGES.len());
        EDGES.get(place).copied().unwrap_or_default()
    }
}

/// Changes a recording: its items, a frame's packed bytes, or the file as such.
pub fn recording(data: &mut [u8], size: usize, max_size: usize, seed: u32, fuzz: Fuzz<'_>) -> usize {
    let mut dice = Dice::new(seed);
    let file = data.get(..size).unwrap_or_default().to_vec();
    let changed = match dice.below(8) {
        0 => None,
        1 => Some(repaired(file, &mut dice, fuzz)),
        2 => repacked(&file, &mut dice, fuzz),
        _ => with_other_items(&file, &mut dice, fuzz),
    };
    match changed {
        Some(changed) => put_back(data, &changed, max_size).unwrap_or(size),
        None => fuzz(data, size, max_size),
    }
}

/// Changes a list of items as [`items::body`] takes it.
pub fn framed(data: &mut [u8], size: usize, max_size: usize, seed: u32, fuzz: Fuzz<'_>) -> usize {
    let mut dice = Dice::new(seed);
    if dice.below(8) == 0 {
        return fuzz(data, size, max_size);
    }
    let input = data.get(..size).unwrap_or_default();
    let mut all: Vec<(bool, Vec<u8>)> =
        items::split(input).map(|(tag, item)| (tag == items::KERNEL, item.to_vec())).collect();
    change(&mut all, &mut dice, fuzz);
    let mut changed = Vec::new();
    for (is_kernel, item) in &all {
        items::put(&mut changed, if *is_kernel { items::KERNEL } else { items::FACT }, item);
    }
    put_back(data, &changed, max_size).unwrap_or(size)
}

fn put_back(data: &mut [u8], changed: &[u8], max_size: usize) -> Option<usize> {
    let size = changed.len().min(max_size).min(data.len());
    data.get_mut(..size)?.copy_from_slice(changed.get(..size)?);
    (size > 0).then_some(size)
}

/// Some operations on items, each `(is a kernel record, its bytes)`.
fn change(all: &mut Vec<(bool, Vec<u8>)>, dice: &mut Dice, fuzz: Fuzz<'_>) {
    for _ in 0..=dice.below(4) {
        let (one, other) = (dice.below(all.len()), dice.below(all.len()));
        match dice.below(10) {
            0 if all.len() > 1 => drop(all.remove(one)),
            1 if all.len() > 1 => all.swap(one, other),
            2 if all.len() < MAX_ITEMS => {
                if let Some(item) = all.get(one).cloned() {
                    all.insert(other, item);
                }
            }
            3 if all.len() > 8 => {
                let end = one.saturating_add(1 + dice.below(8)).min(all.len());
                all.drain(one..end);
            }
            _ => match all.get_mut(one) {
                Some((true, record)) => kernel(record, dice, fuzz),
                Some((false, fact)) => json(fact, dice, fuzz),
                None => {}
            },
        }
    }
}

/// A record keeps its length, and mostly its kind: fields take edges, or what the fuzzer makes of them.
fn kernel(record: &mut [u8], dice: &mut Dice, fuzz: Fuzz<'_>) {
    let size = record.len();
    if size == 0 {
        // The fuzzer takes no empty one, and there is nothing to change.
        return;
    }
    let kind = record.first_chunk::<2>().copied();
    if dice.below(2) == 0 {
        let width = [1, 2, 4, 8].get(dice.below(4)).copied().unwrap_or(8);
        let place = dice.below(size / width) * width;
        let edge = dice.edge().to_le_bytes();
        if let (Some(field), Some(bytes)) = (record.get_mut(place..place + width), edge.get(..width)) {
            field.copy_from_slice(bytes);
        }
    } else {
        fuzz(record, size, size);
    }
    if let (Some(kind), Some(place), false) = (kind, record.first_chunk_mut::<2>(), dice.below(16) == 0) {
        *place = kind;
    }
}

/// A fact stays one: a number in it takes an edge, or text of it changes.
fn json(fact: &mut Vec<u8>, dice: &mut Dice, fuzz: Fuzz<'_>) {
    let mut changed = fact.clone();
    if dice.below(3) > 0 {
        let starts: Vec<usize> = numbers(fact);
        let Some(start) = starts.get(dice.below(starts.len())).copied() else { return };
        let rest = fact.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let edge = dice.edge().to_string();
        changed.splice(start..start + length, edge.into_bytes());
    } else {
        let size = changed.len();
        changed.resize(size + ROOM_BYTES, 0);
        let size = fuzz(&mut changed, size, size + ROOM_BYTES);
        changed.truncate(size);
    }
    if serde_json::from_slice::<FactRecord>(&changed).is_ok() {
        *fact = changed;
    }
}

/// Where numbers begin.
fn numbers(text: &[u8]) -> Vec<usize> {
    let before = std::iter::once(&b' ').chain(text);
    let begins = before.zip(text).enumerate();
    begins
        .filter(|(_, (before, byte))| byte.is_ascii_digit() && !before.is_ascii_digit())
        .map(|(at, _)| at)
        .collect()
}

fn with_other_items(file: &[u8], dice: &mut Dice, fuzz: Fuzz<'_>) -> Option<Vec<u8>> {
    let recording = Recording::from_reader(file, Path::new("fuzz")).ok()?;
    let mut all: Vec<(bool, Vec<u8>)> = Vec::new();
    for item in recording.take(MAX_ITEMS) {
        all.push(match item {
            Item::Kernel(record) => (true, record.to_vec()),
            Item::Fact(fact) => (false, serde_json::to_vec(&fact).ok()?),
        });
    }
    if all.is_empty() {
        return None;
    }
    change(&mut all, dice, fuzz);
    let frame_items = 1 + dice.below(all.len());
    let mut changed = Vec::new();
    let mut recorder = Recorder::on(Memory(&mut changed), Path::new("fuzz"), "fuzz").ok()?;
    for (number, (is_kernel, item)) in all.iter().enumerate() {
        if *is_kernel {
            recorder.record_kernel(item).ok()?;
        } else {
            recorder.record_fact(&serde_json::from_slice(item).ok()?).ok()?;
        }
        if number % frame_items == 0 {
            recorder.flush().ok()?;
        }
    }
    recorder.finish().ok()?;
    Some(changed)
}

/// Where frames begin, with the lengths that they claim for what is stored.
fn frames(file: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = FILE_HEADER_BYTES;
    while let Some(place) =
        file.get(at..).and_then(|rest| rest.windows(MARKER.len()).position(|window| window == MARKER))
    {
        let start = at + place;
        let stored = file.get(start + 20..).and_then(|rest| rest.first_chunk::<4>());
        let Some(stored) = stored.map(|bytes| u32::from_le_bytes(*bytes) as usize) else { break };
        found.push((start, stored.min(file.len())));
        at = start + MARKER.len();
    }
    found
}

/// Changes bytes anywhere and makes every checksum right again.
fn repaired(mut file: Vec<u8>, dice: &mut Dice, fuzz: Fuzz<'_>) -> Vec<u8> {
    let size = file.len();
    let frames = frames(&file);
    match frames.get(dice.below(frames.len())) {
        Some((start, stored)) if dice.below(4) > 0 => {
            // Its header's numbers or its payload; the marker stays.
            let from = start + MARKER.len();
            let to = (start + FRAME_HEADER_BYTES + stored).min(size);
            if let Some(part) = file.get_mut(from..to) {
                let length = part.len();
                fuzz(part, length, length);
            }
        }
        _ => drop(fuzz(&mut file, size, size)),
    }
    repair(&mut file);
    file
}

/// Unpacks what LZ4 packed in one frame, changes it, and packs it again.
fn repacked(file: &[u8], dice: &mut Dice, fuzz: Fuzz<'_>) -> Option<Vec<u8>> {
    let frames = frames(file);
    let (start, stored) = frames.get(dice.below(frames.len())).copied()?;
    let header = file.get(start..start + FRAME_HEADER_BYTES)?;
    let raw_bytes = u32::from_le_bytes(*header.get(16..)?.first_chunk()?) as usize;
    let payload_at = start + FRAME_HEADER_BYTES;
    let payload = file.get(payload_at..payload_at + stored)?;
    let mut raw = lz4_flex::block::decompress(payload, raw_bytes.min(1 << 22)).ok()?;
    let size = raw.len();
    raw.resize(size + ROOM_BYTES, 0);
    let size = fuzz(&mut raw, size, size + ROOM_BYTES);
    raw.truncate(size);
    let packed = lz4_flex::block::compress(&raw);
    let mut changed = file.get(..payload_at)?.to_vec();
    changed.extend_from_slice(&packed);
    changed.extend_from_slice(file.get(payload_at + stored..)?);
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    changed.get_mut(start + 16..start + 20)?.copy_from_slice(&number(raw.len()));
    changed.get_mut(start + 20..start + 24)?.copy_from_slice(&number(packed.len()));
    repair(&mut changed);
    Some(changed)
}

/// Makes the checksums of a file's header and of all frames right.
fn repair(file: &mut [u8]) {
    let sum = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
    if let Some((body, rest)) = file.split_at_mut_checked(FILE_HEADER_BYTES - 4)
        && let Some(place) = rest.first_chunk_mut::<4>()
    {
        *place = sum(body);
    }
    for (start, stored) in frames(file) {
        let payload_at = start + FRAME_HEADER_BYTES;
        let payload = file.get(payload_at..payload_at.saturating_add(stored)).map(sum);
        let Some(header) = file.get_mut(start..payload_at) else { continue };
        if let (Some(payload), Some(place)) = (payload, header.get_mut(24..28)) {
            place.copy_from_slice(&payload);
        }
        let body = header.get(8..28).map(sum);
        if let (Some(body), Some(place)) = (body, header.get_mut(28..32)) {
            place.copy_from_slice(&body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_core::fact::Fact;

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut recorder = Recorder::on(Memory(&mut bytes), Path::new("test"), "test").unwrap();
        for number in 0..40_u8 {
            recorder.record_kernel(&[number; 96]).unwrap();
            recorder
                .record_fact(&FactRecord { time_ns: 1000 + u64::from(number), fact: Fact::Tick })
                .unwrap();
        }
        recorder.finish().unwrap();
        bytes
    }

    #[test]
    fn most_changed_recordings_are_whole_ones_that_differ() {
        let original = file();
        let mut flip = |bytes: &mut [u8], size: usize, _: usize| {
            if let Some(byte) = bytes.get_mut(size / 2) {
                *byte ^= 1;
            }
            size
        };
        let (mut whole, mut different) = (0, 0);
        for seed in 0..200 {
            let mut bytes = original.clone();
            bytes.resize(original.len() * 2, 0);
            let size = recording(&mut bytes, original.len(), original.len() * 2, seed, &mut flip);
            let Ok(mut read) = Recording::from_reader(&bytes[..size], Path::new("test")) else { continue };
            whole += u32::from(read.by_ref().count() > 0 && read.summary().unreadable_bytes == 0);
            different += u32::from(bytes[..size] != original);
        }
        assert!(whole > 150 && different > 150, "{whole} whole, {different} different");
    }

    #[test]
    fn the_fuzzer_is_never_asked_to_change_what_has_no_bytes() {
        let mut items = Vec::new();
        items::put(&mut items, items::KERNEL, &[]);
        items::put(&mut items, items::KERNEL, &[7]);
        let mut asked = 0;
        let mut fuzz = |_: &mut [u8], size: usize, most: usize| {
            assert!(most > 0, "{size} of {most}");
            asked += 1;
            size
        };
        for seed in 0..200 {
            let mut bytes = items.clone();
            let size = framed(&mut bytes, items.len(), items.len(), seed, &mut fuzz);
            assert!(size <= items.len());
        }
        assert!(asked > 50, "{asked}");
    }
}
