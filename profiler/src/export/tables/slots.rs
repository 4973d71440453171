//! `slots`: one row a slot and window.
//!
//! In: the slots of a snapshot. Out: the columns; a kind of holding each has its own.

use profiler_core::model::slot::{Holding, Slot};

use super::{Of, Row, shared};
use crate::export::column::{Cell, Column, Kind};
use crate::report::vocabulary::of_holding;

/// Name of the table.
pub(in crate::export) const NAME: &str = "slots";
/// What it holds.
pub(in crate::export) const MEANING: &str = "One row a slot and window: a sync worker, a thread of a pool. What held it adds \
     up to `busy_ns`. Where slots were not measured there are none.";

/// One slot in one window.
#[derive(Clone, Debug)]
pub(in crate::export) struct SlotRow {
    pub(in crate::export) of: Of,
    pub(in crate::export) slot: Slot,
}

impl Row for SlotRow {
    fn of(&self) -> &Of {
        &self.of
    }
}

/// The columns.
pub(in crate::export) fn columns() -> Vec<Column<SlotRow>> {
    type R = SlotRow;
    let moment = |row: &R, monotonic_ns: u64| row.of.context.unix_us(monotonic_ns);
    let mut columns = shared();
    columns.extend([
        Column::new("process.pid", Kind::Code, "Its process.", |row: &R| Cell::number(row.slot.tgid.into())),
        Column::new("thread.id", Kind::Code, "Its thread.", |row: &R| Cell::number(row.slot.tid.into())),
        Column::new("slot", Kind::Code, "Its number in the recording.", |row: &R| {
            Cell::number(row.slot.id.into())
        }),
        Column::new(
            "start_time",
            Kind::Moment,
            "When it was first there, not before the window.",
            move |row: &R| Cell::Number(moment(row, row.slot.since_ns)),
        ),
        Column::new("length_ns", Kind::Nanoseconds, "For how long it was there in the window.", |row: &R| {
            Cell::number(row.slot.length_ns())
        }),
        Column::new("busy_ns", Kind::Nanoseconds, "For how long something held it.", |row: &R| {
            Cell::number(row.slot.busy_ns())
        }),
        Column::new("requests", Kind::Count, "Requests that it served.", |row: &R| {
            Cell::number(row.slot.requests)
        }),
        Column::new("is_event_loop", Kind::Flag, "It serves any number of requests at once.", |row: &R| {
            Cell::Flag(row.slot.is_loop)
        }),
    ]);
    columns.extend(Holding::ALL.into_iter().map(|holding| {
        let name = format!("held_{}_ns", holding.name());
        let meaning = format!("Held by this: {}.", of_holding(holding).meaning);
        Column::new(name, Kind::Nanoseconds, meaning, move |row: &R| Cell::number(row.slot.held_ns(holding)))
    }));
    columns
}
