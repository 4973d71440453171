//! `slots`: capacity, what held it, and when.
//!
//! In: the slots of a snapshot. Out: serialisable views of them.

use profiler_core::model::Snapshot;
use profiler_core::model::slot::{self, Holding};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::ratio;
use crate::report::{summary, unit};

view! {
    pub(super) struct Slots<'a>(snapshot: &'a Snapshot) with {
        let slots = &snapshot.slots;
        let window_ns = snapshot.window.length_ns();
        let capacity_ns = summary::capacity_ns(snapshot);
    } {
        configured: Option<u32> = slots.configured,
        counted: u32 = slots.count(),
        observed: u64 = unit::number(slots.observed.len()),
        peak_busy: u32 = slots.peak_busy,
        capacity_ns: u64 = capacity_ns,
        busy_ns: u64 = slots.busy_ns(),
        capacity_used_ratio: Option<f64> = ratio(slots.busy_ns(), capacity_ns),
        exhausted_ns: u64 = slots.exhausted_ns,
        exhausted_ratio: Option<f64> = ratio(slots.exhausted_ns, window_ns),
        acceptor_linger_ns: Option<u64> = (!snapshot.attached.is_light()).then_some(slots.acceptor_linger_ns),
        held: Held = Held(Holding::ALL.map(|holding| slots.held_ns(holding))),
        list: Vec<Slot> = slots.observed.iter().map(Slot::new).collect(),
        heat_map: HeatMap<'a> = HeatMap::new(slots),
    }
}

/// Time per kind of holding, in the order of the closed list.
struct Held([u64; Holding::COUNT]);

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Holding::COUNT))?;
        for (holding, held_ns) in Holding::ALL.into_iter().zip(self.0) {
            map.serialize_entry(&format!("{}_ns", holding.name()), &held_ns)?;
        }
        map.end()
    }
}

view! {
    struct Slot(slot: &slot::Slot) {
        id: u32 = slot.id,
        pid: u32 = slot.tgid,
        tid: u32 = slot.tid,
        since_ns: u64 = slot.since_ns,
        until_ns: u64 = slot.until_ns,
        busy_ns: u64 = slot.busy_ns(),
        idle_ns: u64 = slot.length_ns().saturating_sub(slot.busy_ns()),
        requests: u64 = slot.requests,
        is_event_loop: bool = slot.is_loop,
        held: Held = Held(slot.holding_ns),
    }
}

view! {
    struct HeatMap<'a>(slots: &'a slot::Slots) {
        bucket_ns: u64 = slots.heat_bucket_ns,
        rows: Vec<HeatRow<'a>> = slots.heat.iter().map(HeatRow::new).collect(),
    }
}

view! {
    struct HeatRow<'a>(row: &'a slot::HeatRow) {
        pid: u32 = row.tgid,
        slots: u32 = row.slots,
        busy_ns: &'a [u64] = &row.busy_ns,
        exhausted_ns: u64 = row.exhausted_ns,
    }
}

/// Nothing where they were not measured.
pub(super) fn of(snapshot: &Snapshot) -> Option<Slots<'_>> {
    snapshot.slots.not_measured.is_none().then(|| Slots::new(snapshot))
}
