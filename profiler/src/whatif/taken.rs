//! When a thread took a request.
//!
//! In: a request as it was seen. Out: how long it waited for a thread, and when that was over.

use profiler_core::model::request::Request as Seen;
use profiler_core::phase::{Phase, Phases};

/// Before the first segment.
const BEFORE: [Phase; 3] = [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait];

/// How long a request waited before a thread took it.
pub(super) fn wait_ns(phases: &Phases) -> u64 {
    BEFORE.iter().map(|phase| phases.get(*phase)).fold(0, u64::saturating_add)
}

/// When a thread took a request.
pub(super) fn taken_ns(request: &Seen) -> u64 {
    request.times.start_ns.saturating_add(wait_ns(&request.phases))
}
