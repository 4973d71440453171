//! What the requests of one endpoint took in each process that served it: like beside like.
//!
//! In: completed requests of one endpoint. Out: [`ByWorker`], sums for a bounded number of processes. They
//! take [`MAX_BYTES`] at most, some 30 kB, and those of all endpoints 6 MB.

use crate::model::lengths::{FEW_STEPS_BYTES, Lengths};
use crate::phase::{Phase, Phases};

/// Processes distinguished at one endpoint; what others serve is counted.
pub const MAX_WORKERS: usize = 64;
/// Memory that an endpoint takes for them at most.
pub const MAX_BYTES: usize = MAX_WORKERS * (size_of::<OfWorker>() + FEW_STEPS_BYTES);

/// Whether a phase depends on the process that serves: it is neither before service nor the client's.
pub const fn is_work(phase: Phase) -> bool {
    !matches!(
        phase,
        Phase::AcceptQueue
            | Phase::PoolWait
            | Phase::LoopWait
            | Phase::ReadHead
            | Phase::FrontEnd
            | Phase::ClientReadStall
            | Phase::ClientWriteStall
    )
}

/// How long a process worked for a request: service without waiting for its client.
pub fn work_ns(phases: &Phases) -> u64 {
    let others = Phase::ALL.into_iter().filter(|phase| !is_work(*phase));
    others.fold(phases.total_ns(), |left_ns, phase| left_ns.saturating_sub(phases.get(phase)))
}

/// What one process did for an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfWorker {
    /// Process.
    pub tgid: u32,
    /// Requests that were seen from their beginning.
    pub count: u64,
    /// Where their time went.
    pub phases: Phases,
    /// How long the process worked for each.
    pub work: Lengths,
}

/// The processes that served an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByWorker {
    /// In the order in which they served it first.
    pub list: Vec<OfWorker>,
    /// Requests of processes for which there was no room.
    pub others: u64,
}

impl ByWorker {
    /// A request of this process was completed.
    pub fn add(&mut self, tgid: u32, phases: &Phases) {
        let place = self.list.iter().position(|known| known.tgid == tgid);
        if place.is_none() && self.list.len() >= MAX_WORKERS {
            self.others = self.others.saturating_add(1);
            return;
        }
        let place = place.unwrap_or_else(|| {
            self.list.push(OfWorker { tgid, ..OfWorker::default() });
            self.list.len().saturating_sub(1)
        });
        if let Some(worker) = self.list.get_mut(place) {
            worker.count = worker.count.saturating_add(1);
            worker.phases.add_all(phases);
            worker.work.record_in_few(work_ns(phases));
        }
    }

    /// All of these processes together.
    pub fn together(&self) -> OfWorker {
        let mut all = OfWorker::default();
        for worker in &self.list {
            all.count = all.count.saturating_add(worker.count);
            all.phases.add_all(&worker.phases);
            all.work.merge(&worker.work);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(of: &[(Phase, u64)]) -> Phases {
        let mut phases = Phases::default();
        of.iter().for_each(|(phase, duration_ns)| phases.add(*phase, *duration_ns));
        phases
    }

    #[test]
    fn work_is_service_without_the_clients_stalls() {
        let of = [
            (Phase::AcceptQueue, 1),
            (Phase::PoolWait, 2),
            (Phase::LoopWait, 4),
            (Phase::ReadHead, 8),
            (Phase::FrontEnd, 16),
            (Phase::ClientReadStall, 32),
            (Phase::ClientWriteStall, 64),
            (Phase::Cpu, 128),
            (Phase::BackendWait, 256),
            (Phase::Unexplained, 512),
        ];
        assert_eq!(work_ns(&phases(&of)), 128 + 256 + 512);
    }

    #[test]
    fn each_process_has_its_own_and_together_they_have_all() {
        let mut workers = ByWorker::default();
        for (tgid, duration_ns) in [(9, 5_000), (7, 80_000), (9, 6_000)] {
            workers.add(tgid, &phases(&[(Phase::Cpu, duration_ns)]));
        }
        let told: Vec<_> = workers.list.iter().map(|one| (one.tgid, one.count, one.work.count())).collect();
        assert_eq!(told, [(9, 2, 2), (7, 1, 1)]);
        let all = workers.together();
        assert_eq!((all.count, all.phases.get(Phase::Cpu), all.work.count()), (3, 91_000, 3));
    }

    #[test]
    fn processes_beyond_the_bound_are_counted_and_change_nothing_else() {
        let mut workers = ByWorker::default();
        for tgid in (0..70).chain(0..1) {
            workers.add(tgid, &phases(&[(Phase::Cpu, 5_000)]));
        }
        assert_eq!((workers.list.len(), workers.others), (MAX_WORKERS, 6));
        assert_eq!((workers.list[0].count, workers.together().count), (2, 65));
    }
}
