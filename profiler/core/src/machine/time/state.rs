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
    /// The part before the window of slices that were open when it began: number of the slice, and its account so far.
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
