//! `listeners[].queue` and `target.networks`.
//!
//! In: accept queues and counters of network namespaces. Out: serialisable views of them.

use profiler_core::model;
use serde::Serialize;

use super::latency::Latency;

/// An accept queue over the window.
#[derive(Serialize)]
pub(super) struct Queue {
    limit: u32,
    depth: u32,
    deepest: u32,
    over_time: Depths,
    at_arrival: Depths,
    observed_ns: u64,
    full_ns: u64,
    refused: Option<u64>,
    delays: Option<Delays>,
}

/// Clients that found the queue full.
#[derive(Serialize)]
struct Delays {
    attempts: u64,
    attempts_at_end: u64,
    clients: u64,
    delay: Latency,
}

#[derive(Serialize)]
struct Depths {
    weight: u64,
    p50: u32,
    p90: u32,
    p99: u32,
    max: u32,
}

impl Depths {
    fn new(depths: &model::queue::Depths) -> Self {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| depths.quantile(share));
        Self { weight: depths.weight(), p50, p90, p99, max: depths.max() }
    }
}

impl Queue {
    pub(super) fn new(queue: &model::queue::Queue) -> Self {
        Self {
            limit: queue.limit,
            depth: queue.depth,
            deepest: queue.deepest(),
            over_time: Depths::new(&queue.over_time),
            at_arrival: Depths::new(&queue.at_arrival),
            observed_ns: queue.observed_ns(),
            full_ns: queue.full_ns,
            refused: queue.refused,
            delays: queue.delays.as_ref().map(|delays| Delays {
                attempts: delays.attempts,
                attempts_at_end: delays.attempts_at_end,
                clients: delays.clients,
                delay: Latency::new(&delays.delay),
            }),
        }
    }
}

/// What a network namespace counted of its listeners.
#[derive(Serialize)]
pub(super) struct Network {
    namespace: u64,
    somaxconn: Option<u32>,
    listen_overflows: u64,
    listen_drops: u64,
    request_queue_full: u64,
    deferred: u64,
}

impl Network {
    pub(super) const fn new(network: &model::queue::Network) -> Self {
        Self {
            namespace: network.namespace,
            somaxconn: network.somaxconn,
            listen_overflows: network.listen_overflows,
            listen_drops: network.listen_drops,
            request_queue_full: network.request_queue_full,
            deferred: network.deferred,
        }
    }
}
