//! What became of the threads that connections woke.
//!
//! In: the listeners of a snapshot. Out: a table; nothing where nobody was woken.

use profiler_core::model::{Listener, Snapshot};

use super::page::Page;
use super::table::{Column, Table};
use super::unit;

const COLUMNS: [Column; 8] = [
    Column::Shrinking("address"),
    Column::Right("got one"),
    Column::Right("slept again"),
    Column::Right("found none"),
    Column::Right("wasted CPU"),
    Column::Right("switches"),
    Column::Right("to run p50"),
    Column::Right("p99"),
];

pub(super) fn table(page: &mut Page, snapshot: &Snapshot) {
    let known = |listener: &Listener| listener.woken.is_some();
    if !snapshot.sockets.listeners.iter().any(known) {
        return;
    }
    page.line("");
    let charset = page.style.charset;
    let mut table = Table::new(&COLUMNS);
    for listener in &snapshot.sockets.listeners {
        let Some(woken) = &listener.woken else { continue };
        let wait = |duration_ns: u64| match woken.until_running.count() {
            0 => "-".to_owned(),
            _ => unit::duration(duration_ns, charset),
        };
        table.row([
            listener.seen.address.clone(),
            unit::count(woken.accepted),
            unit::count(woken.slept_again),
            unit::count(woken.found_nothing.saturating_add(woken.did_not_accept)),
            unit::duration(woken.losers.cpu_ns, charset),
            unit::count(woken.losers_switches),
            wait(woken.until_running.quantile_ns(0.5)),
            wait(woken.until_running.quantile_ns(0.99)),
        ]);
    }
    table.write(page);
}
