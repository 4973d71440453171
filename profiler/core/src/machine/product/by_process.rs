//! Capacity by process: where the time of its requests went, beside its slots and its memory.
//!
//! In: finished requests, memory as it was read last, the slots and processes of the snapshot. Out: [`Capacity`].

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::fact::memory::ProcessMemory;
use crate::machine::time::slot::Busy;
use crate::model::Process;
use crate::model::capacity::{Capacity, Worker};
use crate::model::request::Request;
use crate::model::slot::{HeatRow, Slots};
use crate::phase::{Phase, Phases};

/// Processes, and listeners in them, whose requests and accepts are counted apart.
pub(in crate::machine) const MAX_COUNTED: usize = 65_536;

/// Sums by process.
#[derive(Clone, Debug, Default)]
pub struct ByProcess {
    phases: FxHashMap<Tid, Phases>,
    memory: FxHashMap<Tid, ProcessMemory>,
    /// What found no place.
    pub evicted: u64,
}

impl ByProcess {
    /// A request is finished, or cut off by the end of the window.
    pub fn add(&mut self, request: &Request) {
        if self.phases.len() < MAX_COUNTED || self.phases.contains_key(&request.tgid) {
            self.phases.entry(request.tgid).or_default().add_all(&request.phases);
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// A process's memory was read.
    pub fn remember(&mut self, memory: ProcessMemory) {
        if self.memory.len() < MAX_COUNTED || self.memory.contains_key(&memory.tgid) {
            self.memory.insert(memory.tgid, memory);
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// The next window begins; memory is read again at its end.
    pub fn roll(&mut self) {
        *self = Self::default();
    }

    /// Capacity of the window.
    #[must_use]
    pub fn finish(
        &self,
        slots: &Slots,
        processes: &[Process],
        busy: (&Busy, &FxHashMap<Tid, Busy>),
        arrival_measured: bool,
    ) -> Capacity {
        let (all, of_each) = busy;
        let mut rows: BTreeMap<Tid, Worker> = BTreeMap::new();
        for slot in &slots.observed {
            let row = rows.entry(slot.tgid).or_default();
            row.seen = row.seen.saturating_add(1);
            row.is_loop |= slot.is_loop;
            row.busy_ns = row.busy_ns.saturating_add(slot.busy_ns());
        }
        for process in processes {
            let phases = self.phases.get(&process.tgid).copied().unwrap_or_default();
            let serves = process.requests > 0 && process.role != "front_end" && phases != Phases::default();
            if serves || rows.contains_key(&process.tgid) {
                let row = rows.entry(process.tgid).or_default();
                (row.requests, row.phases) = (process.requests, phases);
                row.cpu_ns =
                    process.threads.iter().fold(0u64, |sum, thread| sum.saturating_add(thread.cpu_ns));
                row.memory = self.memory.get(&process.tgid).copied();
            }
        }
        let heat = |tgid: Tid| slots.heat.iter().find(|row| row.tgid == tgid);
        for (tgid, row) in &mut rows {
            row.tgid = *tgid;
            let configured = heat(*tgid).map(|row: &HeatRow| (row.slots, row.exhausted_ns));
            (row.slots, row.exhausted_ns) = configured.unwrap_or((row.seen, 0));
            row.arrived_full = of_each.get(tgid).map_or(0, |busy| busy.arrived_at_least(row.slots.max(1)));
        }
        let arrived = if slots.count() > 0 { all.arrived_at_least(slots.count()) } else { 0 };
        Capacity {
            arrived_full: arrival_measured.then_some(arrived),
            arrivals_unplaced: all.arrivals_unplaced(),
            workers: rows.into_values().collect(),
        }
    }
}

/// Whether a request waited for somebody to take it up. If a thread already held its connection, it did not.
#[must_use]
pub fn had_to_wait(request: &Request) -> bool {
    [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait].iter().any(|phase| request.phases.get(*phase) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};

    fn request() -> Request {
        let beginning = Beginning {
            id: 1,
            connection: 0,
            index: 0,
            start_ns: 10,
            start_is_arrival: true,
            accepted_ns: None,
            truncated: false,
            dispatched_ns: 0,
        };
        *Active::new(&beginning, 7, 8).request
    }

    #[test]
    fn a_process_for_which_there_is_no_room_is_counted() {
        let mut sums = ByProcess::default();
        let mut request = request();
        for tgid in 0..=MAX_COUNTED as u32 {
            request.tgid = tgid;
            sums.add(&request);
        }
        assert_eq!((sums.phases.len(), sums.evicted), (MAX_COUNTED, 1), "its requests");
        for tgid in 0..=MAX_COUNTED as u32 {
            sums.remember(ProcessMemory { tgid, ..ProcessMemory::default() });
        }
        assert_eq!((sums.memory.len(), sums.evicted), (MAX_COUNTED, 2), "its memory");
        sums.roll();
        assert_eq!(sums.evicted, 0);
    }
}
