//! What one session sees of a set of programs.
//!
//! In: the set. Out: records, accounts, counters and looks of this session's processes.

use std::cell::{Ref, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::rc::Rc;

use aya::programs::uprobe::UProbeLinkId;
use profiler_common::account::ThreadAccount;
use profiler_common::record::RecordHeader;
use profiler_common::timers::TimersWay;
use profiler_core::fact::asleep::Patrol as Looked;
use profiler_core::fact::queue::QueueCounts;
use profiler_core::fact::waiting::WaitingConnections;
use profiler_core::fact::{Attached, Counters, Fact, ListenerCounts, ListenerSeen, OpenSlice, ThreadTotals};
use profiler_core::machine::driver::now::ThreadGlance;
use tokio::sync::Notify;
use tokio::time::Interval;

use super::{Counted, Set};
use crate::attach::AttachError;
use crate::source::live::clock::monotonic_ns;
use crate::source::live::{FollowedLocks, LiveError, LiveSource, RunTimeSample, Totals};

/// Rounds of the iterators for a session that comes later.
const MAX_ROUNDS: u32 = 8;

/// One session's view.
pub(crate) struct Tap {
    set: Rc<RefCell<Set>>,
    number: u32,
    /// Told when much waits for this session.
    has_come: Rc<Notify>,
    totals: Totals,
    /// Records that are being handed to the session, kept for their room.
    taken: Vec<u8>,
    /// What the patrol was said to have done.
    looked: Looked,
    is_released: bool,
}

impl Tap {
    /// The one for whom the set was attached.
    pub(super) fn first(set: Rc<RefCell<Set>>) -> Self {
        let mut tap = Self::new(set);
        tap.start_totals();
        tap
    }

    /// Another one; `find` names its processes, until it names nobody new.
    ///
    /// # Errors
    /// If there is nobody, or the kernel refuses to look.
    pub(super) fn join(
        set: Rc<RefCell<Set>>,
        find: &mut dyn FnMut() -> Vec<u32>,
    ) -> Result<(Self, Attached), AttachError> {
        let mut tap = Self::new(set);
        let mut known = 0;
        for _ in 0..MAX_ROUNDS {
            let targets = find();
            if targets.is_empty() {
                return Err(AttachError::NoTarget);
            }
            tap.rescan(&targets)?;
            let now_known = tap.open_slices(0).len();
            if now_known == known {
                break;
            }
            known = now_known;
        }
        tap.start_totals();
        let attached = Attached { attach_ns: 0, ..tap.set.borrow().attached.clone() };
        Ok((tap, attached))
    }

    fn new(set: Rc<RefCell<Set>>) -> Self {
        let (number, has_come) = set.borrow_mut().add();
        let (totals, looked) = (Totals::default(), Looked::default());
        Self { set, number, has_come, totals, taken: Vec::new(), looked, is_released: false }
    }

    fn source(&self) -> Ref<'_, LiveSource> {
        Ref::map(self.set.borrow(), |set| &set.source)
    }

    /// Reads the accounts of this session's threads.
    fn read<T>(&self, read: impl FnOnce(&LiveSource, &dyn Fn(u32) -> bool) -> T) -> T {
        let set = self.set.borrow();
        let is_own = |tgid: u32| !set.is_shared() || set.owners.has(self.number, tgid);
        read(&set.source, &is_own)
    }

    /// Waits until records are to be taken: where programs are shared until there are many, else for `timer`.
    pub(crate) async fn has_come(&self, timer: &mut Interval) {
        if self.set.borrow().is_shared() {
            self.has_come.notified().await;
        } else {
            timer.tick().await;
        }
    }

    /// Hands this session's records that are no later than `until_ns` (`CLOCK_MONOTONIC`) to `each`, oldest
    /// first. `None`: those that wait, where programs are shared.
    pub(crate) fn drain(&mut self, until_ns: Option<u64>, mut each: impl FnMut(&[u8])) {
        let mut set = self.set.borrow_mut();
        if !set.is_shared() {
            set.source.drain_until(until_ns.unwrap_or_else(monotonic_ns), each);
            return;
        }
        if let Some(until_ns) = until_ns {
            set.hand_out(until_ns);
        }
        let Some(part) = set.parts.get_mut(&self.number) else { return };
        let mut taken = std::mem::take(&mut self.taken);
        std::mem::swap(&mut part.waiting, &mut taken);
        drop(set);
        let mut rest = taken.as_slice();
        while let Some((record, behind)) = first_record(rest) {
            each(record);
            rest = behind;
        }
        taken.clear();
        self.taken = taken;
    }

    /// What the patrol has seen since this was asked last, each with its time.
    pub(crate) fn looks(&mut self) -> Vec<(u64, Fact)> {
        let mut set = self.set.borrow_mut();
        set.hand_out_facts();
        let Some(part) = set.parts.get_mut(&self.number) else { return Vec::new() };
        // What was told to others before is true now as well: the stream takes nothing that is old.
        let first_ns = part.facts.first().map_or(u64::MAX, |(time_ns, _)| *time_ns);
        // What is told of them since comes behind.
        let now_ns = monotonic_ns().min(first_ns);
        let told = std::mem::take(&mut part.told).into_iter().map(|fact| (now_ns, fact));
        told.chain(std::mem::take(&mut part.facts)).collect()
    }

    /// What the patrol has done so far, if that is not known yet.
    pub(crate) fn look_counts(&mut self) -> Option<Fact> {
        let now = self.set.borrow().patrol.as_ref()?.counts();
        (now != std::mem::replace(&mut self.looked, now)).then_some(Fact::Patrol(now))
    }

    /// The patrol ends, unless others need it.
    pub(crate) fn end_looks(&self) {
        let set = self.set.borrow();
        if set.parts.len() == 1
            && let Some(patrol) = &set.patrol
        {
            patrol.end();
        }
    }

    /// Whose code is what was seen, as far as that became known after the end.
    pub(crate) fn last_answers(&self) -> Vec<Fact> {
        let set = self.set.borrow();
        let patrol = set.patrol.as_ref().filter(|_| set.parts.len() == 1);
        patrol.map_or_else(Vec::new, |patrol| patrol.last_answers())
    }

    /// One of this session's listeners was seen.
    pub(crate) fn claim_listener(&self, listener: &ListenerSeen) {
        self.set.borrow_mut().claim_listener(self.number, listener);
    }

    /// Cumulative counters of both sides.
    pub(crate) fn counters(&self) -> Counters {
        let set = self.set.borrow();
        set.counters(self.number, set.source.counters())
    }

    /// The same; losses, and what listeners have set in motion, may be some milliseconds old.
    pub(crate) fn recent(&self) -> (Counters, ListenerCounts, QueueCounts) {
        let set = self.set.borrow();
        let Counted { lost, listeners, queues } = set.counted();
        let counters = Counters { emitted: set.source.emitted(), received: set.source.received(), ..lost };
        (
            set.counters(self.number, counters),
            self.own_listeners(&set, (*listeners).clone()),
            self.own_queues(&set, (*queues).clone()),
        )
    }

    fn own_listeners(&self, set: &Set, mut counts: ListenerCounts) -> ListenerCounts {
        counts.listeners.retain(|counts| !set.is_foreign_listener(self.number, counts.inode));
        counts
    }

    fn own_queues(&self, set: &Set, mut counts: QueueCounts) -> QueueCounts {
        counts.listeners.retain(|counts| !set.is_foreign_listener(self.number, counts.inode));
        counts
    }

    /// Counts one cause of loss (`profiler_common::loss`) so far, whoever's it was.
    pub(crate) fn lost(&self, cause: u32) -> u64 {
        self.source().lost(cause)
    }

    /// Records taken so far.
    pub(crate) fn received(&self) -> u64 {
        let set = self.set.borrow();
        let own = set.parts.get(&self.number).filter(|_| set.is_shared()).map(|part| part.own);
        own.unwrap_or_else(|| set.source.received())
    }

    /// What connections to each listener have set in motion, cumulative.
    pub(crate) fn listener_counts(&self) -> ListenerCounts {
        let set = self.set.borrow();
        self.own_listeners(&set, set.source.listener_counts())
    }

    /// What was refused because accept queues were full, cumulative.
    pub(crate) fn queue_counts(&self) -> QueueCounts {
        let set = self.set.borrow();
        self.own_queues(&set, set.source.queue_counts())
    }

    /// As [`LiveSource::waiting_connections`].
    pub(crate) fn waiting_connections(&mut self, now_ns: u64) -> Option<WaitingConnections> {
        let mut set = self.set.borrow_mut();
        let mut own = set.source.processes();
        if set.is_shared() {
            own.retain(|tgid| set.owners.has(self.number, *tgid));
        }
        set.source.waiting_connections(&own, now_ns)
    }

    /// As [`LiveSource::forget_listeners`].
    pub(crate) fn forget_listeners(&mut self, closed: &BTreeSet<u64>) {
        let mut set = self.set.borrow_mut();
        set.owners.forget_listeners(self.number, closed);
        set.source.forget_listeners(closed);
    }

    /// As [`LiveSource::open_slices`].
    pub(crate) fn open_slices(&self, now_ns: u64) -> Vec<OpenSlice> {
        self.read(|source, is_own| source.open_slices(is_own, now_ns))
    }

    /// As [`LiveSource::accounts`].
    pub(crate) fn accounts(&self) -> Vec<ThreadAccount> {
        self.read(|source, is_own| source.accounts(is_own))
    }

    /// As [`LiveSource::slices_at`].
    pub(crate) fn slices_at(&self, before: &[ThreadAccount], at_ns: u64) -> Vec<OpenSlice> {
        self.read(|source, is_own| source.slices_at(is_own, before, at_ns))
    }

    /// As [`LiveSource::glances`].
    pub(crate) fn glances(&self, now_ns: u64) -> Vec<ThreadGlance> {
        self.read(|source, is_own| source.glances(is_own, now_ns))
    }

    /// Remembers where our account and the kernel's own stand, for [`Self::thread_totals`].
    pub(crate) fn start_totals(&mut self) {
        self.totals = self.read(LiveSource::start_totals);
    }

    /// As [`LiveSource::thread_totals`].
    pub(crate) fn thread_totals(&self) -> Vec<ThreadTotals> {
        self.read(|source, is_own| source.thread_totals(is_own, &self.totals))
    }

    /// These are this session's processes now; looks for what is not followed yet, as
    /// [`LiveSource::rescan`].
    ///
    /// # Errors
    /// If the kernel refuses an iterator.
    pub(crate) fn rescan(&mut self, targets: &[u32]) -> Result<(), LiveError> {
        let mut set = self.set.borrow_mut();
        if set.is_shared() {
            set.claim(self.number, targets);
        }
        set.source.rescan(targets)
    }

    /// As [`LiveSource::follow_locks`].
    pub(crate) fn follow_locks(&mut self, tgid: u32, locks: &FollowedLocks) {
        self.set.borrow_mut().source.follow_locks(tgid, locks);
    }

    /// As [`LiveSource::follow_timers`].
    pub(crate) fn follow_timers(&mut self, tgid: u32, way: TimersWay) {
        self.set.borrow_mut().source.follow_timers(tgid, way);
    }

    /// As [`LiveSource::forget_locks`].
    pub(crate) fn forget_locks(&mut self, tgid: u32) {
        self.set.borrow_mut().source.forget_locks(tgid);
    }

    /// As [`LiveSource::probe`]; an instruction that another session has a probe at gets no second one.
    ///
    /// # Errors
    /// Why the kernel refuses, as a clause.
    pub(crate) fn probe(&mut self, program: &'static str, file: &File, offset: u64) -> Result<(), String> {
        self.set.borrow_mut().source.probe(program, file, offset)
    }

    /// As [`LiveSource::probe_in`].
    ///
    /// # Errors
    /// Why the kernel refuses, as a clause.
    pub(crate) fn probe_in(
        &mut self,
        tgid: u32,
        program: &'static str,
        file: &File,
        offset: u64,
    ) -> Result<UProbeLinkId, String> {
        self.set.borrow_mut().source.probe_in(tgid, program, file, offset)
    }

    /// As [`LiveSource::take_off`].
    pub(crate) fn take_off(&mut self, program: &str, link: UProbeLinkId) {
        self.set.borrow_mut().source.take_off(program, link);
    }

    /// As [`LiveSource::gil_probe_hits`]: of all sessions together.
    pub(crate) fn gil_probe_hits(&self) -> (u64, u64) {
        self.source().gil_probe_hits()
    }

    /// As [`LiveSource::other_profilers`].
    pub(crate) fn other_profilers(&self, targets: &[u32]) -> u32 {
        self.source().other_profilers(targets)
    }

    /// Nothing more is taken: takes the programs off where nobody else needs them.
    pub(crate) fn detach(&mut self) {
        let mut set = self.set.borrow_mut();
        if self.is_released {
            return;
        }
        self.is_released = true;
        if set.parts.len() == 1 {
            set.is_detached = true;
            set.source.detach();
        } else {
            set.hand_out(u64::MAX);
            set.release(self.number);
        }
    }

    /// As [`LiveSource::start_run_time_sample`], for the first of all sessions alone: the programs are those
    /// of all.
    ///
    /// # Errors
    /// If the kernel refuses, or another session does it.
    pub(crate) fn start_run_time_sample(&self) -> Result<RunTimeSample, LiveError> {
        let set = self.set.borrow();
        if set.parts.keys().next() != Some(&self.number) {
            return Err(LiveError::Program {
                program: "run-time statistics",
                reason: "another session samples them".to_owned(),
            });
        }
        set.source.start_run_time_sample()
    }

    /// As [`LiveSource::finish_run_time_sample`].
    pub(crate) fn finish_run_time_sample(&self, sample: RunTimeSample) -> (u64, u64, u64) {
        self.source().finish_run_time_sample(sample)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.detach();
        self.set.borrow_mut().parts.remove(&self.number);
    }
}

/// The first of several records, and what is behind it.
pub(super) fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    bytes.split_at_checked(usize::from(length).max(size_of::<RecordHeader>()))
}
