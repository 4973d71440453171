//! A live run: find the target, attach, watch until the window ends, report.
//!
//! In: the target and how long to watch. Out: a snapshot, the timeline through the consumer, a recording if wanted.
//! One thread drives it: a timer drains the ring buffer, another one gathers facts, signals end the window.

use std::time::Duration;

use profiler_core::fact::{Attached, EndReason, Fact, Overhead};
use profiler_core::model::Snapshot;
use profiler_core::pipeline::Pipeline;
use profiler_core::timeline::Entry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::SessionError;
use super::consumer::Consumer;
use super::feed::Feed;
use super::progress::ProgressLine;
use crate::attach::{self, execute};
use crate::fact::cgroup::CgroupReader;
use crate::fact::process::is_running;
use crate::fact::python::Interpreters;
use crate::fact::session::{session_started, stolen_ns};
use crate::fact::{Proc, Tree, process_tree, server_facts};
use crate::output_file::OutputFile;
use crate::recording::{RecordError, Recorder};
use crate::source::live::clock::{monotonic_ns, process_cpu_ns};
use crate::source::live::{LiveSource, RunTimeSample};

/// How often the ring buffer is drained: it never wakes its reader (that would cost the server a third of its
/// throughput), and 8 MiB hold ten times what 200,000 slices a second write in this time.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// How often facts are gathered: ticks, counters, new processes, progress.
const GATHER_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the target still lives.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When the kernel's run-time statistics are switched on, after the start of the window.
const SAMPLE_AFTER: Duration = Duration::from_millis(700);
/// How long they stay on: they cost every BPF program of the machine two clock reads a run.
const SAMPLE_FOR: Duration = Duration::from_millis(400);

/// What to watch and how.
pub struct Watch {
    /// The server's processes.
    pub tree: Tree,
    /// The process that the user named.
    pub named_pid: u32,
    /// Length of the window; `None`: until it is interrupted or the target ends.
    pub duration: Option<Duration>,
    /// How to attach.
    pub attach: attach::Settings,
    /// Where to record. What the file held before is gone only once the programs are attached.
    pub record: Option<OutputFile>,
    /// Say nothing on stderr.
    pub quiet: bool,
}

/// What a run gave.
pub struct Outcome {
    /// The aggregates of the window.
    pub snapshot: Snapshot,
    /// Why the recording is incomplete, if it is.
    pub recording_failed: Option<RecordError>,
}

/// Runs to the end of the window.
///
/// # Errors
/// If the target is gone or the programs cannot be attached. Nothing stays attached.
pub fn run(watch: Watch, consumer: &mut Consumer) -> Result<Outcome, SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(watch, consumer))
}

/// Everything a running window needs.
struct Running<'a> {
    proc: Proc,
    tree: Tree,
    known: Vec<u32>,
    /// Processes whose facts were read once so far.
    young: Vec<u32>,
    /// Forks of processes that are accounted for in `known`.
    born: u64,
    source: LiveSource,
    feed: Feed,
    consumer: &'a mut Consumer,
    attached: Attached,
    cgroup: Option<CgroupReader>,
    interpreters: Interpreters,
    progress: ProgressLine,
    sample: Option<RunTimeSample>,
    sampled: Option<(u64, u64, u64)>,
    cpu_at_start_ns: u64,
    stolen_at_start_ns: u64,
}

async fn drive(watch: Watch, consumer: &mut Consumer) -> Result<Outcome, SessionError> {
    let mut progress = ProgressLine::new(watch.quiet);
    let mut signals = Signals::new()?;
    let proc = Proc::default();
    let pid = watch.named_pid;

    let session = session_started(&proc, pid);
    let session = (monotonic_ns(), Fact::SessionStarted(session));
    let facts = server_facts(&proc, &watch.tree.tgids);
    if facts.processes.is_empty() {
        return Err(SessionError::TargetGone { pid });
    }
    if facts.listeners.is_empty() && facts.hidden.is_empty() {
        return Err(SessionError::NoListener { pid });
    }
    let seen_ns = monotonic_ns();
    let before = std::iter::once(session).chain(facts.into_facts().map(|fact| (seen_ns, fact)));

    let mut tree = watch.tree;
    let (source, attached) = execute::attach(&watch.attach, &mut || {
        if let Ok(now) = process_tree(&proc, tree.root) {
            tree = now;
        }
        tree.tgids.clone()
    })?;
    let recorder = match watch.record {
        Some(file) => Some(Recorder::begin(file, env!("CARGO_PKG_VERSION"))?),
        None => None,
    };
    let mut feed = Feed::new(Pipeline::new(consumer.settings()), recorder);
    for (time_ns, fact) in before {
        consumer.note(&fact);
        feed.fact_at(fact, time_ns, &mut |entry| consumer.entry(&entry));
    }
    // What everything else rests on gets a frame of its own, as does the start of the window.
    feed.flush();
    let cgroup = CgroupReader::for_process(&proc, tree.root);
    let known = Vec::new();
    let mut running = Running {
        proc,
        tree,
        known,
        young: Vec::new(),
        born: 0,
        source,
        feed,
        consumer,
        attached: attached.clone(),
        cgroup,
        interpreters: Interpreters::default(),
        progress: ProgressLine::new(watch.quiet),
        sample: None,
        sampled: None,
        cpu_at_start_ns: process_cpu_ns(),
        stolen_at_start_ns: stolen_ns(),
    };
    running.start(attached);
    progress.say(&format!(
        "watching process {} and {} more, {}; Ctrl-C ends the window and reports",
        running.tree.root,
        running.tree.tgids.len().saturating_sub(1),
        watch.duration.map_or_else(|| "until Ctrl-C".to_owned(), |duration| format!("for {duration:?}")),
    ));
    let reason = running.watch(watch.duration, &mut signals).await;
    running.finish(reason)
}

/// The signals that end a window.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, SessionError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

impl Running<'_> {
    /// A fact that is true now. Gathering it may have taken long: what the kernel wrote meanwhile goes first, or it
    /// would come too late to be put in order.
    fn fact(&mut self, fact: Fact) {
        self.drain();
        self.consumer.note(&fact);
        self.feed.fact(fact, &mut |entry: Entry| self.consumer.entry(&entry));
    }

    /// Takes what is in the ring by now. Not what comes while it is taken: a target that writes faster than we read
    /// must not keep signals and the end of the window waiting.
    fn drain(&mut self) {
        let (feed, consumer) = (&mut self.feed, &mut *self.consumer);
        let now_ns = monotonic_ns();
        self.source.drain_while(|record| feed.kernel(record, &mut |entry| consumer.entry(&entry)) <= now_ns);
    }

    fn start(&mut self, attached: Attached) {
        self.fact(Fact::Attached(attached));
        // Looked at again now that every call that changes a descriptor is seen.
        let facts = server_facts(&self.proc, &self.tree.tgids);
        self.known.clone_from(&self.tree.tgids);
        for fact in facts.into_facts() {
            self.fact(fact);
        }
        for tgid in self.tree.tgids.clone() {
            self.interpreter_fact(tgid);
        }
        self.cgroup_fact();
        for open in self.source.open_slices(monotonic_ns()) {
            self.fact(Fact::OpenSlice(open));
        }
        self.listener_counts();
        self.fact(Fact::WindowStarted);
        self.feed.flush();
        self.drain();
    }

    async fn watch(&mut self, duration: Option<Duration>, signals: &mut Signals) -> EndReason {
        let started = Instant::now();
        let mut drain = interval(DRAIN_EVERY);
        drain.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gather = interval(GATHER_EVERY);
        let mut look = interval(LOOK_EVERY);
        // A window that is never ended by time ends by a signal or with the target.
        let end = started + duration.unwrap_or(Duration::from_hours(24 * 365));
        loop {
            tokio::select! {
                _ = drain.tick() => self.drain(),
                _ = gather.tick() => self.gather(),
                _ = look.tick() => {
                    self.sample_cost(started.elapsed());
                    if !self.target_lives() {
                        return EndReason::TargetExited;
                    }
                }
                () = sleep_until(end) => return EndReason::Duration,
                () = signals.any() => return EndReason::Interrupted,
            }
            if self.feed.recording_failed() {
                return EndReason::RecordingFailed;
            }
            // Nobody reads any more, and nothing is recorded: what further came would be for nothing.
            if self.consumer.has_stopped() && !self.feed.is_recording() {
                return EndReason::Interrupted;
            }
        }
    }

    fn gather(&mut self) {
        self.fact(Fact::Tick);
        let counters = self.source.counters();
        self.fact(Fact::Counters(counters));
        self.listener_counts();
        self.new_processes();
        self.other_profilers();
        self.feed.flush();
        self.progress.show(&self.feed.pipeline().progress());
    }

    /// Workers are followed from their fork on; here their facts are added. They are read twice, a second apart: a
    /// worker takes its name some time after its birth.
    fn new_processes(&mut self) {
        let born = self.feed.processes_born();
        if born == self.born && self.young.is_empty() {
            return;
        }
        self.born = born;
        let Ok(tree) = process_tree(&self.proc, self.tree.root) else { return };
        let new: Vec<u32> = tree.tgids.iter().copied().filter(|tgid| !self.known.contains(tgid)).collect();
        // What has ended is forgotten: its number may be another worker's next.
        self.known.clone_from(&tree.tgids);
        self.tree = tree;
        if !new.is_empty() {
            // Fails only where the kernel refuses an iterator that it took before: the threads stay without an
            // account, which the counters tell.
            let _ = self.source.rescan(&self.tree.tgids);
        }
        let young = std::mem::replace(&mut self.young, new.clone());
        let to_read: Vec<u32> =
            new.into_iter().chain(young).filter(|tgid| self.known.contains(tgid)).collect();
        for fact in server_facts(&self.proc, &to_read).into_facts() {
            self.fact(fact);
        }
        for tgid in to_read {
            self.interpreter_fact(tgid);
        }
    }

    /// Another profiler may come after us; the most that were there at once are reported.
    fn other_profilers(&mut self) {
        let others = self.source.other_profilers(&self.tree.tgids);
        if others > self.attached.other_profilers {
            self.attached.other_profilers = others;
            self.fact(Fact::Attached(self.attached.clone()));
        }
    }

    fn target_lives(&self) -> bool {
        let lives = |pid: &u32| is_running(&self.proc, *pid);
        lives(&self.tree.root) || self.known.iter().any(lives)
    }

    fn sample_cost(&mut self, elapsed: Duration) {
        if self.sample.is_none() && self.sampled.is_none() && elapsed >= SAMPLE_AFTER {
            self.sample = self.source.start_run_time_sample().ok();
        } else if elapsed >= SAMPLE_AFTER + SAMPLE_FOR
            && let Some(sample) = self.sample.take()
        {
            self.sampled = Some(self.source.finish_run_time_sample(sample));
        }
    }

    /// Where the interpreter locks of a process are; nothing, if it is gone.
    fn interpreter_fact(&mut self, tgid: u32) {
        if let Ok(seen) = self.interpreters.look(&self.proc, tgid) {
            if let (Some(main), Some(distance)) =
                (seen.locks.iter().find(|lock| lock.interpreter == 0), seen.thread_number_at)
            {
                self.source.read_holders(tgid, main.address, distance);
            }
            self.fact(Fact::InterpreterSeen(seen));
        }
    }

    fn listener_counts(&mut self) {
        let counts = self.source.listener_counts();
        self.fact(Fact::ListenerCounts(counts));
    }

    fn cgroup_fact(&mut self) {
        if let Some(cpu) = self.cgroup.as_ref().and_then(|cgroup| cgroup.read().ok()) {
            self.fact(Fact::CgroupCpu(cpu));
        }
    }

    /// The window is over: what is open is read, then everything is detached, then what is left is taken.
    fn finish(mut self, reason: EndReason) -> Result<Outcome, SessionError> {
        if let Some(sample) = self.sample.take() {
            self.sampled = Some(self.source.finish_run_time_sample(sample));
        }
        self.cgroup_fact();
        self.other_profilers();
        let end_ns = monotonic_ns();
        let open = self.source.open_slices(end_ns);
        let totals = self.source.thread_totals();
        self.source.detach();
        self.feed.end_at(end_ns);
        self.drain();
        self.progress.clear();
        for open in open.into_iter().filter(|open| open.gap_start_ns <= end_ns) {
            self.fact(Fact::OpenSlice(open));
        }
        for total in totals {
            self.fact(Fact::ThreadTotals(total));
        }
        let counters = self.source.counters();
        self.fact(Fact::Counters(counters));
        self.listener_counts();
        let (bpf_run_ns, bpf_runs, bpf_sampled_ns) = self.sampled.unwrap_or_default();
        let profiler_cpu_ns = process_cpu_ns().saturating_sub(self.cpu_at_start_ns);
        self.fact(Fact::Overhead(Overhead {
            profiler_cpu_ns,
            // Added up from what is recorded: these totals are of the living threads only.
            target_cpu_ns: 0,
            bpf_run_ns,
            bpf_runs,
            bpf_sampled_ns,
            stolen_ns: stolen_ns().saturating_sub(self.stolen_at_start_ns),
        }));
        self.fact(Fact::WindowEnded { reason });
        let (pipeline, recording_failed) = self.feed.finish();
        let consumer = self.consumer;
        let snapshot = pipeline.finish(&mut |entry| consumer.entry(&entry));
        Ok(Outcome { snapshot, recording_failed })
    }
}
