//! Capacity by worker process: slots, how often they were all busy and what arrived then, what requests did, memory.
//!
//! In: the capacity of a snapshot. Out: a part of the section of slots.

use profiler_core::model::Snapshot;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary::{self, MeasuredDoing};
use crate::report::text::{capacity as words, unit};

pub(super) fn workers(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 11] = [
        Column::Words("pid"),
        Column::Number("slots"),
        Column::Number("seen"),
        Column::Number("busy"),
        Column::Number("all busy"),
        Column::Number("arrived then"),
        Column::Number("computing"),
        Column::Number("GIL"),
        Column::Number("back end"),
        Column::Number("memory"),
        Column::Number("PSS"),
    ];
    let capacity = &snapshot.capacity;
    if capacity.workers.is_empty() {
        return;
    }
    let window_ns = snapshot.window.length_ns();
    let is_light = snapshot.attached.is_light();
    let of_slots = |text: String| if is_light { "-".to_owned() } else { text };
    html.raw("<h3>More threads or more processes?</h3>");
    table::begin(
        html,
        "Worker processes: slots, what arrived when all were busy, what requests did, memory",
        &COLUMNS,
        true,
    );
    for (place, worker) in capacity.workers.iter().enumerate() {
        let at = |key: &str| format!("/capacity/workers/{place}/{key}");
        let doing = MeasuredDoing::of(snapshot, &worker.phases);
        let slot_time_ns = window_ns.saturating_mul(u64::from(worker.slots));
        html.raw("<tr><th scope=\"row\">");
        html.figure(&at("pid"), u64::from(worker.tgid), &worker.tgid.to_string()).raw("</th>");
        html.number_at(&at("slots"), u64::from(worker.slots), &of_slots(words::slots(worker)));
        html.number_at(&at("slots_seen"), u64::from(worker.seen), &of_slots(worker.seen.to_string()));
        let busy = unit::percent(summary::ratio(worker.busy_ns, slot_time_ns));
        html.share_at(&at("busy_ratio"), (worker.busy_ns, slot_time_ns), &busy);
        let exhausted = unit::duration(worker.exhausted_ns, Charset::Unicode);
        html.number_at(&at("exhausted_ns"), worker.exhausted_ns, &of_slots(exhausted));
        html.maybe_at(&at("arrived_full"), capacity.arrived_full.map(|_| worker.arrived_full), unit::count);
        for (key, part_ns) in [
            ("computing_ratio", doing.computing_ns),
            ("gil_wait_ratio", doing.gil_ns),
            ("backend_wait_ratio", doing.backend_ns),
        ] {
            match part_ns {
                Some(part_ns) => {
                    let shown = unit::percent(doing.share(Some(part_ns)));
                    html.share_at(&at(key), (part_ns, doing.served_ns), &shown)
                }
                None => html.number("-"),
            };
        }
        let memory = worker.memory;
        html.maybe_at(&at("resident_bytes"), memory.map(|memory| memory.resident_bytes), unit::bytes);
        let own = memory.and_then(|memory| memory.proportional_bytes);
        html.maybe_at(&at("proportional_bytes"), own, unit::bytes).end_row();
    }
    table::end(html);
    html.element("p", &words::words(snapshot));
}
