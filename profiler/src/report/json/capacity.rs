//! `capacity`: what each worker process had, used and did.
//!
//! In: the capacity of a snapshot. Out: serialisable views of it.

use profiler_core::model::Snapshot;
use profiler_core::model::capacity;
use serde::Serialize;

use super::ratio;
use crate::report::summary::MeasuredDoing;

#[derive(Serialize)]
pub(super) struct Capacity {
    arrived_full: Option<u64>,
    arrivals_unplaced: u64,
    workers: Vec<Worker>,
}

#[derive(Serialize)]
struct Worker {
    pid: u32,
    event_loop: bool,
    slots: u32,
    slots_seen: u32,
    busy_ns: u64,
    busy_ratio: Option<f64>,
    exhausted_ns: u64,
    arrived_full: Option<u64>,
    requests: u64,
    served_ns: u64,
    computing_ratio: Option<f64>,
    gil_wait_ratio: Option<f64>,
    backend_wait_ratio: Option<f64>,
    other_wait_ratio: Option<f64>,
    client_stall_ratio: Option<f64>,
    cpu_ns: u64,
    resident_bytes: Option<u64>,
    proportional_bytes: Option<u64>,
}

impl Capacity {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let capacity = &snapshot.capacity;
        let view = |worker: &capacity::Worker| {
            let doing = MeasuredDoing::of(snapshot, &worker.phases);
            let share = |part_ns: Option<u64>| ratio(part_ns?, doing.served_ns);
            let slot_time_ns = snapshot.window.length_ns().saturating_mul(u64::from(worker.slots));
            Worker {
                pid: worker.tgid,
                event_loop: worker.is_loop,
                slots: worker.slots,
                slots_seen: worker.seen,
                busy_ns: worker.busy_ns,
                busy_ratio: ratio(worker.busy_ns, slot_time_ns),
                exhausted_ns: worker.exhausted_ns,
                arrived_full: capacity.arrived_full.map(|_| worker.arrived_full),
                requests: worker.requests,
                served_ns: doing.served_ns,
                computing_ratio: share(doing.computing_ns),
                gil_wait_ratio: share(doing.gil_ns),
                backend_wait_ratio: share(doing.backend_ns),
                other_wait_ratio: share(doing.waiting_ns),
                client_stall_ratio: share(doing.client_ns),
                cpu_ns: worker.cpu_ns,
                resident_bytes: worker.memory.map(|memory| memory.resident_bytes),
                proportional_bytes: worker.memory.and_then(|memory| memory.proportional_bytes),
            }
        };
        Self {
            arrived_full: capacity.arrived_full,
            arrivals_unplaced: capacity.arrivals_unplaced,
            workers: capacity.workers.iter().map(view).collect(),
        }
    }
}
