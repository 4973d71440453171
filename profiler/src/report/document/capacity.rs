//! Capacity by worker process: slots, how often they were all busy and what arrived then, what requests did,
//! memory.
//!
//! In: the capacity of a snapshot. Out: a section, where there is any.

use profiler_core::fact::memory::ProcessMemory;
use profiler_core::model::Snapshot;
use profiler_core::model::capacity::Worker;

use super::block::{Blocks, Section};
use super::cell::{Cell, bytes, count, id, maybe, share, words};
use super::table::{On, Rows, Table, listed};
use crate::report::summary::MeasuredDoing;
use crate::report::unit;

/// Processes in the text report.
const SHOWN: usize = 20;

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let capacity = &snapshot.capacity;
    if capacity.workers.is_empty() {
        return None;
    }
    let mut all = table(snapshot, listed("/capacity/workers", &capacity.workers)).most(SHOWN);
    if let Some(together) = together(snapshot) {
        all.feet(On::BOTH, table(snapshot, vec![(String::new(), &together)]));
    }
    let mut body = Blocks::default();
    body.table(all);
    body.say(explanation(snapshot));
    if capacity.arrivals_unplaced > 0 {
        body.say(format!(
            "Of {} it is no longer known how many slots were busy then.",
            unit::counted(capacity.arrivals_unplaced, "arrival")
        ));
    }
    let title = "More threads or more processes?";
    Some(Section::new("capacity", title, body).short("Capacity").note("each worker process"))
}

/// What the columns mean, where that cannot be seen.
fn explanation(snapshot: &Snapshot) -> String {
    let slots = if snapshot.slots.not_measured.is_some() {
        "Slots, and who arrived while they were all busy, were not measured."
    } else if snapshot.capacity.arrived_full.is_some() {
        "Arrived: while all its slots were busy, and had to wait."
    } else {
        "Arrived: this kernel does not show it."
    };
    let is_much_unexplained = |of: &Worker| MeasuredDoing::of(snapshot, &of.phases).is_much_unexplained;
    let unexplained = match snapshot.capacity.workers.iter().any(is_much_unexplained) {
        true => ": a dash where more may be unexplained",
        false => "",
    };
    format!(
        "{slots} Computing (or ready to), GIL and back end are shares of service time{unexplained}. PSS (proportional set size) \
         divides shared memory among those that share it: about what one more process would take."
    )
}

fn table(snapshot: &Snapshot, workers: Vec<(String, &Worker)>) -> Table {
    let caption = "Worker processes: slots, what arrived when all were busy, what requests did, memory";
    let window_ns = snapshot.window.length_ns();
    let is_measured = snapshot.slots.not_measured.is_none();
    // A loop has none.
    let of_slots = |of: &Worker, cell: Cell| if of.is_loop || !is_measured { Cell::default() } else { cell };
    let slots = |of: &Worker| match of.is_loop && is_measured {
        true => words("loop"),
        false => of_slots(of, id(of.slots).at("slots")),
    };
    let slot_time_ns = |of: &Worker| window_ns.saturating_mul(u64::from(of.slots));
    let exhausted = |of: &Worker| share(of.exhausted_ns, window_ns).at("exhausted_ns");
    let arrived = |of: &Worker| maybe(snapshot.capacity.arrived_full.map(|_| of.arrived_full), count);
    let doing = |of: &Worker, what: fn(&MeasuredDoing) -> Option<u64>| {
        let doing = MeasuredDoing::of(snapshot, &of.phases);
        maybe(what(&doing), |part_ns| share(part_ns, doing.served_ns))
    };
    let resident = |of: &Worker| of.memory.filter(|_| of.tgid != ALL).map(|memory| memory.resident_bytes);
    let own = |of: &Worker| of.memory.and_then(|memory| memory.proportional_bytes);
    Rows::of(caption, workers)
        .left("pid", |of| if of.tgid == ALL { words("all") } else { id(of.tgid).at("pid") })
        .right("slots", slots)
        .right("seen", |of| of_slots(of, id(of.seen).at("slots_seen")))
        .right("busy", |of| share(of.busy_ns, slot_time_ns(of)).at("busy_ratio"))
        .right("all busy", |of| of_slots(of, exhausted(of).exactly(of.exhausted_ns)))
        .right("arrived", |of| of_slots(of, arrived(of).at("arrived_full")))
        .right("computing", |of| doing(of, |doing| doing.computing_ns).at("computing_ratio"))
        .right("GIL", |of| doing(of, |doing| doing.gil_ns).at("gil_wait_ratio"))
        .right("back end", |of| doing(of, |doing| doing.backend_ns).at("backend_wait_ratio"))
        .right("memory", |of| maybe(resident(of), bytes).at("resident_bytes"))
        .right("PSS", |of| maybe(own(of), bytes).at("proportional_bytes"))
        .table()
}

/// Stands for the number of a process where all are meant.
const ALL: u32 = 0;

/// All workers as one; resident memory would count what they share once for each.
fn together(snapshot: &Snapshot) -> Option<Worker> {
    let (slots, workers) = (&snapshot.slots, &snapshot.capacity.workers);
    if workers.len() < 2 || slots.are_loops() || slots.count() == 0 {
        return None;
    }
    let mut all = Worker {
        tgid: ALL,
        slots: slots.count(),
        seen: u32::try_from(slots.observed.len()).unwrap_or(u32::MAX),
        busy_ns: slots.busy_ns(),
        exhausted_ns: slots.exhausted_ns,
        arrived_full: snapshot.capacity.arrived_full.unwrap_or(0),
        ..Worker::default()
    };
    workers.iter().for_each(|worker| all.phases.add_all(&worker.phases));
    let proportional_bytes = workers
        .iter()
        .try_fold(0_u64, |sum, worker| Some(sum.saturating_add(worker.memory?.proportional_bytes?)));
    all.memory = Some(ProcessMemory { proportional_bytes, ..ProcessMemory::default() });
    Some(all)
}
