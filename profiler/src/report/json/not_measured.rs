//! `not_measured`: what has no numbers in a report, and why.
//!
//! In: what a snapshot says of itself. Out: parts of the report, each by its JSON pointer, with a reason; in
//! the order of the keys.

use profiler_core::fact::Attached;
use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;

use super::summary;

/// Why nobody knows who arrived while all slots were busy.
const NO_ARRIVALS: &str = "this kernel does not show when data arrive";

view! {
    /// A part of the report.
    pub(super) struct NotMeasured<'a>(pointer: String, why: &'a str) {
        /// Where it would stand in this report, as a JSON pointer (RFC 6901). A phase is null there, in every
        /// endpoint and in every request. An interpreter stands there, and its waits are in no number.
        key: String = pointer,
        /// Why there are no numbers, as a clause.
        reason: &'a str = why,
    }
}

/// All parts that were not measured.
pub(super) fn list(snapshot: &Snapshot) -> Vec<NotMeasured<'_>> {
    let light = snapshot.attached.is_light().then_some(Attached::LIGHT_SEES_NO_CALLS);
    let part = |key: &str, reason| Some(NotMeasured::new(key.to_owned(), reason?));
    let no_slots = snapshot.slots.not_measured.as_deref();
    let no_arrivals = snapshot.capacity.arrived_full.is_none().then(|| no_slots.unwrap_or(NO_ARRIVALS));
    let no_overhead = snapshot.coverage.overhead.is_none().then_some(summary::OVERHEAD_NOT_MEASURED);
    let phases = Phase::ALL.into_iter().filter_map(|phase| {
        let reason = summary::not_measured(snapshot, phase)?;
        Some(NotMeasured::new(format!("/phases/{}_ns", phase.name()), reason))
    });
    let before_gil = [
        part("/slots", no_slots),
        part("/slots/acceptor_linger_ns", light.filter(|_| no_slots.is_none())),
        part("/capacity/arrived_full", no_arrivals),
        part("/event_loops", light),
        part("/gil", snapshot.gil.not_measured.as_deref()),
    ];
    let dropped = &snapshot.dropped;
    let no_drops = dropped.not_measured.as_deref();
    let no_accepts = dropped.accepts_not_measured.as_deref().filter(|_| no_drops.is_none());
    let after_gil = [
        part("/drops", no_drops),
        part("/drops/accept_failures", no_accepts),
        part("/overhead", no_overhead),
    ];
    phases
        .chain(before_gil.into_iter().flatten())
        .chain(interpreters(snapshot))
        .chain(listeners(snapshot))
        .chain(after_gil.into_iter().flatten())
        .collect()
}

/// Keys of a listener that light mode leaves null or empty.
const OF_CALLS: [&str; 14] = [
    "accepted",
    "accepts_empty",
    "accepts_failed",
    "accept_wait",
    "empty_returns",
    "empty_returns_cpu_ns",
    "wakes",
    "queue/arrivals",
    "queue/at_arrival",
    "queue/delays",
    "woken",
    "waiters",
    "accepted_by",
    "beside_free",
];

/// What light mode does not see of each listener.
fn listeners(snapshot: &Snapshot) -> impl Iterator<Item = NotMeasured<'_>> {
    let listeners = snapshot.sockets.listeners.iter().enumerate().filter(|(_, one)| one.is_queue_alone);
    listeners.flat_map(|(place, listener)| {
        // Without a queue, what is in it has no place.
        let keys = OF_CALLS.iter().filter(|key| listener.queue.is_some() || !key.starts_with("queue/"));
        keys.map(move |key| {
            NotMeasured::new(format!("/listeners/{place}/{key}"), Attached::LIGHT_SEES_NO_CALLS)
        })
    })
}

/// Interpreters whose lock was not watched, while others' were.
fn interpreters(snapshot: &Snapshot) -> impl Iterator<Item = NotMeasured<'_>> {
    let listed = snapshot.gil.not_measured.is_none().then_some(&snapshot.gil.interpreters);
    let refused = |(place, reason)| NotMeasured::new(format!("/gil/interpreters/{place}"), reason);
    let reasons = listed.into_iter().flatten().map(|seen| seen.refused.as_deref());
    reasons.enumerate().filter_map(|(place, reason)| Some((place, reason?))).map(refused)
}
