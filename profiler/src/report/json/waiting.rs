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
        /// accept: asleep in accept; poll: in poll or select; epoll: in an epoll instance; lock: behind a
        /// lock that lets one at a time wait.
        #[cfg_attr(test, schemars(extend("examples" = ["accept", "poll", "epoll", "lock"])))]
        how: &'static str = waiters.how.name(),
        /// futex, fcntl, flock or semaphore; null: no lock.
        #[cfg_attr(test, schemars(extend("examples" = ["futex", "fcntl", "flock", "semaphore"])))]
        lock: Option<&'static str> = lock,
        /// EPOLLEXCLUSIVE: a connection wakes one.
        is_exclusive: bool = exclusive,
        /// EPOLLONESHOT.
        is_one_shot: bool = one_shot,
        /// EPOLLET.
        is_edge_triggered: bool = edge_triggered,
        /// Several processes have the instance, by a fork: a connection wakes one of all who wait in it.
        is_shared: bool = shared,
        /// The instance that has the listener is inside another one.
        is_nested: bool = nested,
        /// Threads that waited so in the window and still live at its end.
        threads: u32 = waiters.threads,
        /// Their processes.
        processes: u32 = waiters.processes,
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct AcceptedBy {
    /// Process.
    pub(super) pid: u32,
    /// Connections that it accepted in the window.
    pub(super) accepted: u64,
}

/// A process that is not traced and holds the listener.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ForeignHolder<'a> {
    /// Process.
    pub(super) pid: u32,
    /// Its name.
    pub(super) comm: &'a str,
}

view! {
    /// Connections that waited in a full worker beside a free one.
    pub(super) struct BesideFree(beside: &model::beside_free::BesideFree) {
        /// How long each waited so; what is shorter than a millisecond is left out.
        waits: Latency = Latency::new(&beside.waits),
        /// Connections beyond a bound, of which it was not decided.
        undecided: u64 = beside.undecided,
    }
}
