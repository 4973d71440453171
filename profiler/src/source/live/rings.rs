//! The rings that records come through: one for each CPU, and one for the iterators.
//!
//! In: what the programs write (`profiler_common::ring`). Out: records, those of all rings in the order of
//! their time so far as they have come, and how many were written. What was taken is told to the writers, who
//! count what finds no room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{Ordering, fence};

use aya::maps::{Array, MapData};
use aya::{Ebpf, EbpfLoader};
use profiler_common::limits::{
    ALL_RINGS_BYTES, EVIDENCE_SHARE, MAX_EVIDENCE_RING_BYTES, MAX_RING_BYTES, MIN_EVIDENCE_RING_BYTES,
    MIN_RING_BYTES,
};
use profiler_common::loss::EMITTED_KINDS;
use profiler_common::record::RecordHeader;
use profiler_common::ring::{CHUNK_BYTES, ELEMENT_BYTES, MIN_CHUNKS, RingState, after};

use super::LiveError;
use super::mapping::Mapping;
use super::take;

/// How large the rings are: the loader needs to know before the programs are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// The CPUs' and, last, the iterators'.
    rings: u32,
    /// Chunks of each, a power of two.
    chunks: u32,
    /// Bytes that may be in use in each.
    capacity_bytes: u32,
    /// Bytes of the ring for evidence, a power of two.
    evidence_bytes: u32,
}

/// The globals of the programs that [`Size`] fills.
pub(crate) struct Globals {
    chunks: u32,
    capacity_bytes: u32,
    iterators_ring: u32,
}

impl Size {
    /// For a machine with `cpus` CPUs; `ring_bytes` is the capacity of each ring where the user gave one.
    pub(crate) fn new(cpus: u32, ring_bytes: Option<u32>) -> Self {
        let chunk = CHUNK_BYTES as u32;
        let bytes = ring_bytes.unwrap_or_else(|| {
            (ALL_RINGS_BYTES / cpus.max(1)).next_power_of_two().clamp(MIN_RING_BYTES, MAX_RING_BYTES)
        });
        // One chunk more than can be in use: that in which the reader is.
        let chunks = (bytes / chunk).next_power_of_two().max(MIN_CHUNKS);
        Self {
            rings: cpus.saturating_add(1),
            chunks,
            capacity_bytes: bytes.min(chunks.saturating_sub(1).saturating_mul(chunk)),
            evidence_bytes: (bytes / EVIDENCE_SHARE)
                .saturating_mul(cpus)
                .clamp(MIN_EVIDENCE_RING_BYTES, MAX_EVIDENCE_RING_BYTES)
                .next_power_of_two(),
        }
    }

    /// Bytes that may be in use in each ring.
    #[cfg(test)]
    pub(crate) const fn capacity_bytes(self) -> u32 {
        self.capacity_bytes
    }

    /// Values for the programs' globals.
    pub(crate) fn globals(self) -> Globals {
        Globals {
            chunks: self.chunks,
            capacity_bytes: self.capacity_bytes,
            iterators_ring: self.rings.saturating_sub(1),
        }
    }

    /// Sizes the maps.
    pub(crate) fn apply<'a>(self, globals: &'a Globals, loader: &mut EbpfLoader<'a>) {
        loader
            .map_max_entries("RECORDS", self.rings.saturating_mul(self.chunks))
            .map_max_entries("RING_STATES", self.rings)
            .map_max_entries("TAKEN", self.rings)
            .map_max_entries("EVIDENCE", self.evidence_bytes)
            .override_global("RING_CHUNKS", &globals.chunks, true)
            .override_global("RING_CAPACITY", &globals.capacity_bytes, true)
            .override_global("ITERATORS_RING", &globals.iterators_ring, true);
    }
}

/// The reading end of all rings.
pub(super) struct Rings {
    states: Mapping<RingState>,
    chunks: Mapping<[u8; ELEMENT_BYTES]>,
    taken_map: Array<MapData, u64>,
    /// Position of each ring up to which its records were handed out.
    taken: Vec<u64>,
    /// What the writers know of that.
    told: Vec<u64>,
    chunks_a_ring: usize,
    /// Records that wait to be merged: time and ring of the next one of each, kept for its room.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Rings {
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, LiveError> {
        let states: Mapping<RingState> = Mapping::of(ebpf, "RING_STATES")?;
        let chunks = Mapping::of(ebpf, "RECORDS")?;
        let taken_map = take(ebpf, "TAKEN", Array::try_from)?;
        let rings = states.count();
        Ok(Self {
            chunks_a_ring: chunks.count().checked_div(rings).unwrap_or(0),
            states,
            chunks,
            taken_map,
            taken: vec![0; rings],
            told: vec![0; rings],
            next: BinaryHeap::with_capacity(rings),
        })
    }

    /// Hands what was written before this call, and is no later than `until_ns`, to `each`, oldest first;
    /// returns how many. Between its looks at two rings the reader may lose its CPU: without that moment,
    /// what one ring has of the pause would pass what the other has.
    pub(super) fn drain_until(&mut self, until_ns: u64, mut each: impl FnMut(&[u8])) -> u64 {
        let written: Vec<u64> = (0..self.taken.len()).map(|ring| self.written(ring)).collect();
        // What the writers had written before they moved their positions is read after this.
        fence(Ordering::Acquire);
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        for ring in 0..self.taken.len() {
            self.look(ring, &written, &mut next);
        }
        let mut received = 0;
        'rings: while let Some(Reverse((_, ring))) = next.pop() {
            let others = next.peek().map(|Reverse(other)| *other);
            // As long as this ring has the oldest record, the others need not be compared.
            while let (Some(record), Some(position)) = (self.record(ring, &written), self.taken.get(ring)) {
                let own = (time_ns(record), ring);
                if own.0 > until_ns {
                    break 'rings;
                }
                if others.is_some_and(|other| other < own) {
                    next.push(Reverse(own));
                    break;
                }
                let behind = after(*position, record.len() as u64);
                received += 1;
                each(record);
                if let Some(taken) = self.taken.get_mut(ring) {
                    *taken = behind;
                }
                // A whole chunk is free again: no reason to let the writer wait for the end.
                if behind.is_multiple_of(CHUNK_BYTES) {
                    self.tell(ring);
                }
            }
        }
        for ring in 0..self.taken.len() {
            self.tell(ring);
        }
        self.next = next;
        received
    }

    /// Records written so far, by kind.
    pub(super) fn emitted(&self) -> [u64; EMITTED_KINDS as usize] {
        let mut sums = [0_u64; EMITTED_KINDS as usize];
        for state in (0..self.states.count()).filter_map(|ring| self.states.element(ring)) {
            // SAFETY: an element of the mapping; each number is one aligned word.
            let emitted = unsafe { (&raw const (*state).emitted).read_volatile() };
            for (sum, count) in sums.iter_mut().zip(emitted) {
                *sum = sum.saturating_add(count);
            }
        }
        sums
    }

    fn written(&self, ring: usize) -> u64 {
        // SAFETY: an element of the mapping; one aligned word.
        self.states.element(ring).map_or(0, |state| unsafe { (&raw const (*state).written).read_volatile() })
    }

    /// Puts the next record of `ring`, if there is one, among those that wait.
    fn look(&self, ring: usize, written: &[u64], next: &mut BinaryHeap<Reverse<(u64, usize)>>) {
        if let Some(record) = self.record(ring, written) {
            next.push(Reverse((time_ns(record), ring)));
        }
    }

    /// The next record of `ring` that was whole when `written` was read.
    fn record(&self, ring: usize, written: &[u64]) -> Option<&[u8]> {
        let (position, written) = (*self.taken.get(ring)?, *written.get(ring)?);
        if position >= written {
            return None;
        }
        let chunk = usize::try_from(position / CHUNK_BYTES).ok()?.checked_rem(self.chunks_a_ring)?;
        let element = self.chunks.element(ring.checked_mul(self.chunks_a_ring)?.checked_add(chunk)?)?;
        let start = usize::try_from(position % CHUNK_BYTES).ok()?;
        // SAFETY: the writer does not touch the chunk before it is told that these records were taken, which
        // needs `&mut self`; the bytes from `start` on are inside the element.
        let bytes = unsafe {
            std::slice::from_raw_parts(element.cast::<u8>().add(start), ELEMENT_BYTES.checked_sub(start)?)
        };
        let length = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]);
        bytes.get(..usize::from(length).max(size_of::<RecordHeader>()))
    }

    /// Tells the writer what was taken. Where the kernel refuses (which it has no reason to) the ring fills
    /// up, and what finds no room is counted.
    fn tell(&mut self, ring: usize) {
        let (Some(taken), Some(told)) = (self.taken.get(ring), self.told.get_mut(ring)) else { return };
        // What was taken has been read before the writer may write there.
        fence(Ordering::Release);
        if taken != told
            && let Ok(number) = u32::try_from(ring)
            && self.taken_map.set(number, taken, 0).is_ok()
        {
            *told = *taken;
        }
    }
}

/// `RecordHeader::time_ns`.
pub(super) fn time_ns(record: &[u8]) -> u64 {
    const AT: usize = std::mem::offset_of!(RecordHeader, time_ns);
    record.get(AT..AT + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_of_a_small_machine_are_larger_than_those_of_a_large_one() {
        let bytes = |cpus| Size::new(cpus, None).capacity_bytes;
        assert!(bytes(2) > 3 << 20 && bytes(2) < MAX_RING_BYTES);
        assert!(bytes(256) > 800 << 10 && bytes(256) < MIN_RING_BYTES);
        assert_eq!(Size::new(2, None).rings, 3, "one for each CPU and one for the iterators");
    }

    #[test]
    fn ring_for_evidence_grows_with_those_that_tell_of_the_same_connections() {
        let bytes = |cpus, ring_bytes| Size::new(cpus, ring_bytes).evidence_bytes;
        assert_eq!(bytes(2, None), 2 << 20);
        assert_eq!(bytes(3, None), 4 << 20, "the kernel wants a power of two");
        assert_eq!(bytes(2, Some(4096)), MIN_EVIDENCE_RING_BYTES);
        assert_eq!(bytes(4096, Some(1 << 30)), MAX_EVIDENCE_RING_BYTES);
    }

    #[test]
    fn capacity_that_the_user_gives_leaves_the_reader_a_chunk() {
        let small = Size::new(2, Some(4096));
        assert_eq!((small.chunks, small.capacity_bytes), (2, 4096));
        let large = Size::new(2, Some(1 << 20));
        assert_eq!(u64::from(large.capacity_bytes), u64::from(large.chunks - 1) * CHUNK_BYTES);
    }
}
