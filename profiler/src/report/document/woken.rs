//! What became of the threads that connections woke.
//!
//! In: the listeners of a snapshot. Out: a table; nothing where nobody was woken.

use profiler_core::model::{Listener, Snapshot};

use super::block::Blocks;
use super::cell::{Cell, count, duration, maybe, words};
use super::table::{Column, On, Table, right, shrinking};

const COLUMNS: [Column; 9] = [
    shrinking("address"),
    right("got one"),
    right("slept again"),
    right("found none"),
    right("wasted CPU"),
    right("run queue").only(On::Page),
    right("switches"),
    right("to run p50"),
    right("p99"),
];

pub(super) fn table(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    let known = |listener: &Listener| listener.woken.is_some();
    if !snapshot.sockets.listeners.iter().any(known) {
        return;
    }
    body.gap();
    let mut table = Table::new("What became of the threads that connections woke", &COLUMNS);
    for (place, listener) in snapshot.sockets.listeners.iter().enumerate() {
        let Some(woken) = &listener.woken else { continue };
        let until = &woken.until_running;
        let wait = |wait_ns| maybe((until.count() > 0).then_some(wait_ns), duration);
        let cells: [Cell; COLUMNS.len()] = [
            words(&listener.seen.address),
            count(woken.accepted).at("woken/accepted"),
            count(woken.slept_again).at("woken/slept_again"),
            count(woken.found_nothing.saturating_add(woken.did_not_accept)),
            duration(woken.losers.cpu_ns).at("woken/in_vain_cpu_ns"),
            duration(woken.losers.run_queue_ns).at("woken/in_vain_run_queue_ns"),
            count(woken.losers_switches).at("woken/in_vain_switches"),
            wait(until.quantile_ns(0.5)).at("woken/until_running/p50_ns"),
            wait(until.quantile_ns(0.99)).at("woken/until_running/p99_ns"),
        ];
        table.row(&format!("/listeners/{place}"), cells);
    }
    body.table(table);
}
