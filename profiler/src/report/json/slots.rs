//! `slots`: capacity, what held it, and when.
//!
//! In: the slots of a snapshot. Out: serialisable views of them.

use profiler_core::model::Snapshot;
use profiler_core::model::slot::{self, Holding};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::ratio;

#[derive(Serialize)]
pub(super) struct Slots<'a> {
    configured: Option<u32>,
    counted: u32,
    observed: u64,
    peak_busy: u32,
    capacity_ns: u64,
    busy_ns: u64,
    capacity_used_ratio: Option<f64>,
    exhausted_ns: u64,
    exhausted_ratio: Option<f64>,
    acceptor_linger_ns: u64,
    held: Held,
    list: Vec<Slot>,
    heat_map: HeatMap<'a>,
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

#[derive(Serialize)]
struct Slot {
    id: u32,
    pid: u32,
    tid: u32,
    since_ns: u64,
    until_ns: u64,
    busy_ns: u64,
    idle_ns: u64,
    requests: u64,
    event_loop: bool,
    held: Held,
}

#[derive(Serialize)]
struct HeatMap<'a> {
    bucket_ns: u64,
    rows: Vec<HeatRow<'a>>,
}

#[derive(Serialize)]
struct HeatRow<'a> {
    pid: u32,
    slots: u32,
    busy_ns: &'a [u64],
    exhausted_ns: u64,
}

impl<'a> Slots<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let slots = &snapshot.slots;
        let window_ns = snapshot.window.length_ns();
        let capacity_ns = window_ns.saturating_mul(u64::from(slots.count()));
        let heat = slots.heat.iter().map(|row| HeatRow {
            pid: row.tgid,
            slots: row.slots,
            busy_ns: &row.busy_ns,
            exhausted_ns: row.exhausted_ns,
        });
        Self {
            configured: slots.configured,
            counted: slots.count(),
            observed: u64::try_from(slots.observed.len()).unwrap_or(u64::MAX),
            peak_busy: slots.peak_busy,
            capacity_ns,
            busy_ns: slots.busy_ns(),
            capacity_used_ratio: ratio(slots.busy_ns(), capacity_ns),
            exhausted_ns: slots.exhausted_ns,
            exhausted_ratio: ratio(slots.exhausted_ns, window_ns),
            acceptor_linger_ns: slots.acceptor_linger_ns,
            held: Held(Holding::ALL.map(|holding| slots.held_ns(holding))),
            list: slots.observed.iter().map(view).collect(),
            heat_map: HeatMap { bucket_ns: slots.heat_bucket_ns, rows: heat.collect() },
        }
    }
}

fn view(slot: &slot::Slot) -> Slot {
    Slot {
        id: slot.id,
        pid: slot.tgid,
        tid: slot.tid,
        since_ns: slot.since_ns,
        until_ns: slot.until_ns,
        busy_ns: slot.busy_ns(),
        idle_ns: slot.length_ns().saturating_sub(slot.busy_ns()),
        requests: slot.requests,
        event_loop: slot.is_loop,
        held: Held(slot.holding_ns),
    }
}
