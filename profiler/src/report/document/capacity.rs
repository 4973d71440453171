//! Capacity by worker process: slots, how often they were all busy and what arrived then, what requests did, memory.
//!
//! In: the capacity of a snapshot. Out: a section, where there is any.

use profiler_core::model::Snapshot;
use profiler_core::model::capacity::Worker;
use profiler_core::phase::Phases;

use super::block::{Blocks, Section};
use super::cell::{Cell, bytes, count, id, maybe, share, words};
use super::table::{Column, On, Table, left, right};
use crate::report::summary::MeasuredDoing;
use crate::report::unit;

/// Processes in the text report.
const SHOWN: usize = 20;

const COLUMNS: [Column; 11] = [
    left("pid"),
    right("slots"),
    right("seen"),
    right("busy"),
    right("all busy"),
    right("arrived"),
    right("computing"),
    right("GIL"),
    right("back end"),
    right("memory"),
    right("PSS"),
];

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let capacity = &snapshot.capacity;
    if capacity.workers.is_empty() {
        return None;
    }
    let caption = "Worker processes: slots, what arrived when all were busy, what requests did, memory";
    let mut table = Table::new(caption, &COLUMNS).most(SHOWN);
    for (place, worker) in capacity.workers.iter().enumerate() {
        table.row(&format!("/capacity/workers/{place}"), row(worker, snapshot));
    }
    if let Some(all) = together(snapshot) {
        table.foot(On::Both, "", all);
    }
    let mut body = Blocks::default();
    body.table(table);
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
    let slots = if snapshot.attached.is_light() {
        "Slots, and who arrived while they were all busy: light mode does not see them."
    } else if snapshot.capacity.arrived_full.is_some() {
        "Arrived: while all its slots were busy, and had to wait."
    } else {
        "Arrived: this kernel does not show it."
    };
    format!(
        "{slots} Computing (or ready to), GIL and back end are shares of service time. PSS (proportional set size) \
         divides shared memory among those that share it: about what one more process would take."
    )
}

/// Shares of service time: computing, interpreter lock, back end.
fn shares(snapshot: &Snapshot, phases: &Phases) -> [Cell; 3] {
    let doing = MeasuredDoing::of(snapshot, phases);
    [doing.computing_ns, doing.gil_ns, doing.backend_ns]
        .map(|part_ns| maybe(part_ns, |part_ns| share(part_ns, doing.served_ns)))
}

fn row(worker: &Worker, snapshot: &Snapshot) -> [Cell; COLUMNS.len()] {
    let window_ns = snapshot.window.length_ns();
    let [computing, gil, back_end] = shares(snapshot, &worker.phases);
    let memory = worker.memory;
    let is_light = snapshot.attached.is_light();
    // A loop has none, and light mode does not see them.
    let of_slots = |cell: Cell| if worker.is_loop || is_light { Cell::default() } else { cell };
    let slots = match worker.is_loop && !is_light {
        true => words("loop"),
        false => of_slots(id(worker.slots).at("slots")),
    };
    let arrived = snapshot.capacity.arrived_full.map(|_| worker.arrived_full);
    [
        id(worker.tgid).at("pid"),
        slots,
        of_slots(id(worker.seen).at("slots_seen")),
        share(worker.busy_ns, window_ns.saturating_mul(u64::from(worker.slots))).at("busy_ratio"),
        of_slots(share(worker.exhausted_ns, window_ns).at("exhausted_ns").exactly(worker.exhausted_ns)),
        of_slots(maybe(arrived, count).at("arrived_full")),
        computing.at("computing_ratio"),
        gil.at("gil_wait_ratio"),
        back_end.at("backend_wait_ratio"),
        maybe(memory.map(|memory| memory.resident_bytes), bytes).at("resident_bytes"),
        maybe(memory.and_then(|memory| memory.proportional_bytes), bytes).at("proportional_bytes"),
    ]
}

/// All workers in one row; resident memory would count what they share once for each.
fn together(snapshot: &Snapshot) -> Option<[Cell; COLUMNS.len()]> {
    let (slots, workers) = (&snapshot.slots, &snapshot.capacity.workers);
    if workers.len() < 2 || slots.are_loops() || slots.count() == 0 {
        return None;
    }
    let window_ns = snapshot.window.length_ns();
    let mut phases = Phases::default();
    workers.iter().for_each(|worker| phases.add_all(&worker.phases));
    let [computing, gil, back_end] = shares(snapshot, &phases);
    let own: Option<u64> =
        workers.iter().map(|worker| worker.memory.and_then(|memory| memory.proportional_bytes)).sum();
    Some([
        words("all"),
        id(slots.count()),
        id(unit::number(slots.observed.len())),
        share(slots.busy_ns(), window_ns.saturating_mul(u64::from(slots.count()))),
        share(slots.exhausted_ns, window_ns),
        maybe(snapshot.capacity.arrived_full, count),
        computing,
        gil,
        back_end,
        Cell::default(),
        maybe(own, bytes),
    ])
}
