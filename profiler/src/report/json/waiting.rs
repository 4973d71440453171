//! Who waits for a listener, and who accepted from it.
//!
//! In: parts of a listener. Out: serialisable views of them.

use profiler_core::model;
use profiler_core::model::waiter::{self, How};
use serde::Serialize;

use super::latency::Latency;

view! {
    pub(super) struct Waiters(waiters: &waiter::Waiters) with {
        let [exclusive, one_shot, edge_triggered, shared, nested] = match waiters.how {
            How::Epoll { exclusive, one_shot, edge_triggered, shared, nested } => {
                [exclusive, one_shot, edge_triggered, shared, nested]
            }
            How::Accept | How::Poll | How::Lock(_) => [false; 5],
        };
        let lock = match waiters.how {
            How::Lock(lock) => Some(lock.name()),
            How::Accept | How::Poll | How::Epoll { .. } => None,
        };
    } {
        how: &'static str = waiters.how.name(),
        lock: Option<&'static str> = lock,
        is_exclusive: bool = exclusive,
        is_one_shot: bool = one_shot,
        is_edge_triggered: bool = edge_triggered,
        is_shared: bool = shared,
        is_nested: bool = nested,
        threads: u32 = waiters.threads,
        processes: u32 = waiters.processes,
    }
}

#[derive(Serialize)]
pub(super) struct AcceptedBy {
    pub(super) pid: u32,
    pub(super) accepted: u64,
}

/// A process that is not traced and holds the listener.
#[derive(Serialize)]
pub(super) struct ForeignHolder<'a> {
    pub(super) pid: u32,
    pub(super) comm: &'a str,
}

view! {
    /// Connections that waited in a full worker beside a free one.
    pub(super) struct BesideFree(beside: &model::beside_free::BesideFree) {
        waits: Latency = Latency::new(&beside.waits),
        undecided: u64 = beside.undecided,
    }
}
