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
        /// Requests that arrived in the window while all slots of the server were busy, and had to wait;
        /// null: not measured, and not_measured says why.
        arrived_full: Option<u64> = capacity.arrived_full,
        /// Arrivals so long before they were learned of that nobody knows how many slots were busy: in none
        /// of these counts.
        arrivals_unplaced: u64 = capacity.arrivals_unplaced,
        /// Processes that had slots or served requests.
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
        /// Process.
        pid: u32 = worker.tgid,
        /// It runs event loops: it has no number of slots that could run out; null: slots were not measured.
        is_event_loop: Option<bool> = slotted.then_some(worker.is_loop),
        /// Its slots by its settings, or as many as were seen; null: slots were not measured.
        slots: Option<u32> = slotted.then_some(worker.slots),
        /// Its slots that were seen; null: slots were not measured.
        slots_seen: Option<u32> = slotted.then_some(worker.seen),
        /// Busy slot-time in ns; null: slots were not measured.
        busy_ns: Option<u64> = slotted.then_some(worker.busy_ns),
        /// busy_ns by slots times the length of the window.
        busy_ratio: Option<f64> = ratio(worker.busy_ns, slot_time_ns),
        /// Time with all its slots busy at once, in ns; null: slots were not measured.
        exhausted_ns: Option<u64> = slotted.then_some(worker.exhausted_ns),
        /// Requests that it served later and that arrived in the window while all its slots were busy, and
        /// had to wait; null: as above.
        arrived_full: Option<u64> = arrived_full,
        /// Requests completed.
        requests: u64 = worker.requests,
        /// Time in which its requests were served, open ones included, in ns. It is without accept queue,
        /// waits for a thread or the loop, reading the head, a front end. The shares below are of this.
        /// A share is null where it is not measured, and where more is unexplained: at least a tenth of all,
        /// and more than the share itself.
        served_ns: u64 = doing.served_ns,
        /// On a CPU, or ready and waiting for one; null: not known.
        computing_ratio: Option<f64> = share(doing.computing_ns),
        /// Waiting for the interpreter lock; null: not known.
        gil_wait_ratio: Option<f64> = share(doing.gil_ns),
        /// Waiting for a back end; null: not known.
        backend_wait_ratio: Option<f64> = share(doing.backend_ns),
        /// Asleep, or waiting for locks, files, pages of memory; null: not known.
        other_wait_ratio: Option<f64> = share(doing.waiting_ns),
        /// Waiting for the client, in either direction; null: not known.
        client_stall_ratio: Option<f64> = share(doing.client_ns),
        /// CPU time of its threads in the window, in ns.
        cpu_ns: u64 = worker.cpu_ns,
        /// Resident memory (RSS) at the end of the window; null: not known.
        resident_bytes: Option<u64> = worker.memory.map(|memory| memory.resident_bytes),
        /// The same with what several processes share divided among them (PSS); null: not read (windows
        /// before the last, processes beyond 1 GiB).
        proportional_bytes: Option<u64> = worker.memory.and_then(|memory| memory.proportional_bytes),
    }
}
