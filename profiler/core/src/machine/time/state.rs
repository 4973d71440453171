//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::fact::{Account, OpenSlice};
use crate::machine::time::capacity::Capacity;
use crate::machine::time::sleeps::Sleeps;
use crate::machine::time::slot::{Busy, Heat};
use crate::model::Conservation;
use crate::model::slot::Slot;

/// Processes whose busy slots are kept. The heat map has fewer rows, and counts those without one.
const MAX_BUSY: usize = 65_536;

/// What threads did, as sums: slots, who was busy when, the laws.
#[derive(Clone, Debug)]
pub struct Time {
    /// Slots of threads that ended, by number.
    pub ended_slots: BTreeMap<u32, Slot>,
    /// Slots of each process whose thread has ended and that no other has taken over.
    pub vacant_slots: FxHashMap<Tid, Vec<u32>>,
    /// Busy slots over time.
    pub busy: Busy,
    /// Busy slots over time, of each process.
    pub busy_of: BoundedMap<Tid, Busy, MAX_BUSY>,
    /// Heat map.
    pub heat: Heat,
    /// The laws.
    pub conservation: Conservation,
    /// Threads took over from others that had ended.
    pub slots_come_and_go: bool,
    /// Slices that were open when the window began: number, and account up to then.
    pub carried: FxHashMap<Tid, (u32, Account)>,
    /// Slices missing from the sequences.
    pub sequence_holes: u64,
    /// Slots so far.
    pub slot_count: u32,
    /// Time that threads which are no slots spent lingering on finished connections.
    pub acceptor_linger_ns: u64,
    /// Who accepts where, and has slots for it.
    pub capacity: Capacity,
    /// No call is seen, but in which of them threads sleep: light mode.
    pub is_light: bool,
    /// What it knows instead of calls.
    pub light: LightTime,
}

/// What light mode knows of threads instead of their calls.
#[derive(Clone, Debug, Default)]
pub struct LightTime {
    /// What they slept for.
    pub sleeps: Sleeps,
    /// Requests that one thread read and another answered: which of them they held is not known.
    pub passed_on: u64,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            ended_slots: BTreeMap::new(),
            vacant_slots: FxHashMap::default(),
            busy: Busy::default(),
            busy_of: BoundedMap::default(),
            heat: Heat::new(0),
            conservation: Conservation::default(),
            slots_come_and_go: false,
            carried: FxHashMap::default(),
            sequence_holes: 0,
            slot_count: 0,
            acceptor_linger_ns: 0,
            capacity: Capacity::default(),
            is_light: false,
            light: LightTime::default(),
        }
    }
}

impl Time {
    /// The next window begins at `time_ns`, when the threads were in the middle of `open`.
    pub fn roll(&mut self, time_ns: u64, open: &[OpenSlice]) {
        self.busy = Busy::default();
        self.busy.start(time_ns);
        self.busy_of.clear();
        self.heat = Heat::new(time_ns);
        self.carried = open
            .iter()
            .map(|open| (open.tid, (open.sequence.saturating_add(1), open.gap.plus(open.call))))
            .collect();
        self.ended_slots.clear();
        self.vacant_slots.clear();
        self.acceptor_linger_ns = 0;
        self.light.passed_on = 0;
        self.capacity.roll();
        self.conservation = Conservation::default();
        self.sequence_holes = 0;
    }

    /// The account up to the beginning of the window of a slice that was open then; it is asked for once.
    #[inline]
    pub fn carried_of(&mut self, tid: Tid, sequence: u32) -> Account {
        if self.carried.is_empty() {
            return Account::default();
        }
        match self.carried.remove(&tid) {
            Some((open, account)) if open == sequence => account,
            _ => Account::default(),
        }
    }

    /// The number of a slot for a thread of a process. The thread began at `since_ns`: it takes a slot whose
    /// thread had ended by then, or a new one.
    pub fn take_slot(&mut self, tgid: Tid, since_ns: u64) -> u32 {
        let ended = &self.ended_slots;
        let vacant = self.vacant_slots.get_mut(&tgid).and_then(|vacant| {
            let before = |id: &u32| ended.get(id).is_some_and(|slot| slot.until_ns <= since_ns);
            let place = vacant.iter().position(before)?;
            Some(vacant.swap_remove(place))
        });
        self.slots_come_and_go |= vacant.is_some();
        vacant.unwrap_or_else(|| {
            let id = self.slot_count;
            self.slot_count = self.slot_count.saturating_add(1);
            self.capacity.has_slot(tgid);
            id
        })
    }

    /// A slot of a process was busy.
    pub fn was_busy(&mut self, tgid: Tid, (since_ns, until_ns): (u64, u64), window_start_ns: u64) {
        self.capacity.was_busy(tgid, since_ns, until_ns);
        let since_ns = since_ns.max(window_start_ns);
        if until_ns > since_ns {
            self.busy.add(since_ns, until_ns);
            if let Some(busy) = self.busy_of(tgid, window_start_ns) {
                busy.add(since_ns, until_ns);
            }
            self.heat.add(tgid, since_ns, until_ns);
        }
    }

    /// The busy slots of a process over time; `None`: there is no room.
    pub fn busy_of(&mut self, tgid: Tid, window_start_ns: u64) -> Option<&mut Busy> {
        self.busy_of.get_or_insert_with(tgid, || {
            let mut busy = Busy::default();
            busy.start(window_start_ns);
            busy
        })
    }

    /// What found no place.
    pub fn evicted(&self) -> u64 {
        self.busy.forced + self.heat.evicted() + self.capacity.evicted() + self.light.sleeps.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process 7 whose slots' threads ended at these times.
    fn vacant(until_ns: &[u64]) -> Time {
        let mut time = Time::default();
        for until_ns in until_ns {
            let id = time.take_slot(7, 0);
            let slot = Slot {
                id,
                tgid: 7,
                tid: 70,
                since_ns: 0,
                until_ns: *until_ns,
                holding_ns: Default::default(),
                requests: 0,
                is_loop: false,
            };
            time.ended_slots.insert(id, slot);
        }
        let vacant = time.ended_slots.keys().copied().collect();
        time.vacant_slots.insert(7, vacant);
        time
    }

    #[test]
    fn a_thread_takes_over_the_slot_of_one_of_its_process_that_had_ended_by_then() {
        for (what, until_ns, tgid, since_ns, expected) in [
            ("none is vacant", &[][..], 7, 100, (0, false)),
            ("it had ended", &[99], 7, 100, (0, true)),
            ("it ended as the thread began", &[100], 7, 100, (0, true)),
            ("it ended later", &[101], 7, 100, (1, false)),
            ("one of two had ended", &[101, 99], 7, 100, (1, true)),
            ("it was another process's", &[99], 8, 100, (1, false)),
        ] {
            let mut time = vacant(until_ns);
            let told = (time.take_slot(tgid, since_ns), time.slots_come_and_go);
            assert_eq!(told, expected, "{what}");
        }
    }

    #[test]
    fn a_slot_is_taken_over_once() {
        let mut time = vacant(&[50]);
        assert_eq!([time.take_slot(7, 100), time.take_slot(7, 100), time.take_slot(7, 100)], [0, 1, 2]);
    }

    #[test]
    fn a_busy_stretch_counts_within_the_window_for_all_and_for_its_process() {
        for (what, span, expected_ns) in [
            ("before the window", (10, 90), 0),
            ("up to its begin", (10, 100), 0),
            ("over its begin", (10, 130), 30),
            ("within it", (110, 130), 20),
            ("of no length", (110, 110), 0),
        ] {
            let mut time = Time::default();
            time.busy.start(100);
            time.was_busy(7, span, 100);
            time.was_busy(8, (150, 160), 100);
            let of_its_own = time.busy_of(7, 100).expect("room");
            of_its_own.settle(200, |_, _| {});
            assert_eq!(of_its_own.at_least_ns(1), expected_ns, "{what}");
            time.busy.settle(200, |_, _| {});
            assert_eq!(time.busy.at_least_ns(1), expected_ns + 10, "{what}");
        }
    }

    #[test]
    fn threads_whose_sleeps_find_no_place_are_counted() {
        let mut time = Time::default();
        time.light.sleeps.evicted = 3;
        assert_eq!(time.evicted(), 3);
    }

    #[test]
    fn processes_whose_busy_slots_find_no_place_are_counted() {
        let mut time = Time::default();
        time.busy.start(100);
        (0..MAX_BUSY as u32 + 10).for_each(|tgid| time.was_busy(tgid, (110, 120), 100));
        assert_eq!(time.busy_of.len(), MAX_BUSY);
        assert!(time.heat.evicted() > 0);
        time.was_busy(0, (130, 140), 100);
        let known = time.busy_of(0, 100).expect("it is known");
        known.settle(200, |_, _| {});
        assert_eq!(known.at_least_ns(1), 20);
    }
}
