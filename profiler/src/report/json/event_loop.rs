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
        /// Process.
        pid: u32 = event_loop.tgid,
        /// Thread.
        tid: u32 = event_loop.tid,
        /// Times it looked for what is ready.
        iterations: u64 = event_loop.turns,
        /// Time between its waits, in ns.
        busy_ns: u64 = event_loop.busy_ns,
        /// Time in its waits, in ns.
        waiting_ns: u64 = event_loop.waiting_ns,
        /// busy_ns by busy_ns + waiting_ns; null: it never waited.
        busy_ratio: Option<f64> = ratio(event_loop.busy_ns, whole_ns),
        /// Longest time without a look at what is ready, in ns.
        longest_iteration_ns: u64 = event_loop.longest_turn_ns,
        /// From the arrival of each request's first bytes to the loop's next look at what is ready, in ns:
        /// event-loop lag.
        lag: Latency = Latency::new(&event_loop.lag),
        /// Arrivals that came too long before their read to be placed.
        lag_unknown: u64 = event_loop.lag_unknown,
        /// Times a thread of a pool was found to have worked for a request of this loop.
        pooled: u64 = event_loop.pooled,
        /// Back ends' sockets, and work of a pool's threads, that were attributed to a request by order
        /// alone. It was the first of several that they may have belonged to, or the only one that is known.
        paired_by_order: u64 = event_loop.paired_by_order,
        /// Times that a back end was asked for one of several requests, and nothing told for which: in its
        /// request that time is unexplained.
        back_ends_unknown: u64 = event_loop.back_ends_unknown,
        /// Who kept the loop, what cost others most first.
        holders: Vec<Holder<'a>> = event_loop.holders.iter().map(Holder::new).collect(),
    }
}

view! {
    struct Holder<'a>(holder: &'a HolderModel) {
        /// Method; null: no request, or many short ones.
        method: Option<&'a str> = non_empty(&holder.method),
        /// Path with its variable segments folded.
        path_shape: Option<&'a str> = non_empty(&holder.path_shape),
        /// Turns of the loop in which one of its requests had the largest part (of at least 1 ms).
        iterations: u64 = holder.turns,
        /// Time that these requests had in them, in ns.
        held_ns: u64 = holder.held_ns,
        /// Longest part of one request in one turn, in ns.
        longest_ns: u64 = holder.longest_ns,
        /// That request; null: none.
        longest_request: Option<u64> = holder.longest_request,
        /// Arrivals during these turns: they waited for the end of the turn.
        waited: u64 = holder.waited,
        /// How long they waited, in ns.
        waited_ns: u64 = holder.waited_ns,
        /// Of all this: holds of at least 10 ms.
        long: Long = Long::new(&holder.long),
    }
}

view! {
    struct Long(long: &event_loop::LongHolds) {
        /// How many.
        iterations: u64 = long.count,
        /// Their length, in ns.
        held_ns: u64 = long.held_ns,
        /// Arrivals that waited for their end.
        waited: u64 = long.waited,
        /// How long they waited, in ns.
        waited_ns: u64 = long.waited_ns,
    }
}

pub(super) fn list(snapshot: &Snapshot) -> Vec<EventLoop<'_>> {
    snapshot.event_loops.iter().map(EventLoop::new).collect()
}
