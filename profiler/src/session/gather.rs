//! What a session gathers beside the records: facts at its start, every second, and at the end of a window.
//!
//! In: `/proc`, cgroups, the kernel side's counters and accounts. Out: facts, into the feed.

use std::time::Duration;

use profiler_common::account::ThreadAccount;
use profiler_core::fact::machine::MachineCpu;
use profiler_core::fact::waiting::WaitingConnections;
use profiler_core::fact::{Attached, Fact, OpenSlice, Overhead, ThreadTotals};
use tokio::time::Instant;

use super::gil::LockWatch;
use super::tls::TlsWatch;
use crate::fact::cgroup::CgroupReaders;
use crate::fact::container;
use crate::fact::machine::machine_cpu;
use crate::fact::memory::process_memory;
use crate::fact::session::NotCounted;
use crate::fact::{Proc, Watched};
use crate::session::shared::Tap;
use crate::source::live::RunTimeSample;
use crate::source::live::clock::{monotonic_ns, process_cpu_ns};

/// When the kernel's run-time statistics are switched on, after the start of the window.
const SAMPLE_AFTER: Duration = Duration::from_millis(700);
/// How long they stay on: they cost every BPF program of the machine two clock reads a run.
const SAMPLE_FOR: Duration = Duration::from_millis(400);
/// Where what is taken has a limit: for how long, and how often.
const SAMPLE_OFTEN_FOR: Duration = Duration::from_millis(100);
const SAMPLE_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Then a sample is this part of their mean, if it is no shorter than that.
const SAMPLE_WEIGHT: f64 = 0.4;
const LEAST_SAMPLE_NS: u64 = 50_000_000;

/// Every so many seconds it is looked for other profilers: that goes through all maps of the machine.
const OTHERS_EVERY: u32 = 5;

/// Processes whose memory is read.
const MAX_MEMORIES: usize = 256;

/// Readers of everything outside the kernel side.
pub(super) struct Gather {
    pub(super) proc: Proc,
    pub(super) watched: Watched,
    pub(super) known: Vec<u32>,
    /// Processes whose facts were read once so far.
    young: Vec<u32>,
    /// How often it was asked for other profilers.
    asked_for_others: u32,
    /// Forks of processes that are accounted for in `known`.
    born: u64,
    pub(super) attached: Attached,
    cgroups: CgroupReaders,
    pub(super) locks: LockWatch,
    pub(super) tls: TlsWatch,
}

/// What the profiler has cost since the window began.
pub(super) struct Cost {
    /// When the next sample begins, or the one that is under way ends; `None`: there is no other.
    due: Option<Instant>,
    is_limited: bool,
    sample: Option<RunTimeSample>,
    /// Run time, runs and length of all samples.
    sampled: (u64, u64, u64),
    /// CPUs that the programs took in the last sample.
    programs_cpus: Option<f64>,
    cpu_at_start_ns: u64,
    not_counted_at_start: NotCounted,
}

/// What threads were in the middle of at one moment, their totals up to it, and who waited then.
pub(super) struct Closing {
    pub(super) open: Vec<OpenSlice>,
    pub(super) totals: Vec<ThreadTotals>,
    pub(super) waiting: Option<WaitingConnections>,
}

/// What is read just before the moment of a [`Closing`].
pub(super) struct BeforeClosing {
    accounts: Vec<ThreadAccount>,
    waiting: Option<WaitingConnections>,
}

impl BeforeClosing {
    /// Reads the threads' accounts last: they are of the moment that follows.
    pub(super) fn read(source: &mut Tap) -> Self {
        let waiting = source.waiting_connections(monotonic_ns());
        Self { waiting, accounts: source.accounts() }
    }
}

impl Closing {
    /// Reads the rest; `end_ns` is now.
    pub(super) fn read(source: &Tap, before: BeforeClosing, end_ns: u64) -> Self {
        let BeforeClosing { accounts, waiting } = before;
        Self { open: source.slices_at(&accounts, end_ns), totals: source.thread_totals(), waiting }
    }

    /// As facts.
    pub(super) fn into_facts(self) -> impl Iterator<Item = Fact> {
        let totals = self.totals.into_iter().map(Fact::ThreadTotals);
        let waiting = self.waiting.map(Fact::WaitingConnections);
        self.open.into_iter().map(Fact::OpenSlice).chain(totals).chain(waiting)
    }
}

impl Gather {
    pub(super) fn new(
        proc: Proc,
        watched: Watched,
        attached: Attached,
        (locks, tls): (LockWatch, TlsWatch),
    ) -> Self {
        let cgroups = CgroupReaders::for_process(&proc, watched.server.root);
        let (known, young) = (Vec::new(), Vec::new());
        Self { proc, watched, known, young, asked_for_others: 0, born: 0, attached, cgroups, locks, tls }
    }

    /// The processes of which something new is to be read: workers are followed from their fork on; here
    /// their facts are added. They are read twice, a second apart: a worker takes its name some time
    /// after its birth. `born` changes whenever a process may have been born; `newborn`: those that were
    /// seen to be, each after its parent.
    pub(super) fn new_processes(&mut self, born: u64, newborn: &[(u32, u32)], source: &mut Tap) -> Vec<u32> {
        if born == self.born && self.young.is_empty() {
            return Vec::new();
        }
        self.born = born;
        let Ok(watched) = self.watched.with_newborn(newborn).again(&self.proc) else { return Vec::new() };
        let tgids = watched.tgids();
        let new: Vec<u32> = tgids.iter().copied().filter(|tgid| !self.known.contains(tgid)).collect();
        // What has ended is forgotten: its number may be another worker's next.
        self.known = tgids;
        self.watched = watched;
        self.tls.forget(&self.known, source);
        if !new.is_empty() {
            // Fails only where the kernel refuses an iterator that it took before: the threads stay without
            // an account, which the counters show.
            let _ = source.rescan(&self.known);
        }
        let young = std::mem::replace(&mut self.young, new.clone());
        new.into_iter().chain(young).filter(|tgid| self.known.contains(tgid)).collect()
    }

    /// What `/proc` says of processes.
    pub(super) fn facts_of(&self, tgids: &[u32]) -> impl Iterator<Item = Fact> + use<> {
        self.watched.facts(&self.proc, tgids).into_facts()
    }

    /// What `/proc` says of the listeners and other descriptors of processes.
    pub(super) fn listeners_of(&self, tgids: &[u32]) -> impl Iterator<Item = Fact> + use<> {
        self.facts_of(tgids).filter(|fact| matches!(fact, Fact::ListenerSeen(_) | Fact::DescriptorSeen(_)))
    }

    /// Another profiler may come after us; the most that were there at once are reported. `None`: no more
    /// than before.
    pub(super) fn other_profilers(&mut self, source: &Tap) -> Option<Fact> {
        let others = source.other_profilers(&self.watched.tgids());
        if others <= self.attached.other_profilers {
            return None;
        }
        self.attached.other_profilers = others;
        Some(Fact::Attached(self.attached.clone()))
    }

    /// The same, most times without a look.
    pub(super) fn other_profilers_now_and_then(&mut self, source: &Tap) -> Option<Fact> {
        self.asked_for_others = self.asked_for_others.wrapping_add(1);
        if self.asked_for_others.is_multiple_of(OTHERS_EVERY) { self.other_profilers(source) } else { None }
    }

    /// Where the interpreter locks of a process are; nothing, if it is gone.
    pub(super) fn interpreter(&mut self, tgid: u32, source: &mut Tap) -> Vec<Fact> {
        self.tls.process(tgid);
        self.locks.look(&self.proc, tgid, source)
    }

    /// Places the probes in OpenSSL that are wanted by now; a fact, if that changes what is attached.
    pub(super) fn tls_probes(&mut self, source: &mut Tap) -> Option<Fact> {
        let is_new = self.tls.place(&self.proc, source, &mut self.attached);
        is_new.then(|| Fact::Attached(self.attached.clone()))
    }

    /// What has changed of interpreters since they were looked at.
    pub(super) fn interpreters_again(&mut self, source: &mut Tap) -> Vec<Fact> {
        let mut facts = self.locks.look_again(&self.proc, &self.known, source);
        facts.extend(self.locks.method_if_changed(source));
        facts
    }

    /// What threads call themselves in processes of other PID namespaces, where there are others than before.
    pub(super) fn thread_numbers(&mut self) -> Vec<Fact> {
        self.locks.thread_numbers(&self.proc)
    }

    /// Memory of each process now; their shares of what they share, where that is wanted, take the kernel a
    /// while.
    pub(super) fn memory(&self, with_shares: bool) -> impl Iterator<Item = Fact> {
        let known = self.known.iter().take(MAX_MEMORIES);
        known.filter_map(move |pid| process_memory(&self.proc, *pid, with_shares)).map(Fact::ProcessMemory)
    }

    /// What the limits of the server's cgroup say now.
    pub(super) fn cgroups(&self) -> impl Iterator<Item = Fact> + use<'_> {
        self.cgroups.read()
    }

    /// The container that the server runs in.
    pub(super) fn container(&self) -> Option<Fact> {
        container::of_process(&self.proc, self.watched.server.root).map(Fact::Container)
    }

    /// CPU time of the whole machine, beside our own.
    pub(super) fn machine() -> Option<MachineCpu> {
        machine_cpu(monotonic_ns(), process_cpu_ns())
    }
}

impl Cost {
    /// Begins now. `is_limited`: what is taken has a limit, so it has to be known all the time.
    pub(super) fn start(is_limited: bool) -> Self {
        Self {
            due: Some(Instant::now() + SAMPLE_AFTER),
            is_limited,
            sample: None,
            sampled: (0, 0, 0),
            programs_cpus: None,
            cpu_at_start_ns: process_cpu_ns(),
            not_counted_at_start: NotCounted::read(),
        }
    }

    /// The next window begins now: the programs take what they took.
    pub(super) fn start_next(&self) -> Self {
        Self { programs_cpus: self.programs_cpus, ..Self::start(self.is_limited) }
    }

    /// Turns the kernel's statistics on and off again, when it is time.
    pub(super) fn sample(&mut self, source: &Tap) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        if self.sample.is_some() {
            self.end_sample(source);
            self.due = self.is_limited.then(|| now + SAMPLE_AGAIN_AFTER);
        } else {
            self.sample = source.start_run_time_sample().ok();
            self.due = Some(now + if self.is_limited { SAMPLE_OFTEN_FOR } else { SAMPLE_FOR });
        }
    }

    /// Ends a sample that is under way.
    pub(super) fn end_sample(&mut self, source: &Tap) {
        let Some(sample) = self.sample.take() else { return };
        let (run_ns, runs, length_ns) = source.finish_run_time_sample(sample);
        if length_ns >= LEAST_SAMPLE_NS {
            let cpus = run_ns as f64 / length_ns as f64;
            let mean = self.programs_cpus.map_or(cpus, |before| before + (cpus - before) * SAMPLE_WEIGHT);
            self.programs_cpus = Some(mean);
        }
        let (all_run_ns, all_runs, all_length_ns) = self.sampled;
        self.sampled = (all_run_ns + run_ns, all_runs + runs, all_length_ns + length_ns);
    }

    /// CPUs that the programs took in the last samples; `None`: there was none yet, or the kernel refuses it.
    pub(super) const fn programs_cpus(&self) -> Option<f64> {
        self.programs_cpus
    }

    /// What it was up to now.
    pub(super) fn fact(&self) -> Fact {
        let (bpf_run_ns, bpf_runs, bpf_sampled_ns) = self.sampled;
        let NotCounted { stolen_ns, interrupt_ns } = NotCounted::read().since(self.not_counted_at_start);
        Fact::Overhead(Overhead {
            profiler_cpu_ns: process_cpu_ns().saturating_sub(self.cpu_at_start_ns),
            // Added up from what is recorded: these totals are of the living threads only.
            target_cpu_ns: 0,
            bpf_run_ns,
            bpf_runs,
            bpf_sampled_ns,
            stolen_ns,
            interrupt_ns,
        })
    }
}
