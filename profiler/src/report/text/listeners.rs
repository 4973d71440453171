//! Listening sockets.
//!
//! In: the listeners of a snapshot. Out: a table of what accept did, and one of what arrivals set in motion.

use profiler_core::model::{Listener, Snapshot};

use super::page::Page;
use super::table::{Column, Table};
use super::{queues, unit};
use crate::report::style::Role;
use crate::report::summary;

const COLUMNS: [Column; 7] = [
    Column::Shrinking("address"),
    Column::Narrow("family"),
    Column::Right("backlog"),
    Column::Right("held by"),
    Column::Right("accepted"),
    Column::Right("found nothing"),
    Column::Right("failed"),
];

const ARRIVAL_COLUMNS: [Column; 7] = [
    Column::Shrinking("address"),
    Column::Right("arrived"),
    Column::Right("woken per connection"),
    Column::Right("wasted wakeups"),
    Column::Right("accept wait p50"),
    Column::Right("p99"),
    Column::Right("longest"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    page.heading("Listeners", "");
    if snapshot.sockets.listeners.is_empty() {
        page.paragraph((Role::Quiet, "  "), (None, &summary::none_seen(snapshot, "listening socket")));
        return;
    }
    let mut table = Table::new(&COLUMNS);
    for listener in &snapshot.sockets.listeners {
        let backlog = listener.seen.backlog;
        let holders = u64::try_from(listener.holders.len()).unwrap_or(u64::MAX);
        table.row([
            listener.seen.address.clone(),
            listener.seen.family.clone(),
            if backlog > 0 { unit::count(u64::from(backlog)) } else { "-".to_owned() },
            if listener.is_closed { "closed".to_owned() } else { unit::counted(holders, "process") },
            unit::count(listener.accepted),
            unit::count(listener.accepts_empty),
            unit::count(listener.accepts_failed),
        ]);
    }
    table.write(page);
    if snapshot.sockets.listeners.iter().any(|listener| listener.accepted > 0) {
        page.line("");
        arrivals(page, &snapshot.sockets.listeners);
    }
    queues::table(page, snapshot);
}

/// Woken threads and waiting connections; a dash where it was not measured, or there was nothing to measure.
fn arrivals(page: &mut Page, listeners: &[Listener]) {
    let charset = page.style.charset;
    let mut table = Table::new(&ARRIVAL_COLUMNS);
    for listener in listeners {
        let wakes = |number: u64| listener.wakes.map_or_else(|| "-".to_owned(), |_| unit::count(number));
        let wait = |duration_ns: u64| match listener.accept_wait.count() {
            0 => "-".to_owned(),
            _ => unit::duration(duration_ns, charset),
        };
        table.row([
            listener.seen.address.clone(),
            wakes(listener.wakes.map_or(0, |wakes| wakes.arrivals)),
            listener.woken_per_connection().map_or_else(|| "-".to_owned(), |woken| format!("{woken:.2}")),
            wakes(listener.woken_in_vain()),
            wait(listener.accept_wait.quantile_ns(0.5)),
            wait(listener.accept_wait.quantile_ns(0.99)),
            wait(listener.accept_wait.max_ns()),
        ]);
    }
    table.write(page);
}
