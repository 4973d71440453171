//! Capacity by process: where the time of its requests went, beside its slots and its memory.
//!
//! In: finished requests, memory as it was read last, the slots and processes of the snapshot. Out:
//! [`Capacity`].

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::fact::memory::ProcessMemory;
use crate::machine::time::slot::Busy;
use crate::model::Process;
use crate::model::capacity::{Capacity, Worker};
use crate::model::request::Request;
use crate::model::slot::{HeatRow, Slots};
use crate::phase::{Phase, Phases};

/// Processes whose requests are counted apart.
pub(in crate::machine) const MAX_COUNTED: usize = 65_536;

/// Sums by process.
#[derive(Clone, Debug, Default)]
pub struct ByProcess {
    phases: BoundedMap<Tid, Phases, MAX_COUNTED>,
    memory: BoundedMap<Tid, ProcessMemory, MAX_COUNTED>,
}

impl ByProcess {
    /// A request is finished, or cut off by the end of the window.
    pub fn add(&mut self, request: &Request) {
        if let Some(phases) = self.phases.get_or_default(request.tgid) {
            phases.add_all(&request.phases);
        }
    }

    /// A process's memory was read.
    pub fn remember(&mut self, memory: ProcessMemory) {
        self.memory.insert(memory.tgid, memory);
    }

    /// Processes that found no place.
    pub const fn evicted(&self) -> u64 {
        self.phases.evicted() + self.memory.evicted()
    }

    /// The next window begins; memory is read again at its end.
    pub fn roll(&mut self) {
        *self = Self::default();
    }

    /// Capacity of the window.
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
            lives: Vec::new(),
        }
    }
}

/// Whether a request waited for somebody to take it up. If a thread already held its connection, it did not.
pub fn had_to_wait(request: &Request) -> bool {
    [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait].iter().any(|phase| request.phases.get(*phase) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};
    use crate::model::Thread;
    use crate::model::slot::{Holding, Slot};

    fn request(tgid: Tid, phase: Phase, duration_ns: u64) -> Request {
        let mut request = Active::new(&Beginning::at(1, 100), tgid, tgid).request;
        request.phases.add(phase, duration_ns);
        *request
    }

    fn process(tgid: Tid, role: &str, requests: u64) -> Process {
        let threads =
            vec![Thread { cpu_ns: 3, ..Thread::default() }, Thread { cpu_ns: 4, ..Thread::default() }];
        Process { tgid, role: role.to_owned(), requests, threads, ..Process::default() }
    }

    fn slot(tgid: Tid, busy_ns: u64) -> Slot {
        let mut holding_ns = [0; Holding::COUNT];
        holding_ns[Holding::Request as usize] = busy_ns;
        Slot { id: 0, tgid, tid: tgid, since_ns: 0, until_ns: 100, holding_ns, requests: 0, is_loop: false }
    }

    fn finish(by_process: &ByProcess, slots: &Slots, processes: &[Process]) -> Capacity {
        by_process.finish(slots, processes, (&Busy::default(), &FxHashMap::default()), true)
    }

    #[test]
    fn a_row_has_who_served_and_who_has_slots() {
        for (what, role, requests, phases, has_slot, expected) in [
            ("it served", "worker", 2, true, false, true),
            ("it has a slot and served nothing", "worker", 0, false, true, true),
            ("it did neither", "worker", 0, true, false, false),
            ("its requests have no account", "worker", 2, false, false, false),
            ("it stands in front", "front_end", 2, true, false, false),
            ("it stands in front and has a slot", "front_end", 2, true, true, true),
        ] {
            let mut by_process = ByProcess::default();
            if phases {
                by_process.add(&request(7, Phase::Cpu, 10));
            }
            let observed = if has_slot { vec![slot(7, 30)] } else { Vec::new() };
            let slots = Slots { observed, ..Slots::default() };
            let capacity = finish(&by_process, &slots, &[process(7, role, requests)]);
            assert_eq!(
                capacity.workers.first().map(|row| (row.tgid, row.cpu_ns)),
                expected.then_some((7, 7)),
                "{what}"
            );
        }
    }

    #[test]
    fn sums_are_those_of_the_process_and_rows_stand_in_the_order_of_their_numbers() {
        let mut by_process = ByProcess::default();
        for (tgid, phase, duration_ns) in [(9, Phase::Cpu, 10), (7, Phase::Sleep, 20), (9, Phase::Cpu, 30)] {
            by_process.add(&request(tgid, phase, duration_ns));
        }
        let memory = |tgid, resident_bytes| ProcessMemory { tgid, resident_bytes, proportional_bytes: None };
        [memory(9, 1), memory(9, 2)].into_iter().for_each(|reading| by_process.remember(reading));
        let slots = Slots { observed: vec![slot(9, 30), slot(7, 1), slot(9, 40)], ..Slots::default() };
        let processes = [process(9, "worker", 2), process(7, "worker", 1)];
        let capacity = finish(&by_process, &slots, &processes);
        let rows = capacity.workers.iter();
        let told: Vec<_> =
            rows.map(|row| (row.tgid, row.requests, row.seen, row.slots, row.busy_ns)).collect();
        assert_eq!(told, [(7, 1, 1, 1, 1), (9, 2, 2, 2, 70)]);
        let [first, second] = [0, 1].map(|place| capacity.workers[place]);
        assert_eq!((first.phases.get(Phase::Sleep), second.phases.get(Phase::Cpu)), (20, 40));
        assert_eq!((first.memory, second.memory), (None, Some(memory(9, 2))), "as it was read last");
        by_process.roll();
        let row = finish(&by_process, &slots, &processes).workers[1];
        assert_eq!((row.phases, row.memory), (Phases::default(), None));
    }

    #[test]
    fn the_slots_of_a_process_are_those_of_its_settings_where_the_heat_map_has_them() {
        let heat = HeatRow { tgid: 7, slots: 4, exhausted_ns: 55, ..HeatRow::default() };
        let slots = Slots { observed: vec![slot(7, 1), slot(8, 1)], heat: vec![heat], ..Slots::default() };
        let capacity = finish(&ByProcess::default(), &slots, &[]);
        let told: Vec<_> =
            capacity.workers.iter().map(|row| (row.tgid, row.slots, row.exhausted_ns)).collect();
        assert_eq!(told, [(7, 4, 55), (8, 1, 0)]);
    }

    #[test]
    fn arrivals_are_full_where_all_slots_were_busy() {
        let mut busy = Busy::default();
        busy.start(0);
        busy.add(0, 100);
        busy.add(0, 100);
        busy.arrive(50);
        busy.settle(200, |_, _| {});
        busy.finish();
        for (configured, measured, expected) in [
            (Some(2), true, (Some(1), 1)),
            (Some(3), true, (Some(0), 1)),
            (Some(2), false, (None, 1)),
            (Some(0), true, (Some(0), 1)),
        ] {
            let slots = Slots { configured, observed: vec![slot(7, 1), slot(7, 1)], ..Slots::default() };
            let of_each: FxHashMap<Tid, Busy> = std::iter::once((7, busy.clone())).collect();
            let capacity = ByProcess::default().finish(&slots, &[], (&busy, &of_each), measured);
            let own = capacity.workers[0].arrived_full;
            assert_eq!((capacity.arrived_full, own), expected, "{configured:?} {measured}");
        }
    }

    #[test]
    fn who_waited_for_a_thread_or_a_loop_had_to_wait_and_nobody_else() {
        for phase in Phase::ALL {
            let waits = matches!(phase, Phase::AcceptQueue | Phase::PoolWait | Phase::LoopWait);
            assert_eq!(had_to_wait(&request(7, phase, 1)), waits, "{phase:?}");
            assert!(!had_to_wait(&request(7, phase, 0)), "{phase:?}");
        }
    }

    #[test]
    fn a_process_for_which_there_is_no_room_is_counted() {
        let mut sums = ByProcess::default();
        let mut request = request(0, Phase::Cpu, 10);
        for tgid in 0..=MAX_COUNTED as u32 {
            request.tgid = tgid;
            sums.add(&request);
        }
        assert_eq!((sums.phases.len(), sums.evicted()), (MAX_COUNTED, 1), "its requests");
        for tgid in 0..=MAX_COUNTED as u32 {
            sums.remember(ProcessMemory { tgid, ..ProcessMemory::default() });
        }
        assert_eq!((sums.memory.len(), sums.evicted()), (MAX_COUNTED, 2), "its memory");
        sums.roll();
        assert_eq!(sums.evicted(), 0);
    }
}
