//! `by_worker`: what the requests of an endpoint took in each process that served it.
//!
//! In: sums by process of the core. Out: a serialisable view of them.

use profiler_core::model::by_worker;
use serde::Serialize;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ByWorker {
    /// Each process, in the order in which they served it first, 64 at most.
    listed: Vec<OfWorker>,
    /// Requests of processes beyond these.
    others: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct OfWorker {
    /// Process.
    pid: u32,
    /// Requests.
    #[cfg_attr(test, schemars(range(min = 1)))]
    count: u64,
    /// Service time without waiting for the client, of all of them, in ns.
    work_ns: u64,
    /// The median of it, in ns: within 6 % where most requests of a worker took about as long.
    median_work_ns: u64,
}

impl ByWorker {
    pub(super) fn new(workers: &by_worker::ByWorker) -> Self {
        let of = |worker: &by_worker::OfWorker| OfWorker {
            pid: worker.tgid,
            count: worker.count,
            work_ns: by_worker::work_ns(&worker.phases),
            median_work_ns: worker.work.quantile_ns(0.5),
        };
        Self { listed: workers.list.iter().map(of).collect(), others: workers.others }
    }
}
