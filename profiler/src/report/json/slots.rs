//! `slots`: capacity, what held it, and when.
//!
//! In: the slots of a snapshot. Out: serialisable views of them.

use profiler_core::model::Snapshot;
use profiler_core::model::slot::{self, Holding};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{ratio, rounded};
use crate::report::{summary, unit};

view! {
    pub(super) struct Slots<'a>(snapshot: &'a Snapshot) with {
        let slots = &snapshot.slots;
        let window_ns = snapshot.window.length_ns();
        let capacity_ns = summary::capacity_ns(snapshot);
    } {
        /// Slots by configuration; null: not known.
        configured: Option<u32> = slots.configured,
        /// Slots that capacity is counted against: the configured ones, or as many as were seen.
        counted: u32 = slots.count(),
        /// Slots that were seen.
        observed: u64 = unit::number(slots.observed.len()),
        /// Largest number busy at one moment.
        peak_busy: u32 = slots.peak_busy,
        /// Number busy as the window ended.
        busy_at_end: u32 = slots.busy_at_end,
        /// Slots that were wanted as the window ended, by counted: those busy, and one for each request in
        /// line. Above 1, requests wait for a slot. null: there is no number of slots.
        demand_ratio: Option<f64> = summary::demand_ratio(snapshot).and_then(rounded),
        /// counted times the length of the window, in ns.
        capacity_ns: u64 = capacity_ns,
        /// Busy slot-time in ns.
        busy_ns: u64 = slots.busy_ns(),
        /// busy_ns by capacity_ns; null if there is no capacity.
        capacity_used_ratio: Option<f64> = ratio(slots.busy_ns(), capacity_ns),
        /// Time with all slots busy at once, in ns.
        exhausted_ns: u64 = slots.exhausted_ns,
        /// exhausted_ns by the length of the window.
        exhausted_ratio: Option<f64> = ratio(slots.exhausted_ns, window_ns),
        /// Time that threads which are no slots (acceptors, event loops) spent waiting on finished
        /// connections, in ns. Meanwhile they accept nothing. null: not known, as in light mode.
        acceptor_linger_ns: Option<u64> = (!snapshot.attached.is_light()).then_some(slots.acceptor_linger_ns),
        /// Slot-time of all slots by what held it.
        held: Held = Held(Holding::ALL.map(|holding| slots.held_ns(holding))),
        /// The slots that were seen.
        list: Vec<Slot> = slots.observed.iter().map(Slot::new).collect(),
        /// Busy slot-time over the window.
        heat_map: HeatMap<'a> = HeatMap::new(slots),
    }
}

/// Time per kind of holding, in the order of the closed list.
pub(super) struct Held([u64; Holding::COUNT]);

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
        /// Number of the slot.
        id: u32 = slot.id,
        /// Its process.
        pid: u32 = slot.tgid,
        /// Its thread.
        tid: u32 = slot.tid,
        /// When it came to be, not before the window, in ns.
        since_ns: u64 = slot.since_ns,
        /// When it ceased to be, not after the window, in ns.
        until_ns: u64 = slot.until_ns,
        /// Time held by anything, in ns.
        busy_ns: u64 = slot.busy_ns(),
        /// The rest of its time, in ns.
        idle_ns: u64 = slot.length_ns().saturating_sub(slot.busy_ns()),
        /// Requests served.
        requests: u64 = slot.requests,
        /// It is the thread of an event loop, which serves any number of requests at once.
        is_event_loop: bool = slot.is_loop,
        /// Its time by what held it.
        held: Held = Held(slot.holding_ns),
    }
}

view! {
    struct HeatMap<'a>(slots: &'a slot::Slots) {
        /// Length of a bucket in ns; the last one may be cut by the end of the window.
        bucket_ns: u64 = slots.heat_bucket_ns,
        /// One row per process.
        rows: Vec<HeatRow<'a>> = slots.heat.iter().map(HeatRow::new).collect(),
    }
}

view! {
    struct HeatRow<'a>(row: &'a slot::HeatRow) {
        /// Process.
        pid: u32 = row.tgid,
        /// Its slots.
        slots: u32 = row.slots,
        /// Busy slot-time per bucket in ns, at most slots times bucket_ns.
        busy_ns: &'a [u64] = &row.busy_ns,
        /// Time with all slots of this process busy at once, in ns: what it has accepted waits, whatever
        /// other processes do.
        exhausted_ns: u64 = row.exhausted_ns,
    }
}

/// Nothing where they were not measured.
pub(super) fn of(snapshot: &Snapshot) -> Option<Slots<'_>> {
    snapshot.slots.not_measured.is_none().then(|| Slots::new(snapshot))
}
