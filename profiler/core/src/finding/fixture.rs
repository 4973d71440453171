//! Handmade snapshots for the tests of rules.
//!
//! In: a server and what happened. Out: a snapshot, and assertions on what a rule says of it.

use super::basis::Basis;
use super::{Answer, Finding, Thresholds, leaf, measured, summaries};
use crate::fact::{CgroupCpu, ListenerWakes};
use crate::model::chain::{Hops, Leaf, LeafKind, LeafTime};
use crate::model::queue::Queue;
use crate::model::slot::{Holding, Slot};
use crate::model::{CgroupWindow, Endpoint, Listener, Process, Snapshot, Thread};
use crate::phase::{Phase, Phases};

/// Nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds.
const MICROSECOND: u64 = 1_000;
/// Nanoseconds.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// A snapshot in the making.
#[derive(Clone)]
pub(crate) struct Scene(pub(crate) Snapshot);

impl Scene {
    pub(crate) fn empty(window_ns: u64) -> Self {
        let mut snapshot = Snapshot::default();
        snapshot.window.start_ns = SECOND;
        snapshot.window.end_ns = SECOND + window_ns;
        snapshot.session.cpu_count = 2;
        Self(snapshot)
    }

    pub(crate) fn gunicorn(worker_class: &str, slots: u32, window_ns: u64) -> Self {
        let mut scene = Self::empty(window_ns);
        scene.0.server.name = "gunicorn".to_owned();
        scene.0.server.worker_class = worker_class.to_owned();
        // One listener to which nobody connects.
        let (wakes, queue) = (Some(ListenerWakes::default()), Some(Queue::default()));
        scene.0.sockets.listeners = vec![Listener { wakes, queue, ..Listener::default() }];
        scene.0.slots.configured = Some(slots);
        scene.0.slots.observed = (0..slots)
            .map(|id| Slot {
                id,
                since_ns: scene.0.window.start_ns,
                until_ns: scene.0.window.end_ns,
                ..Slot::default()
            })
            .collect();
        scene
    }

    /// So many requests; each computes for a moment.
    pub(crate) fn requests(self, completed: u64) -> Self {
        let mut scene = self.leaf(LeafKind::Computing, &[], MICROSECOND);
        scene.0.requests.completed = completed;
        scene
    }

    /// Time of requests in a phase, which nothing follows further.
    pub(crate) fn phase(mut self, phase: Phase, duration_ns: u64) -> Self {
        self.0.requests.phases.add(phase, duration_ns);
        self
    }

    /// Time of requests at a leaf, by this way; they are 20.
    pub(crate) fn leaf(mut self, kind: LeafKind, hops: &[Phase], held_ns: u64) -> Self {
        let way = hops.iter().fold(Hops::NONE, |way, hop| way.with(*hop).unwrap_or(way));
        let (leaf, longest_ns) = (Leaf::of(kind), held_ns / 20);
        let row = LeafTime { leaf, hops: way, requests: 20, longest_ns, ..LeafTime::of_nobody(held_ns) };
        self.0.chains.request_ns += held_ns;
        self.0.chains.leaves.push(row);
        self
    }

    pub(crate) fn service(mut self, duration_ns: u64) -> Self {
        self.0.requests.service.record(duration_ns);
        self
    }

    pub(crate) fn exhausted(mut self, duration_ns: u64) -> Self {
        self.0.slots.exhausted_ns = duration_ns;
        self
    }

    pub(crate) fn holding_request(self, duration_ns: u64) -> Self {
        self.holding(Holding::Request, duration_ns)
    }

    pub(crate) fn holding(mut self, holding: Holding, duration_ns: u64) -> Self {
        self.0.slots.observed[0].holding_ns[holding as usize] += duration_ns;
        self
    }

    pub(crate) fn endpoint(mut self, path: &str, count: u64, phases: &[(Phase, u64)]) -> Self {
        let mut endpoint =
            Endpoint { method: "GET".to_owned(), path_shape: path.to_owned(), count, ..Endpoint::default() };
        let mut sum = Phases::default();
        for (phase, duration_ns) in phases {
            sum.add(*phase, *duration_ns);
        }
        for _ in 0..count {
            endpoint.service.record(sum.served_ns() / count);
        }
        endpoint.phases = sum;
        self.0.by_endpoint.list.push(endpoint);
        self
    }

    /// One process served whatever was served.
    pub(crate) fn served_by_one(mut self) -> Self {
        let mut endpoint = Endpoint::default();
        endpoint.by_worker.add(1, &Phases::default());
        self.0.by_endpoint.list.push(endpoint);
        self
    }

    /// A process whose threads each served a request; the first has all the CPU time.
    pub(crate) fn process(mut self, threads: u32, cpu_ns: u64, run_queue_ns: u64) -> Self {
        let mut process = Process { requests: u64::from(threads), ..Process::default() };
        for tid in 0..threads {
            process.threads.push(Thread { tid, requests: 1, ..Thread::default() });
        }
        process.threads[0].cpu_ns = cpu_ns;
        process.threads[0].run_queue_ns = run_queue_ns;
        self.0.processes.push(process);
        self
    }

    pub(crate) fn throttled(mut self, throttled_ns: u64, periods: u64) -> Self {
        let first = CgroupCpu {
            quota_us: Some(50_000),
            period_us: 100_000,
            throttled_periods: 7,
            throttled_ns: 7,
            ..CgroupCpu::default()
        };
        let last =
            CgroupCpu { throttled_periods: 7 + periods, throttled_ns: 7 + throttled_ns, ..first.clone() };
        self.0.cgroups.push(CgroupWindow { first, last });
        self
    }

    pub(crate) fn not_measured(mut self, phase: Phase) -> Self {
        self.0.coverage.not_measured.push((phase, "not yet".to_owned()));
        self
    }

    pub(crate) fn lost(mut self, lost: u64, received: u64) -> Self {
        self.0.coverage.losses.kernel.lost.push(("ring_full_slice".to_owned(), lost));
        self.0.coverage.losses.sequence_holes = lost;
        self.0.coverage.conservation.received = received;
        self
    }

    pub(crate) fn judge(&self, id: &str) -> Finding {
        let limits = Thresholds::default();
        let basis = Basis::new(&self.0, &limits);
        let mut findings = measured(&basis);
        findings.extend(leaf::findings(&basis, &[]));
        findings.extend(summaries(&basis, &findings));
        findings.into_iter().find(|finding| finding.id == id).expect("every rule gives a finding")
    }
}

impl Finding {
    pub(crate) fn assert_present(&self) {
        assert_eq!(self.answer, Answer::Present, "{}", self.sentence);
        assert!(!self.advice.is_empty());
    }

    pub(crate) fn assert_absent(&self) {
        assert_eq!(self.answer, Answer::Absent, "{}", self.sentence);
        assert_eq!(self.cost_ns, 0);
    }

    pub(crate) fn assert_undecided(&self, because: &str) {
        match &self.answer {
            Answer::Undecided { reason } => assert!(reason.contains(because), "{reason}"),
            other => panic!("{other:?}: {}", self.sentence),
        }
    }
}
