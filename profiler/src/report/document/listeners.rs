//! Listening sockets.
//!
//! In: the listeners of a snapshot. Out: a section: what accept did, what arrivals set in motion, how deep accept queues were,
//! who waits for connections and what became of those that were woken.

use profiler_core::model::{Listener, Snapshot};

use super::block::{Blocks, Section};
use super::cell::{Cell, Part, count, counted, duration, maybe, words};
use super::table::{Column, On, Table, narrow, right, shrinking};
use super::{queues, waiting, woken};
use crate::report::{summary, unit};

const COLUMNS: [Column; 7] = [
    shrinking("address"),
    narrow("family"),
    right("backlog"),
    right("held by"),
    right("accepted"),
    right("found nothing"),
    right("failed"),
];

const ARRIVAL_COLUMNS: [Column; 8] = [
    shrinking("address"),
    right("arrived"),
    right("woken per connection"),
    right("wasted wakeups"),
    right("wasted CPU").only(On::Page),
    right("accept wait p50"),
    right("p99"),
    right("longest"),
];

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let listeners = &snapshot.sockets.listeners;
    let mut body = Blocks::default();
    if listeners.is_empty() {
        body.say(summary::none_seen(snapshot, "listening socket"));
        return Section::new("listeners", "Listeners", body);
    }
    let mut table = Table::new("Listening sockets", &COLUMNS);
    for (place, listener) in listeners.iter().enumerate() {
        table.row(&format!("/listeners/{place}"), row(listener));
    }
    body.table(table);
    if listeners.iter().any(|listener| listener.accepted > 0) {
        body.gap();
        body.table(arrivals(listeners));
    }
    queues::table(&mut body, snapshot);
    woken::table(&mut body, snapshot);
    waiting::entries(&mut body, snapshot);
    Section::new("listeners", "Listeners", body)
}

fn row(listener: &Listener) -> [Cell; COLUMNS.len()] {
    let backlog = Some(u64::from(listener.seen.backlog)).filter(|backlog| *backlog > 0);
    let held_by = match listener.is_closed {
        true => words("closed"),
        false => counted(unit::number(listener.holders.len()), "process"),
    };
    [
        words(&listener.seen.address),
        words(&listener.seen.family),
        maybe(backlog, count).at("backlog"),
        held_by,
        count(listener.accepted).at("accepted"),
        count(listener.accepts_empty).at("accepts_empty"),
        count(listener.accepts_failed).at("accepts_failed"),
    ]
}

/// Woken threads (one for each connection is enough) and waiting connections; a dash where it was not measured, or there was
/// nothing to measure.
fn arrivals(listeners: &[Listener]) -> Table {
    let mut table = Table::new("What connections that arrived set in motion", &ARRIVAL_COLUMNS);
    for (place, listener) in listeners.iter().enumerate() {
        let wakes = listener.wakes;
        let vain = listener.woken_in_vain();
        let wait = &listener.accept_wait;
        let wait_of = |wait_ns| maybe((wait.count() > 0).then_some(wait_ns), duration);
        let cells: [Cell; ARRIVAL_COLUMNS.len()] = [
            words(&listener.seen.address),
            maybe(wakes, |wakes| count(wakes.arrivals)).at("wakes/arrivals"),
            maybe(listener.woken_per_connection(), |woken| words(format!("{woken:.2}"))),
            maybe(wakes, |_| count(vain)),
            maybe(wakes, |_| duration(listener.in_vain_cpu_ns())),
            wait_of(wait.quantile_ns(0.5)).at("accept_wait/p50_ns"),
            wait_of(wait.quantile_ns(0.99)).at("accept_wait/p99_ns"),
            wait_of(wait.max_ns()).at("accept_wait/max_ns"),
        ];
        let below = wakes.filter(|wakes| wakes.woken > 0).map(|wakes| {
            let used = Part { name: "used", length: wakes.woken.saturating_sub(vain) };
            (vec![used, Part { name: "vain", length: vain }], wakes.woken.max(vain))
        });
        table.row_with_bar(&format!("/listeners/{place}"), cells, below);
    }
    table
}
