//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::fact::Account;
use crate::machine::time::capacity::Capacity;
use crate::machine::time::slot::{Busy, Heat};
use crate::model::Conservation;
use crate::model::slot::Slot;

/// What threads did, as sums: slots, who was busy when, the laws.
#[derive(Clone, Debug)]
pub struct Time {
    /// Slots of threads that ended, by number.
    pub ended_slots: BTreeMap<u32, Slot>,
    /// Slots of each process whose thread has ended and that no other has taken over.
    pub vacant_slots: FxHashMap<Tid, Vec<u32>>,
    /// Busy slots over time.
    pub busy: Busy,
    /// The same for each process.
    pub busy_of: FxHashMap<Tid, Busy>,
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
    /// Time that threads which serve requests slept for child processes, in calls that are not observed.
    pub child_wait_ns: u64,
    /// Time that threads which are no slots spent lingering on finished connections.
    pub acceptor_linger_ns: u64,
    /// Who accepts where, and has slots for it.
    pub capacity: Capacity,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            ended_slots: BTreeMap::new(),
            vacant_slots: FxHashMap::default(),
            busy: Busy::default(),
            busy_of: FxHashMap::default(),
            heat: Heat::new(0),
            conservation: Conservation::default(),
            slots_come_and_go: false,
            carried: FxHashMap::default(),
            sequence_holes: 0,
            slot_count: 0,
            child_wait_ns: 0,
            acceptor_linger_ns: 0,
            capacity: Capacity::default(),
        }
    }
}

impl Time {
    /// The number of a slot for a thread of a process. The thread began at `since_ns`: it takes a slot whose thread had ended by then, or a new one.
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
            self.busy_of(tgid, window_start_ns).add(since_ns, until_ns);
            self.heat.add(tgid, since_ns, until_ns);
        }
    }

    /// The busy slots of a process over time.
    pub fn busy_of(&mut self, tgid: Tid, window_start_ns: u64) -> &mut Busy {
        self.busy_of.entry(tgid).or_insert_with(|| {
            let mut busy = Busy::default();
            busy.start(window_start_ns);
            busy
        })
    }
}
