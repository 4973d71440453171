//! When a thread took a request, and when it was done with it.
//!
//! In: a request as it was seen. Out: how long it waited for a thread, when that was over, when its thread
//! sent the last byte.

use profiler_core::model::request::{Request as Seen, Stretch};
use profiler_core::phase::{Phase, Phases};

/// Before the first segment.
const BEFORE: [Phase; 3] = [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait];

/// How long a request waited before a thread took it.
pub(super) fn wait_ns(phases: &Phases) -> u64 {
    BEFORE.iter().map(|phase| phases.get(*phase)).fold(0, u64::saturating_add)
}

/// How much of that it waited for a slot. In a front end's accept queue it does not.
pub(super) fn slot_wait_ns(request: &Seen) -> u64 {
    let before_ns = if is_behind_front(request) { request.phases.get(Phase::AcceptQueue) } else { 0 };
    wait_ns(&request.phases).saturating_sub(before_ns)
}

/// Whether all of it was seen.
pub(super) const fn is_whole(request: &Seen) -> bool {
    !request.seen.open && !request.seen.truncated
}

/// When a thread took a request.
pub(super) fn taken_ns(request: &Seen) -> u64 {
    match served(request).next() {
        Some(first) if is_behind_front(request) => first.start_ns,
        _ => request.times.start_ns.saturating_add(wait_ns(&request.phases)),
    }
}

/// When that thread had sent its last byte. A front end may send it on later.
pub(super) fn done_ns(request: &Seen) -> u64 {
    match served(request).last() {
        Some(last) if is_behind_front(request) => last.end_ns.min(request.times.end_ns),
        _ => request.times.end_ns,
    }
}

/// Whether a front end had the request before its thread, and after.
pub(super) fn is_behind_front(request: &Seen) -> bool {
    request.phases.get(Phase::FrontEnd) > 0
}

/// What its thread did for it, in order.
fn served(request: &Seen) -> impl Iterator<Item = &Stretch> {
    request.stretches.iter().filter(|stretch| stretch.tid == request.tid)
}
