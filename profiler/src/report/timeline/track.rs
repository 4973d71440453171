//! Tracks: who their parents are, how they are named, and until when each is taken.
//!
//! In: processes, threads and slots, and the intervals drawn on their tracks. Out: track descriptors, numbers
//! that identify tracks, and for each interval a track on which it overlaps nothing. Bounded: the tracks that
//! were used longest ago are forgotten first (they are described again when they come back, which Perfetto
//! allows).

use std::collections::HashMap;

use profiler_core::event::Tid;

use super::message::{
    CounterDescriptor, ORDER_EXPLICIT, ProcessDescriptor, ThreadDescriptor, TrackDescriptor, UNIT_COUNT,
};
use super::text::bounded;

/// Tracks remembered at once.
pub(super) const MAX_TRACKS: usize = 16_384;
/// Tracks side by side for intervals that overlap.
pub(super) const MAX_LANES: u32 = 512;

/// One track. `lane` 0 is the first; a further lane takes what would overlap on those before it. Lanes of one
/// parent share a name, by which the viewer joins them into one row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Track {
    Process { tgid: Tid },
    Thread { tgid: Tid, tid: Tid, lane: u32 },
    Served { tgid: Tid, tid: Tid, lane: u32 },
    Requests { tgid: Tid },
    Slot { tgid: Tid, slot: Option<u32>, lane: u32 },
    BusySlots { tgid: Tid },
    AcceptQueue { inode: u64 },
    Listeners,
    Listener { inode: u64 },
    Woken { tgid: Tid, tid: Tid, lane: u32 },
    Chains { lane: u32 },
    Hops { tgid: Tid, tid: Tid, lane: u32 },
}

impl Track {
    /// The track it stands under.
    pub(super) const fn parent(self) -> Option<Self> {
        match self {
            Self::Process { .. }
            | Self::AcceptQueue { .. }
            | Self::Requests { tgid: 0 }
            | Self::BusySlots { tgid: 0 }
            | Self::Chains { .. }
            | Self::Listeners => None,
            Self::Thread { tgid, lane: 0, .. } | Self::Requests { tgid } | Self::BusySlots { tgid } => {
                Some(Self::Process { tgid })
            }
            Self::Thread { tgid, tid, .. }
            | Self::Served { tgid, tid, .. }
            | Self::Hops { tgid, tid, .. }
            | Self::Woken { tgid, tid, .. } => Some(Self::Thread { tgid, tid, lane: 0 }),
            Self::Listener { .. } => Some(Self::Listeners),
            Self::Slot { tgid, .. } => Some(Self::Requests { tgid }),
        }
    }

    /// Number that identifies the track in the file: the same in every file for the same process, thread or
    /// slot.
    pub(super) fn uuid(self) -> u64 {
        let words = match self {
            Self::Process { tgid } => [1, tgid, 0, 0],
            Self::Thread { tgid, tid, lane } => [2, tgid, tid, lane],
            Self::Served { tgid, tid, lane } => [3, tgid, tid, lane],
            Self::Requests { tgid } => [4, tgid, 0, 0],
            Self::Slot { tgid, slot: Some(slot), lane } => [5, tgid, slot, lane],
            Self::Slot { tgid, slot: None, lane } => [6, tgid, 0, lane],
            Self::BusySlots { tgid } => [7, tgid, 0, 0],
            #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
            Self::AcceptQueue { inode } => [8, inode as u32, (inode >> 32) as u32, 0],
            Self::Listeners => [9, 0, 0, 0],
            #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
            Self::Listener { inode } => [10, (inode >> 32) as u32, inode as u32, 0],
            Self::Woken { tgid, tid, lane } => [11, tgid, tid, lane],
            Self::Chains { lane } => [12, 0, 0, lane],
            Self::Hops { tgid, tid, lane } => [13, tgid, tid, lane],
        };
        // FNV-1a over 64 bits: stable over releases, and 0, which Perfetto reserves, does not come up.
        words.iter().flat_map(|word: &u32| word.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }) | 1
    }

    /// What the file says of the track. `name` is a process's or thread's own name, where it is known.
    pub(super) fn descriptor(self, name: Option<&str>) -> TrackDescriptor {
        let mut descriptor = TrackDescriptor {
            uuid: Some(self.uuid()),
            parent_uuid: self.parent().map(Self::uuid),
            ..TrackDescriptor::default()
        };
        match self {
            Self::Process { tgid } => {
                descriptor.process =
                    Some(ProcessDescriptor { pid: Some(as_pid(tgid)), process_name: name.map(bounded) });
            }
            Self::Thread { tgid, tid, lane: 0 } => {
                descriptor.thread = Some(ThreadDescriptor {
                    pid: Some(as_pid(tgid)),
                    tid: Some(i64::from(tid)),
                    thread_name: name.map(bounded),
                });
            }
            Self::Thread { .. } => descriptor.name = Some("overlapping".to_owned()),
            Self::Served { .. } => descriptor.name = Some("served".to_owned()),
            Self::Woken { .. } => descriptor.name = Some("woken for a connection".to_owned()),
            Self::Chains { .. } => descriptor.name = Some("what requests waited for".to_owned()),
            Self::Hops { .. } => descriptor.name = Some("waited for".to_owned()),
            Self::Listeners => descriptor.name = Some("listeners".to_owned()),
            Self::Listener { inode } => descriptor.name = Some(format!("connections, listener {inode}")),
            Self::Requests { .. } => {
                descriptor.name = Some("requests".to_owned());
                descriptor.child_ordering = Some(ORDER_EXPLICIT);
            }
            Self::Slot { slot, .. } => {
                descriptor.name = Some(slot.map_or_else(|| "no slot".to_owned(), |id| format!("slot {id}")));
                descriptor.sibling_order_rank = Some(slot.map_or(i32::MAX, as_pid));
            }
            Self::AcceptQueue { .. } => {
                let address = bounded(name.unwrap_or_default());
                descriptor.name = Some(format!("accept queue of {address}"));
                descriptor.counter = Some(CounterDescriptor {
                    unit: Some(UNIT_COUNT),
                    unit_name: Some("connections".to_owned()),
                });
            }
            Self::BusySlots { tgid } => {
                let whole = if tgid == 0 { "busy slots, whole server" } else { "busy slots" };
                descriptor.name = Some(whole.to_owned());
                descriptor.counter =
                    Some(CounterDescriptor { unit: Some(UNIT_COUNT), unit_name: Some("slots".to_owned()) });
            }
        }
        descriptor
    }
}

fn as_pid(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What is remembered of a track.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    busy_until_ns: u64,
    last_use_ns: u64,
}

/// The tracks of one file.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    uses: HashMap<Track, Use>,
    /// Tracks forgotten because there were too many.
    pub(super) evicted: u64,
}

impl Tracks {
    /// Notes a use at `time_ns`; `true` if the track was not remembered and must be described.
    pub(super) fn touch(&mut self, track: Track, time_ns: u64) -> bool {
        if let Some(known) = self.uses.get_mut(&track) {
            known.last_use_ns = known.last_use_ns.max(time_ns);
            return false;
        }
        if self.uses.len() >= MAX_TRACKS {
            self.evict();
        }
        self.uses.insert(track, Use { busy_until_ns: 0, last_use_ns: time_ns });
        true
    }

    /// First lane that is free from `start_ns` on; `None` if [`MAX_LANES`] lanes are taken.
    pub(super) fn free_lane(&self, start_ns: u64, lane_of: impl Fn(u32) -> Track) -> Option<Track> {
        (0..MAX_LANES)
            .map(lane_of)
            .find(|track| self.uses.get(track).is_none_or(|known| known.busy_until_ns <= start_ns))
    }

    /// Takes a track until `end_ns`.
    pub(super) fn take_until(&mut self, track: Track, end_ns: u64) {
        if let Some(known) = self.uses.get_mut(&track) {
            known.busy_until_ns = known.busy_until_ns.max(end_ns);
            known.last_use_ns = known.last_use_ns.max(end_ns);
        }
    }

    /// Forgets the quarter of the tracks that was used longest ago.
    fn evict(&mut self) {
        let mut times: Vec<u64> = self.uses.values().map(|known| known.last_use_ns).collect();
        let (_, limit, _) = times.select_nth_unstable(MAX_TRACKS / 4);
        let limit = *limit;
        let mut remaining = MAX_TRACKS / 4;
        self.uses.retain(|_, known| {
            let goes = remaining > 0 && known.last_use_ns <= limit;
            remaining -= usize::from(goes);
            !goes
        });
        self.evicted += (MAX_TRACKS / 4 - remaining) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tracks_of_different_things_have_different_numbers() {
        let mut seen = HashSet::new();
        for a in 0..40 {
            seen.insert(Track::Process { tgid: a }.uuid());
            seen.insert(Track::Requests { tgid: a }.uuid());
            seen.insert(Track::BusySlots { tgid: a }.uuid());
            seen.insert(Track::AcceptQueue { inode: u64::from(a) }.uuid());
            seen.insert(Track::Chains { lane: a }.uuid());
            for b in 0..40 {
                seen.insert(Track::Slot { tgid: a, slot: None, lane: b }.uuid());
                for lane in 0..4 {
                    seen.insert(Track::Thread { tgid: a, tid: b, lane }.uuid());
                    seen.insert(Track::Served { tgid: a, tid: b, lane }.uuid());
                    seen.insert(Track::Hops { tgid: a, tid: b, lane }.uuid());
                    seen.insert(Track::Slot { tgid: a, slot: Some(b), lane }.uuid());
                }
            }
        }
        assert_eq!(seen.len(), 40 * (5 + 40 * 17));
    }

    #[test]
    fn the_table_stays_bounded_and_forgets_what_was_used_longest_ago() {
        let mut tracks = Tracks::default();
        let thread = |tid: u32| Track::Thread { tgid: 1, tid, lane: 0 };
        let count = 3 * MAX_TRACKS as u32;
        for tid in 0..count {
            tracks.touch(thread(tid), u64::from(tid));
        }
        assert!(tracks.uses.len() <= MAX_TRACKS);
        assert_eq!(tracks.evicted, u64::from(count) - tracks.uses.len() as u64);
        assert!(!tracks.touch(thread(count - 1), 0));
        assert!(tracks.touch(thread(0), 0));
    }

    #[test]
    fn a_table_of_equal_times_still_makes_room() {
        let mut tracks = Tracks::default();
        for tgid in 0..2 * MAX_TRACKS as u32 {
            tracks.touch(Track::Process { tgid }, 7);
        }
        assert!(tracks.uses.len() <= MAX_TRACKS);
    }

    #[test]
    fn lanes_run_out_instead_of_growing_without_bound() {
        let mut tracks = Tracks::default();
        let lane_of = |lane| Track::Slot { tgid: 1, slot: Some(0), lane };
        for lane in 0..MAX_LANES {
            assert_eq!(tracks.free_lane(5, lane_of), Some(lane_of(lane)));
            tracks.touch(lane_of(lane), 5);
            tracks.take_until(lane_of(lane), 10);
        }
        assert_eq!(tracks.free_lane(9, lane_of), None);
        assert_eq!(tracks.free_lane(10, lane_of), Some(lane_of(0)));
    }
}
