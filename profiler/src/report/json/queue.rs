//! `listeners[].queue` and `target.networks`.
//!
//! In: accept queues and counters of network namespaces. Out: serialisable views of them.

use profiler_core::model;

use super::latency::Latency;

view! {
    /// An accept queue over the window.
    pub(super) struct Queue(queue: &model::queue::Queue, sees_accepts: bool) {
        /// Limit in force: what the server asked for, or net.core.somaxconn if that is less. The queue is
        /// full when more than so many wait.
        limit: u32 = queue.limit,
        /// Connections that waited when the window ended.
        depth: u32 = queue.depth,
        /// Most connections seen waiting at one moment.
        deepest: u32 = queue.deepest(),
        /// Depth over time, by readings ten times a second, within observed_ns.
        over_time: Depths = Depths::new(&queue.over_time),
        /// Connections that arrived, of which at_arrival speaks; null: not measured.
        arrivals: Option<u64> = sees_accepts.then(|| queue.at_arrival.weight()),
        /// How many waited when a connection came, itself included; of the connections that were accepted;
        /// null: not measured.
        at_arrival: Option<Depths> = sees_accepts.then(|| Depths::new(&queue.at_arrival)),
        /// Time over which the queue was read in ns.
        observed_ns: u64 = queue.observed_ns(),
        /// Time that the queue was full in ns, by the same readings.
        full_ns: u64 = queue.full_ns,
        /// Packets of handshakes refused; each is tried again by its client later, and counts once for each
        /// attempt. Of a UNIX listener: attempts to connect that found the queue full. null: not counted.
        refused: Option<u64> = queue.refused,
        /// Clients that found the queue full; null: this kernel does not tell them apart.
        delays: Option<Delays> = queue.delays.as_ref().map(Delays::new),
    }
}

view! {
    /// Clients that found the queue full.
    struct Delays(delays: &model::queue::Delays) {
        /// Packets of handshakes that found the queue full; each is an attempt that its client must repeat.
        attempts: u64 = delays.attempts,
        /// Of these: packets that would have ended a handshake; such a client takes itself for connected.
        attempts_at_end: u64 = delays.attempts_at_end,
        /// Clients, by address and port, refused for the first time in the window.
        clients: u64 = delays.clients,
        /// From a client's first refusal to its connection, of the connections accepted in the window, to the
        /// millisecond.
        delay: Latency = Latency::new(&delays.delay),
    }
}

view! {
    /// Depths of an accept queue, in connections: of the time observed, or of the connections that arrived.
    struct Depths(depths: &model::queue::Depths) with {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| depths.quantile(share));
    } {
        /// Median: the depth that half of them do not exceed.
        p50: u32 = p50,
        /// The same for 90 %.
        p90: u32 = p90,
        /// The same for 99 %.
        p99: u32 = p99,
        /// Greatest depth.
        max: u32 = depths.max(),
    }
}

view! {
    /// What a network namespace counted of its listeners.
    pub(super) struct Network(network: &model::queue::Network) {
        /// Inode of the namespace.
        namespace: u64 = network.namespace,
        /// net.core.somaxconn: no accept queue is longer; null: not known.
        somaxconn: Option<u32> = network.somaxconn,
        /// ListenOverflows: packets of handshakes that came while the accept queue was full.
        listen_overflows: u64 = network.listen_overflows,
        /// ListenDrops: packets of handshakes refused for any reason.
        listen_drops: u64 = network.listen_drops,
        /// TCPReqQFullDrop: attempts refused because too many handshakes were under way.
        request_queue_full: u64 = network.request_queue_full,
        /// TCPDeferAcceptDrop: acknowledgements passed over because the listener waits for data; no refusals.
        deferred: u64 = network.deferred,
    }
}
