//! A session: programs attached to a target, and everything that they see on its way through the pipeline.
//!
//! In: the target. Out: ticks, while it goes on; snapshots of its windows; the timeline through an
//! [`Observer`].
//!
//! One thread drives it. A command that watches in its own way is a loop around [`Session::tick`]:
//!
//! ```text
//! let mut session = Session::begin(watch, observer)?;   // attached; the first window has begun
//! loop {
//!     tokio::select! {
//!         tick = session.tick() => match tick { … },    // the work of the session is done in here
//!         key = keys.next() => …,                       // anything else the command waits for
//!     }
//!     let now = session.peek();                         // how the window stands: as if it ended now
//!     session.roll();                                   // ends the window; `take_window` has it soon after
//!     let open = session.open_slices();                 // what every thread is in the middle of
//! }
//! session.finish(reason);                               // ends the last window and detaches
//! ```
//!
//! `tick` may be cancelled at any time; it must be waited for again within some tens of milliseconds, or the
//! ring fills up. Dropping a session detaches too.

mod keeping;
mod reading;

use std::sync::OnceLock;
use std::time::Duration;

use profiler_common::loss::{FORK_UNADOPTED, RING_BUSY, RING_FULL_LIFECYCLE, THREAD_TABLE_FULL};
use profiler_core::fact::left_out::LeftOut;
use profiler_core::fact::{Attached, Counters, EndReason, Fact, OpenSlice, SessionStarted};
use profiler_core::machine::driver::now::ThreadGlance;
use profiler_core::model::Snapshot;
use profiler_core::model::now::Now;
use profiler_core::pipeline::{Pipeline, Progress};
use profiler_core::timeline::Entry;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};

use super::SessionError;
use super::feed::Feed;
use super::gather::{BeforeClosing, Closing, Cost, Gather};
use super::gil::LockWatch;
use super::observer::Observer;
use super::open_files::OpenFiles;
use super::pace::pause_after;
use super::queues::Queues;
use super::recent::Readings;
use super::shared::{Programs, Tap};
use super::short_turns;
use super::tls::TlsWatch;
use crate::attach;
use crate::capability::Capabilities;
use crate::fact::process::is_running;
use crate::fact::session::session_started;
use crate::fact::{Proc, Tree, Watched};
use crate::output_file::OutputFile;
use crate::recording::{Keep, Kept, RecordError, Recorder};
use crate::source::live::clock::monotonic_ns;

/// How often facts are gathered: ticks, counters, new processes, progress.
const GATHER_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the target still lives.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long after a roll the stream goes on, at the earliest, so that everything before it is in order:
/// longer than the pipeline holds records back.
const ROLLED_AFTER: Duration = Duration::from_millis(120);
/// How often the ring is emptied at most to have every record that was counted before.
const MAX_CATCH_UP: usize = 8;

/// Losses of what may have told of a birth.
const TELL_OF_BIRTHS: [u32; 4] = [RING_FULL_LIFECYCLE, RING_BUSY, FORK_UNADOPTED, THREAD_TABLE_FULL];
/// After so many looks at most it is looked whether the target lives, although no end of a process was told.
const ENDS_UNTOLD: u32 = 10;

/// What to watch and how.
pub struct Watch {
    /// The server's processes, and those of what stands before it.
    pub watched: Watched,
    /// The process that the user named.
    pub named_pid: u32,
    /// How to attach.
    pub attach: attach::Settings,
    /// What the user names as own code.
    pub own: Vec<String>,
    /// Where to record. What the file held before is gone only once the programs are attached.
    pub record: Option<OutputFile>,
    /// How much of the stream to keep in memory.
    pub keep: Option<Keep>,
    /// What is left out for its cost; `None`: what is taken has no limit.
    pub left_out: Option<Vec<LeftOut>>,
}

/// What a run gave.
pub struct Outcome {
    /// The aggregates of the last window.
    pub snapshot: Snapshot,
    /// Windows before it that nobody took, oldest first.
    pub windows: Vec<Snapshot>,
    /// Why the recording is incomplete, if it is.
    pub recording_failed: Option<RecordError>,
}

/// Why a session came back to its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// What was in the ring has been taken: some thirty times a second, or more often.
    Drained,
    /// Facts have been gathered: once a second.
    Gathered,
    /// Every process of the target has ended.
    TargetGone,
    /// The recording cannot be written further.
    RecordingFailed,
    /// The observer wants nothing more, and nothing is recorded.
    NobodyReads,
}

/// Programs attached to a target, with all that belongs to them.
pub struct Session<O> {
    started: SessionStarted,
    source: Tap,
    feed: Feed,
    observer: O,
    gather: Gather,
    queues: Queues,
    readings: Readings,
    open_files: OpenFiles,
    cost: Cost,
    /// Processes that had ended when it was looked whether the target lives, and looks since.
    ends: (u64, u32),
    /// A window was ended then, and has not been taken yet.
    rolled: Option<Instant>,
    drain_timer: Interval,
    gather_timer: Interval,
    look_timer: Interval,
}

impl<O: Observer> Session<O> {
    /// Attaches, and begins the first window. Needs a runtime with time enabled.
    ///
    /// # Errors
    /// If the target is gone or the programs cannot be attached. Nothing stays attached.
    pub fn begin(watch: Watch, observer: O) -> Result<Self, SessionError> {
        Self::begin_with(&Programs::default(), watch, observer)
    }

    /// As [`Self::begin`], with programs that other sessions may have too.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_with(programs: &Programs, watch: Watch, mut observer: O) -> Result<Self, SessionError> {
        short_turns::ask();
        let proc = Proc::default();
        let pid = watch.named_pid;
        let started = session_started(&proc, pid);
        let session = (monotonic_ns(), Fact::SessionStarted(started.clone()));
        let mut watched = watch.watched;
        let facts = watched.facts(&proc, &watched.tgids());
        let is_own = |tgid: u32| watched.server.tgids.contains(&tgid);
        if !facts.processes.iter().any(|process| is_own(process.tgid)) {
            return Err(SessionError::TargetGone { pid });
        }
        if !facts.listeners.iter().any(|listener| is_own(listener.tgid)) && facts.hidden.is_empty() {
            return Err(SessionError::NoListener { pid });
        }
        let seen_ns = monotonic_ns();
        let before = std::iter::once(session).chain(facts.into_facts().map(|fact| (seen_ns, fact)));

        let (source, attached) = programs.tap((&watch.attach, &watch.own), &proc, &mut || {
            if let Ok(now) = watched.again(&proc) {
                watched = now;
            }
            watched.tgids()
        })?;
        let recorder = match watch.record {
            Some(file) => Some(Recorder::begin(file, env!("CARGO_PKG_VERSION"))?),
            None => None,
        };
        let mut feed = Feed::new(Pipeline::new(observer.settings()), recorder, watch.keep.map(Kept::new));
        let readings = programs.readings();
        let mut queues = Queues::sharing(readings.clone());
        for (time_ns, fact) in before {
            queues.note(&fact);
            if let Fact::ListenerSeen(listener) = &fact {
                source.claim_listener(listener);
            }
            observer.note(&fact);
            feed.fact_at(fact, time_ns, &mut |entry| observer.entry(&entry));
        }
        // What everything else rests on gets a frame of its own, as does the start of the window.
        feed.flush();
        let no_probes = Capabilities::no_probes();
        let tls = TlsWatch::new(watch.attach.tls, no_probes.clone());
        let locks = LockWatch::new(&watch.attach, no_probes, attached.hooks == "btf");
        let gather = Gather::new(proc, watched, attached.clone(), (locks, tls));
        let cost = Cost::start(watch.left_out.is_some());
        let mut drain_timer = interval(pause_after(0));
        drain_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let [gather_timer, look_timer] = [GATHER_EVERY, LOOK_EVERY].map(in_step);
        let mut begun = Self {
            started,
            source,
            feed,
            observer,
            gather,
            queues,
            readings,
            open_files: OpenFiles::default(),
            cost,
            ends: (0, ENDS_UNTOLD),
            rolled: None,
            drain_timer,
            gather_timer,
            look_timer,
        };
        begun.start(attached, watch.left_out.unwrap_or_default());
        Ok(begun)
    }

    /// Waits until there is something to do, and does it.
    pub async fn tick(&mut self) -> Tick {
        let tick = tokio::select! {
            () = self.source.has_come(&mut self.drain_timer) => {
                self.take_what_came();
                Tick::Drained
            }
            _ = self.gather_timer.tick() => {
                self.gather();
                Tick::Gathered
            }
            _ = self.look_timer.tick() => {
                self.take_what_came();
                self.cost.sample(&self.source);
                self.read_listeners();
                self.read_queues();
                self.read_open_files(false);
                if self.rolled.is_some_and(|at| at.elapsed() >= ROLLED_AFTER) {
                    self.fact(Fact::Tick);
                }
                if self.may_have_ended() && !self.target_lives() {
                    return Tick::TargetGone;
                }
                Tick::Drained
            }
        };
        if self.feed.recording_failed() {
            return Tick::RecordingFailed;
        }
        if self.observer.has_stopped() && !self.feed.is_recording() {
            return Tick::NobodyReads;
        }
        tick
    }

    fn take_what_came(&mut self) {
        let begun = Instant::now();
        let found = self.take(None);
        self.drain_timer.reset_at(begun + pause_after(found));
        self.place_tls_probes();
        self.mark_if_due();
    }

    /// The snapshot as if the window ended now; nothing changes by it. A matter of milliseconds.
    pub fn peek(&mut self) -> Snapshot {
        self.peek_with(|_, _| Vec::new()).0
    }

    /// The snapshot as if the window ended now, and what every thread does at that moment.
    pub fn look(&mut self) -> (Snapshot, Now) {
        self.peek_with(Tap::glances)
    }

    fn peek_with(&mut self, glances: impl FnOnce(&Tap, u64) -> Vec<ThreadGlance>) -> (Snapshot, Now) {
        let counters = self.counters_caught_up();
        let before = BeforeClosing::read(&mut self.source);
        let end_ns = monotonic_ns();
        let glances = glances(&self.source, end_ns);
        let closing = Closing::read(&self.source, before, end_ns);
        self.drain();
        let facts = self.closing_facts(closing, counters);
        self.feed.pipeline().look(end_ns, facts, EndReason::StillOpen, &glances)
    }

    /// Ends the window and begins the next. The one that ended comes from [`Self::take_window`], once
    /// everything before this moment is in order: some 200 ms later. Until then a look would miss it.
    pub fn roll(&mut self) {
        self.cost.end_sample(&self.source);
        let counters = self.counters_caught_up();
        let before = BeforeClosing::read(&mut self.source);
        let end_ns = monotonic_ns();
        let closing = Closing::read(&self.source, before, end_ns);
        self.source.start_totals();
        let facts = self.closing_facts(closing, counters);
        self.cost = self.cost.start_next();
        for fact in facts.into_iter().chain([Fact::WindowRolled]) {
            self.fact_at(fact, end_ns);
        }
        self.rolled = Some(Instant::now());
        self.feed.flush();
    }

    /// The oldest window that has ended and was not taken yet.
    pub fn take_window(&mut self) -> Option<Snapshot> {
        let window = self.feed.pipeline_mut().take_window();
        if window.is_some() {
            self.rolled = None;
        }
        window
    }

    /// Whether a window has been ended that [`Self::take_window`] has not given yet.
    pub const fn is_rolling(&self) -> bool {
        self.rolled.is_some()
    }

    /// Connections that wait for accept at all listeners, as read last; `None`: not read.
    pub fn accept_queue(&self) -> Option<u64> {
        self.queues.depth()
    }

    /// What every thread is in the middle of now.
    pub fn open_slices(&self) -> Vec<OpenSlice> {
        self.source.open_slices(monotonic_ns())
    }

    /// Cumulative counters of the kernel side, as they stand now.
    pub fn counters(&self) -> Counters {
        self.source.counters()
    }

    /// How far the window is.
    pub fn progress(&self) -> Progress {
        self.feed.pipeline().progress()
    }

    /// The server's processes, as seen last.
    pub const fn tree(&self) -> &Tree {
        &self.gather.watched.server
    }

    /// The observer.
    pub const fn observer(&mut self) -> &mut O {
        &mut self.observer
    }

    /// The window is over: what is open is read, then everything is detached, then what is left is taken.
    pub fn finish(mut self, reason: EndReason) -> Outcome {
        self.cost.end_sample(&self.source);
        // What was born until now is known once its record is taken.
        self.drain();
        self.read_last_processes();
        self.read_last_listeners();
        for fact in self.gather.cgroups().chain(Gather::machine().map(Fact::MachineCpu)).collect::<Vec<_>>() {
            self.fact(fact);
        }
        if let Some(attached) = self.gather.other_profilers(&self.source) {
            self.fact(attached);
        }
        self.source.end_looks();
        self.drain();
        self.count_looks();
        let before = BeforeClosing::read(&mut self.source);
        let end_ns = monotonic_ns();
        // Nobody reads the rings from here on: what they lose then is not the window's.
        let mut counters = self.source.counters();
        let closing = Closing::read(&self.source, before, end_ns);
        self.source.detach();
        self.feed.end_at(end_ns);
        self.drain();
        for fact in closing.into_facts().chain(self.queues.all(&self.gather.proc)) {
            self.fact(fact);
        }
        // Only now: nothing is traced any more that this could slow down further.
        for fact in self.gather.memory(true).collect::<Vec<_>>() {
            self.fact(fact);
        }
        for fact in self.source.last_answers() {
            self.fact(fact);
        }
        counters.received = self.source.received().min(emitted(&counters));
        self.fact(Fact::Counters(counters));
        self.fact(Fact::ListenerCounts(self.source.listener_counts()));
        self.fact(Fact::QueueCounts(self.source.queue_counts()));
        let method = self.gather.locks.method(&self.source);
        self.fact(method);
        self.fact(self.cost.fact());
        self.fact(Fact::WindowEnded { reason });
        let (pipeline, recording_failed) = self.feed.finish();
        let mut observer = self.observer;
        // One that ended just now was still being put in order.
        let (windows, snapshot) = pipeline.finish_windows(&mut |entry| observer.entry(&entry));
        Outcome { snapshot, windows, recording_failed }
    }

    fn start(&mut self, attached: Attached, left_out: Vec<LeftOut>) {
        self.fact(Fact::Attached(attached));
        for left_out in left_out {
            self.fact(Fact::LeftOut(left_out));
        }
        // Looked at again now that every call that changes a descriptor is seen.
        let tgids = self.gather.watched.tgids();
        self.gather.known.clone_from(&tgids);
        for fact in self.gather.facts_of(&tgids) {
            self.fact(fact);
        }
        for tgid in tgids {
            self.interpreter(tgid);
        }
        self.place_tls_probes();
        for fact in self.gather.thread_numbers() {
            self.fact(fact);
        }
        let method = self.gather.locks.method(&self.source);
        self.fact(method);
        if let Some(container) = self.gather.container() {
            self.fact(container);
        }
        for cgroup in self.gather.cgroups().collect::<Vec<_>>() {
            self.fact(cgroup);
        }
        for open in self.source.open_slices(monotonic_ns()) {
            self.fact(Fact::OpenSlice(open));
        }
        self.queues.follow(&self.gather.proc, &self.gather.watched.tgids());
        self.read_holders();
        self.read_queues();
        self.read_counters();
        self.fact(Fact::ListenerCounts(self.source.listener_counts()));
        self.fact(Fact::QueueCounts(self.source.queue_counts()));
        self.read_machine();
        self.fact(Fact::WindowStarted);
        self.feed.flush();
        self.drain();
    }

    fn gather(&mut self) {
        self.fact(Fact::Tick);
        self.read_machine();
        let closed = self.queues.take_closed(&self.gather.known);
        let (counters, mut listeners, mut queues) = self.source.recent();
        if !closed.is_empty() {
            // Their last counts.
            (listeners, queues) = (self.source.listener_counts(), self.source.queue_counts());
        }
        self.fact(Fact::Counters(counters));
        self.fact(Fact::ListenerCounts(listeners));
        self.fact(Fact::QueueCounts(queues));
        self.source.forget_listeners(&closed);
        self.read_counters();
        self.read_open_files(true);
        self.count_looks();
        let new = self.new_processes();
        for fact in self.gather.facts_of(&new) {
            self.fact(fact);
        }
        for tgid in new {
            self.interpreter(tgid);
        }
        for fact in self.gather.thread_numbers() {
            self.fact(fact);
        }
        for fact in self.gather.interpreters_again(&mut self.source) {
            self.fact(fact);
        }
        if let Some(attached) = self.gather.other_profilers_now_and_then(&self.source) {
            self.fact(attached);
        }
        self.feed.flush();
    }

    fn new_processes(&mut self) -> Vec<u32> {
        let newborn = self.feed.take_newborn();
        let new = self.gather.new_processes(self.births(), &newborn, &mut self.source);
        if !new.is_empty() {
            self.queues.follow(&self.gather.proc, &self.gather.watched.tgids());
        }
        new
    }

    /// Who was born in the last second, or has become something else since it was read. Roles depend on it.
    fn read_last_processes(&mut self) {
        let new = self.new_processes();
        for fact in self.gather.facts_of(&new).filter(|fact| matches!(fact, Fact::ProcessSeen(_))) {
            self.fact(fact);
        }
    }

    /// Changes whenever a process may have been born: also with each record that was lost and may have told
    /// of one.
    fn births(&self) -> u64 {
        let lost = TELL_OF_BIRTHS.iter().fold(0_u64, |sum, cause| sum.wrapping_add(self.source.lost(*cause)));
        self.feed.processes_born().wrapping_add(lost)
    }

    /// A fact that is true now. Gathering it may have taken long: what the kernel wrote until then goes
    /// first, or it would come too late to be put in order. Taking that may be long as well: the fact is
    /// of the moment before.
    fn fact(&mut self, fact: Fact) {
        let now_ns = self.drain();
        self.queues.note(&fact);
        if let Fact::ListenerSeen(listener) = &fact {
            self.source.claim_listener(listener);
        }
        self.fact_at(fact, now_ns);
    }

    fn fact_at(&mut self, fact: Fact, time_ns: u64) {
        self.observer.note(&fact);
        self.feed.fact_at(fact, time_ns, &mut |entry: Entry| self.observer.entry(&entry));
    }

    /// Takes what is in the rings by now, and says when that is. Not what comes while it is taken: a target
    /// that writes faster than we read must not keep signals and the end of the window waiting.
    fn drain(&mut self) -> u64 {
        let now_ns = monotonic_ns();
        self.take(Some(now_ns));
        now_ns
    }

    /// Counters of this moment, once every record that they count has been taken. What was taken beyond it
    /// belongs to the next moment.
    fn counters_caught_up(&mut self) -> Counters {
        let mut counters = self.source.counters();
        let emitted = emitted(&counters);
        let mut received = counters.received;
        for _ in 0..MAX_CATCH_UP {
            // Where programs are shared, what was received may still wait for this session.
            self.drain();
            received = self.source.received();
            if received >= emitted {
                break;
            }
        }
        counters.received = received.min(emitted);
        counters
    }

    /// What a run gathers at its end.
    fn closing_facts(&self, closing: Closing, counters: Counters) -> Vec<Fact> {
        let mut facts: Vec<Fact> =
            self.gather.cgroups().chain(Gather::machine().map(Fact::MachineCpu)).collect();
        facts.extend(self.gather.memory(false));
        facts.extend(closing.into_facts());
        facts.extend(self.queues.all(&self.gather.proc));
        facts.push(Fact::Counters(counters));
        facts.push(Fact::ListenerCounts(self.source.listener_counts()));
        facts.push(Fact::QueueCounts(self.source.queue_counts()));
        facts.push(self.cost.fact());
        facts
    }

    /// Whether a process of the target has ended since this was asked last, or that may have been missed.
    fn may_have_ended(&mut self) -> bool {
        let ended = self.feed.processes_ended();
        let (before, looks) = self.ends;
        let is_due = ended != before || looks >= ENDS_UNTOLD;
        self.ends = (ended, if is_due { 0 } else { looks.saturating_add(1) });
        is_due
    }

    fn target_lives(&self) -> bool {
        let lives = |pid: &u32| is_running(&self.gather.proc, *pid);
        let server = &self.gather.watched.server;
        let is_in_front = |pid: &u32| {
            self.gather.watched.front_end.as_ref().is_some_and(|front_end| front_end.tgids.contains(pid))
        };
        lives(&server.root) || self.gather.known.iter().any(|pid| !is_in_front(pid) && lives(pid))
    }
}

/// Timers of sessions that have the same period go off together: what one reads then, the others need not.
fn in_step(period: Duration) -> Interval {
    static BASE: OnceLock<Instant> = OnceLock::new();
    let base = *BASE.get_or_init(Instant::now);
    let periods = base.elapsed().as_nanos() / period.as_nanos();
    let first = base + period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX).saturating_add(1));
    let mut timer = interval_at(first, period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    timer
}

/// Records of all kinds that were written.
fn emitted(counters: &Counters) -> u64 {
    counters.emitted.iter().map(|(_, count)| *count).sum()
}
