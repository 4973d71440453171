//! Who waits for a listener, and who accepted from it.
//!
//! In: parts of a listener. Out: serialisable views of them.

use profiler_core::model;
use profiler_core::model::waiter::{self, How};
use serde::Serialize;

use super::latency::Latency;

#[derive(Serialize)]
pub(super) struct Waiters {
    how: &'static str,
    lock: Option<&'static str>,
    exclusive: bool,
    one_shot: bool,
    edge_triggered: bool,
    shared: bool,
    nested: bool,
    threads: u32,
    processes: u32,
}

impl Waiters {
    pub(super) fn new(waiters: &waiter::Waiters) -> Self {
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
        Self {
            how: waiters.how.name(),
            lock,
            exclusive,
            one_shot,
            edge_triggered,
            shared,
            nested,
            threads: waiters.threads,
            processes: waiters.processes,
        }
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

/// Connections that waited in a full worker beside a free one.
#[derive(Serialize)]
pub(super) struct BesideFree {
    waits: Latency,
    undecided: u64,
}

impl BesideFree {
    pub(super) fn new(beside: &model::beside_free::BesideFree) -> Self {
        Self { waits: Latency::new(&beside.waits), undecided: beside.undecided }
    }
}
