//! `capacity`: what each worker process had, used and did.
//!
//! In: the capacity of a snapshot. Out: serialisable views of it.

use profiler_core::model::Snapshot;
use profiler_core::model::capacity;

use super::ratio;
use crate::report::summary::MeasuredDoing;

view! {
    pub(super) struct Capacity(snapshot: &Snapshot) with {
        let capacity = &snapshot.capacity;
    } {
        arrived_full: Option<u64> = capacity.arrived_full,
        arrivals_unplaced: u64 = capacity.arrivals_unplaced,
        workers: Vec<Worker> = capacity.workers.iter().map(|worker| Worker::new(worker, snapshot)).collect(),
    }
}

view! {
    struct Worker(worker: &capacity::Worker, snapshot: &Snapshot) with {
        let doing = MeasuredDoing::of(snapshot, &worker.phases);
        let share = |part_ns: Option<u64>| ratio(part_ns?, doing.served_ns);
        let slot_time_ns = snapshot.window.length_ns().saturating_mul(u64::from(worker.slots));
        let slotted = snapshot.slots.not_measured.is_none();
        let arrived_full = snapshot.capacity.arrived_full.map(|_| worker.arrived_full);
    } {
        pid: u32 = worker.tgid,
        is_event_loop: Option<bool> = slotted.then_some(worker.is_loop),
        slots: Option<u32> = slotted.then_some(worker.slots),
        slots_seen: Option<u32> = slotted.then_some(worker.seen),
        busy_ns: Option<u64> = slotted.then_some(worker.busy_ns),
        busy_ratio: Option<f64> = ratio(worker.busy_ns, slot_time_ns),
        exhausted_ns: Option<u64> = slotted.then_some(worker.exhausted_ns),
        arrived_full: Option<u64> = arrived_full,
        requests: u64 = worker.requests,
        served_ns: u64 = doing.served_ns,
        computing_ratio: Option<f64> = share(doing.computing_ns),
        gil_wait_ratio: Option<f64> = share(doing.gil_ns),
        backend_wait_ratio: Option<f64> = share(doing.backend_ns),
        other_wait_ratio: Option<f64> = share(doing.waiting_ns),
        client_stall_ratio: Option<f64> = share(doing.client_ns),
        cpu_ns: u64 = worker.cpu_ns,
        resident_bytes: Option<u64> = worker.memory.map(|memory| memory.resident_bytes),
        proportional_bytes: Option<u64> = worker.memory.and_then(|memory| memory.proportional_bytes),
    }
}
