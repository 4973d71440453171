//! `by_worker`: what the requests of an endpoint took in each process that served it.
//!
//! In: sums by process of the core. Out: a serialisable view of them.

use profiler_core::model::by_worker;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct ByWorker {
    listed: Vec<OfWorker>,
    others: u64,
}

#[derive(Serialize)]
struct OfWorker {
    pid: u32,
    count: u64,
    work_ns: u64,
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
