//! Listening sockets.
//!
//! In: the listeners of a snapshot. Out: a table.

use profiler_core::model::Snapshot;

use super::page::Page;
use super::style::Role;
use super::table::{Column, Table};
use super::unit;

const COLUMNS: [Column; 7] = [
    Column::Shrinking("address"),
    Column::Narrow("family"),
    Column::Right("backlog"),
    Column::Right("held by"),
    Column::Right("accepted"),
    Column::Right("found nothing"),
    Column::Right("failed"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    page.heading("Listeners", "");
    if snapshot.listeners.is_empty() {
        page.paragraph((Role::Quiet, "  "), (None, "No listening socket was seen."));
        return;
    }
    let mut table = Table::new(&COLUMNS);
    for listener in &snapshot.listeners {
        let backlog = listener.seen.backlog;
        let holders = u64::try_from(listener.holders.len()).unwrap_or(u64::MAX);
        table.row([
            listener.seen.address.clone(),
            listener.seen.family.clone(),
            if backlog > 0 { unit::count(u64::from(backlog)) } else { "-".to_owned() },
            unit::counted(holders, "process"),
            unit::count(listener.accepted),
            unit::count(listener.accepts_empty),
            unit::count(listener.accepts_failed),
        ]);
    }
    table.write(page);
}
