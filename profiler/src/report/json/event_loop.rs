//! `event_loops`: threads that serve many requests at once, and what made them wait.
//!
//! In: the event loops of a snapshot. Out: serialisable views of them.

use profiler_core::model::Snapshot;
use profiler_core::model::event_loop::{self, Holder as HolderModel};

use super::latency::Latency;
use super::{non_empty, ratio};

view! {
    pub(super) struct EventLoop<'a>(event_loop: &'a event_loop::EventLoop) with {
        let whole_ns = event_loop.busy_ns.saturating_add(event_loop.waiting_ns);
    } {
        pid: u32 = event_loop.tgid,
        tid: u32 = event_loop.tid,
        iterations: u64 = event_loop.turns,
        busy_ns: u64 = event_loop.busy_ns,
        waiting_ns: u64 = event_loop.waiting_ns,
        busy_ratio: Option<f64> = ratio(event_loop.busy_ns, whole_ns),
        longest_iteration_ns: u64 = event_loop.longest_turn_ns,
        lag: Latency = Latency::new(&event_loop.lag),
        lag_unknown: u64 = event_loop.lag_unknown,
        pooled: u64 = event_loop.pooled,
        paired_by_order: u64 = event_loop.paired_by_order,
        back_ends_unknown: u64 = event_loop.back_ends_unknown,
        holders: Vec<Holder<'a>> = event_loop.holders.iter().map(Holder::new).collect(),
    }
}

view! {
    struct Holder<'a>(holder: &'a HolderModel) {
        method: Option<&'a str> = non_empty(&holder.method),
        path_shape: Option<&'a str> = non_empty(&holder.path_shape),
        iterations: u64 = holder.turns,
        held_ns: u64 = holder.held_ns,
        longest_ns: u64 = holder.longest_ns,
        longest_request: Option<u64> = holder.longest_request,
        waited: u64 = holder.waited,
        waited_ns: u64 = holder.waited_ns,
        long: Long = Long::new(&holder.long),
    }
}

view! {
    struct Long(long: &event_loop::LongHolds) {
        iterations: u64 = long.count,
        held_ns: u64 = long.held_ns,
        waited: u64 = long.waited,
        waited_ns: u64 = long.waited_ns,
    }
}

pub(super) fn list(snapshot: &Snapshot) -> Vec<EventLoop<'_>> {
    snapshot.event_loops.iter().map(EventLoop::new).collect()
}
