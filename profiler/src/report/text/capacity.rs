//! Capacity by worker process: slots, how often they were all busy and what arrived then, what requests did, memory.
//!
//! In: the capacity of a snapshot. Out: a table.

use profiler_core::model::Snapshot;
use profiler_core::model::capacity::Worker;
use profiler_core::phase::Phases;

use super::page::Page;
use super::table::{Column, Table};
use super::unit;
use crate::report::style::Role;
use crate::report::summary::{self, MeasuredDoing};

/// Processes shown.
const SHOWN: usize = 20;

const COLUMNS: [Column; 11] = [
    Column::Left("pid"),
    Column::Right("slots"),
    Column::Right("seen"),
    Column::Right("busy"),
    Column::Right("all busy"),
    Column::Right("arrived"),
    Column::Right("computing"),
    Column::Right("GIL"),
    Column::Right("back end"),
    Column::Right("memory"),
    Column::Right("PSS"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let capacity = &snapshot.capacity;
    if capacity.workers.is_empty() {
        return;
    }
    page.heading("More threads or more processes?", "each worker process");
    let mut table = Table::new(&COLUMNS);
    for worker in capacity.workers.iter().take(SHOWN) {
        table.row(row(worker, snapshot));
    }
    if let Some(all) = together(snapshot) {
        table.row(all);
    }
    table.write(page);
    if let Some(more) = capacity.workers.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        page.line(&format!("  and {more} more (all are in the JSON report)"));
    }
    page.paragraph((Role::Quiet, "  "), (None, &words(snapshot)));
    if capacity.arrivals_unplaced > 0 {
        let text = format!(
            "Of {} it is no longer known how many slots were busy then.",
            unit::counted(capacity.arrivals_unplaced, "arrival")
        );
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
}

/// What the columns mean, where that cannot be seen.
pub(in crate::report) fn words(snapshot: &Snapshot) -> String {
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

/// Number of slots; a loop has none.
pub(in crate::report) fn slots(worker: &Worker) -> String {
    if worker.is_loop { "loop".to_owned() } else { worker.slots.to_string() }
}

/// Shares of service time: computing, interpreter lock, back end.
fn shares(snapshot: &Snapshot, phases: &Phases) -> [String; 3] {
    let doing = MeasuredDoing::of(snapshot, phases);
    [doing.computing_ns, doing.gil_ns, doing.backend_ns].map(|part_ns| unit::percent(doing.share(part_ns)))
}

/// Bytes, or a dash.
pub(in crate::report) fn bytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), unit::bytes)
}

fn row(worker: &Worker, snapshot: &Snapshot) -> [String; COLUMNS.len()] {
    let window_ns = snapshot.window.length_ns();
    let [computing, gil, back_end] = shares(snapshot, &worker.phases);
    let memory = worker.memory;
    let is_light = snapshot.attached.is_light();
    let of_slots = |text: String| if worker.is_loop || is_light { "-".to_owned() } else { text };
    let arrived = snapshot.capacity.arrived_full.map(|_| unit::count(worker.arrived_full));
    [
        worker.tgid.to_string(),
        if is_light { "-".to_owned() } else { slots(worker) },
        of_slots(worker.seen.to_string()),
        unit::percent(summary::ratio(worker.busy_ns, window_ns.saturating_mul(u64::from(worker.slots)))),
        of_slots(unit::percent(summary::ratio(worker.exhausted_ns, window_ns))),
        of_slots(arrived.unwrap_or_else(|| "-".to_owned())),
        computing,
        gil,
        back_end,
        bytes(memory.map(|memory| memory.resident_bytes)),
        bytes(memory.and_then(|memory| memory.proportional_bytes)),
    ]
}

/// All workers in one row; resident memory would count what they share once for each.
fn together(snapshot: &Snapshot) -> Option<[String; COLUMNS.len()]> {
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
    let arrived = snapshot.capacity.arrived_full;
    Some([
        "all".to_owned(),
        slots.count().to_string(),
        slots.observed.len().to_string(),
        unit::percent(summary::ratio(slots.busy_ns(), window_ns.saturating_mul(u64::from(slots.count())))),
        unit::percent(summary::ratio(slots.exhausted_ns, window_ns)),
        arrived.map_or_else(|| "-".to_owned(), unit::count),
        computing,
        gil,
        back_end,
        "-".to_owned(),
        bytes(own),
    ])
}
