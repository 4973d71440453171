//! `listeners[].queue` and `target.networks`.
//!
//! In: accept queues and counters of network namespaces. Out: serialisable views of them.

use profiler_core::model;

use super::latency::Latency;

view! {
    /// An accept queue over the window.
    pub(super) struct Queue(queue: &model::queue::Queue, sees_accepts: bool) {
        limit: u32 = queue.limit,
        depth: u32 = queue.depth,
        deepest: u32 = queue.deepest(),
        over_time: Depths = Depths::new(&queue.over_time),
        arrivals: Option<u64> = sees_accepts.then(|| queue.at_arrival.weight()),
        at_arrival: Option<Depths> = sees_accepts.then(|| Depths::new(&queue.at_arrival)),
        observed_ns: u64 = queue.observed_ns(),
        full_ns: u64 = queue.full_ns,
        refused: Option<u64> = queue.refused,
        delays: Option<Delays> = queue.delays.as_ref().map(Delays::new),
    }
}

view! {
    /// Clients that found the queue full.
    struct Delays(delays: &model::queue::Delays) {
        attempts: u64 = delays.attempts,
        attempts_at_end: u64 = delays.attempts_at_end,
        clients: u64 = delays.clients,
        delay: Latency = Latency::new(&delays.delay),
    }
}

view! {
    struct Depths(depths: &model::queue::Depths) with {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| depths.quantile(share));
    } {
        p50: u32 = p50,
        p90: u32 = p90,
        p99: u32 = p99,
        max: u32 = depths.max(),
    }
}

view! {
    /// What a network namespace counted of its listeners.
    pub(super) struct Network(network: &model::queue::Network) {
        namespace: u64 = network.namespace,
        somaxconn: Option<u32> = network.somaxconn,
        listen_overflows: u64 = network.listen_overflows,
        listen_drops: u64 = network.listen_drops,
        request_queue_full: u64 = network.request_queue_full,
        deferred: u64 = network.deferred,
    }
}
