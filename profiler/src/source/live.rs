//! The live source: records from the rings, counters, and what every thread is doing right now.
//!
//! In: the attached programs. Out: raw records ([`LiveSource::drain`]), [`Counters`], [`OpenSlice`]s,
//! [`ThreadTotals`]. The rings never wake their reader: drain it on a timer (`session::pace`). Dropping
//! the source detaches everything.

mod accounts;
#[cfg(feature = "bpf-log")]
mod bpf_log;
pub mod clock;
mod cost;
mod detach;
mod error;
mod evidence;
mod iterate;
mod listeners;
mod locks;
mod map;
mod mapping;
mod queues;
mod rings;
pub mod sleepers;
mod targets;
mod totals;
mod waiting;

use std::collections::BTreeSet;
use std::fs::File;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::uprobe::{UProbeLinkId, UProbeScope};
use aya::programs::{ProgramError, UProbe};
use profiler_common::account::ThreadAccount;
use profiler_common::gil;
use profiler_common::limits::{MAX_PLAINTEXT_BYTES, PLAINTEXT_RING_BYTES};
use profiler_common::listener::ListenerCount;
use profiler_common::loss::{EMITTED_KINDS, LOSS_NAMES};
use profiler_common::queue::QueueCount;
use profiler_common::timers::TimersWay;
use profiler_core::fact::queue::QueueCounts;
use profiler_core::fact::waiting::WaitingConnections;
use profiler_core::fact::{Counters, ListenerCounts, OpenSlice, ThreadTotals};
use profiler_core::machine::driver::now::ThreadGlance;

use crate::fact::Proc;
use crate::fact::process::is_running;
use accounts::AccountTable;
pub use cost::RunTimeSample;
pub use error::LiveError;
use evidence::Evidence;
use listeners::{ListenerTable, UnixTable};
pub use locks::FollowedLocks;
use locks::LockTable;
use map::take;
use queues::QueueTable;
pub(crate) use rings::Size;
use rings::{Rings, time_ns};
use sleepers::Sleepers;
pub(crate) use targets::Targets;
pub use totals::Totals;
use waiting::WaitingTable;

/// Names of the kinds of `profiler_common::loss::EMITTED_*`, in their order.
const KIND_NAMES: [&str; EMITTED_KINDS as usize] =
    ["slice", "head", "lifecycle", "connection", "wake", "frames", "task", "sleep", "taken"];

/// Pieces of evidence taken at once: all that its ring can hold.
const MAX_EVIDENCE: usize = profiler_common::limits::MAX_EVIDENCE_RING_BYTES as usize
    / size_of::<profiler_common::record::evidence::EvidenceRecord>();

/// Plaintexts taken at once: all that their ring can hold.
const MAX_PLAINTEXTS: usize = PLAINTEXT_RING_BYTES as usize / MAX_PLAINTEXT_BYTES;

/// Whether a process is one of those that are asked about.
pub type Processes<'a> = &'a dyn Fn(u32) -> bool;

/// All of them.
pub const fn every(_: u32) -> bool {
    true
}

/// The attached programs and their maps.
pub struct LiveSource {
    ebpf: Ebpf,
    targets: Targets,
    locks: LockTable,
    gil_probes: PerCpuArray<MapData, u64>,
    rings: Rings,
    evidence_ring: RingBuf<MapData>,
    evidence: Evidence,
    evidence_emitted: PerCpuArray<MapData, u64>,
    plaintext_ring: RingBuf<MapData>,
    /// Until somebody takes it.
    samples: Option<(RingBuf<MapData>, Array<MapData, u64>)>,
    plaintexts_emitted: PerCpuArray<MapData, u64>,
    losses: PerCpuArray<MapData, u64>,
    accounts: AccountTable,
    listeners: ListenerTable,
    unix_listeners: UnixTable,
    queues: QueueTable,
    waiting: WaitingTable,
    /// Where probes for every process are: program, device and inode of the file, offset.
    probed: BTreeSet<(&'static str, u64, u64, u64)>,
    received: u64,
    misses_at_detach: Option<Vec<(String, u64)>>,
    #[cfg(feature = "bpf-log")]
    log: bpf_log::BpfLog,
}

impl LiveSource {
    pub(crate) fn new(mut ebpf: Ebpf, targets: Targets) -> Result<Self, LiveError> {
        let rings = Rings::of(&mut ebpf)?;
        let locks = LockTable::new(
            take(&mut ebpf, "INTERPRETERS", HashMap::try_from)?,
            take(&mut ebpf, "LOCKS", HashMap::try_from)?,
            take(&mut ebpf, "TASKS_GENERATION", Array::try_from)?,
            take(&mut ebpf, "TIMERS", HashMap::try_from)?,
        );
        let evidence_ring = take(&mut ebpf, "EVIDENCE", RingBuf::try_from)?;
        let evidence_emitted = take(&mut ebpf, "EVIDENCE_EMITTED", PerCpuArray::try_from)?;
        let plaintext_ring = take(&mut ebpf, "PLAINTEXTS", RingBuf::try_from)?;
        let plaintexts_emitted = take(&mut ebpf, "PLAINTEXTS_EMITTED", PerCpuArray::try_from)?;
        let wait_step = take(&mut ebpf, "WAIT_STEP", Array::try_from)?;
        let samples = Some((take(&mut ebpf, "SAMPLES", RingBuf::try_from)?, wait_step));
        let losses = take(&mut ebpf, "LOSSES", PerCpuArray::try_from)?;
        let gil_probes = take(&mut ebpf, "GIL_PROBES", PerCpuArray::try_from)?;
        let accounts = AccountTable::map(&ebpf)?;
        let listeners = take(&mut ebpf, "LISTENERS", ListenerTable::try_from)?;
        let unix_listeners = take(&mut ebpf, "UNIX_LISTENERS", UnixTable::try_from)?;
        let queues = take(&mut ebpf, "QUEUES", QueueTable::try_from)?;
        let waiting = WaitingTable::of(&mut ebpf)?;
        #[cfg(feature = "bpf-log")]
        let log = bpf_log::BpfLog::start(&mut ebpf)?;
        Ok(Self {
            ebpf,
            targets,
            locks,
            gil_probes,
            rings,
            evidence_ring,
            evidence: Evidence::default(),
            evidence_emitted,
            plaintext_ring,
            samples,
            plaintexts_emitted,
            losses,
            accounts,
            listeners,
            unix_listeners,
            queues,
            waiting,
            probed: BTreeSet::new(),
            received: 0,
            misses_at_detach: None,
            #[cfg(feature = "bpf-log")]
            log,
        })
    }

    /// Hands every record that is in the rings now to `each`; returns how many.
    pub fn drain(&mut self, each: impl FnMut(&[u8])) -> u64 {
        self.drain_until(u64::MAX, each)
    }

    /// Hands records that are in the rings now and no later than `until_ns` (`CLOCK_MONOTONIC`) to `each`,
    /// oldest first; returns how many.
    pub fn drain_until(&mut self, until_ns: u64, mut each: impl FnMut(&[u8])) -> u64 {
        #[cfg(feature = "bpf-log")]
        self.log.print();
        // Evidence is rare, and what comes while it is taken waits for the next time.
        let (ring, evidence) = (&mut self.evidence_ring, &mut self.evidence);
        let records = std::iter::from_fn(|| ring.next().map(|record| Box::from(&*record)));
        let plaintexts = &mut self.plaintext_ring;
        let plaintexts = std::iter::from_fn(|| plaintexts.next().map(|record| Box::from(whole(&record))));
        evidence.take(records.take(MAX_EVIDENCE).chain(plaintexts.take(MAX_PLAINTEXTS)));
        let mut pieces = 0;
        let mut received = self.rings.drain_until(until_ns, |record| {
            pieces += evidence.until(time_ns(record), &mut each);
            each(record);
        });
        received += pieces + evidence.until(until_ns, &mut each);
        self.received += received;
        received
    }

    /// The ring of samples, and the step of waits, for another thread of ours; once.
    pub const fn take_samples(&mut self) -> Option<(RingBuf<MapData>, Array<MapData, u64>)> {
        self.samples.take()
    }

    /// Cumulative counters of both sides.
    pub fn counters(&self) -> Counters {
        Counters { emitted: self.emitted(), received: self.received, ..self.losses() }
    }

    /// Records that were written, by kind.
    pub fn emitted(&self) -> Vec<(String, u64)> {
        let emitted =
            KIND_NAMES.iter().zip(self.rings.emitted()).map(|(name, count)| ((*name).to_owned(), count));
        let evidence = ("evidence".to_owned(), sum(&self.evidence_emitted, 0));
        let plaintexts = ("plaintext".to_owned(), sum(&self.plaintexts_emitted, 0));
        let plaintexts = Some(plaintexts).filter(|(_, count)| *count > 0);
        emitted.chain([evidence]).chain(plaintexts).collect()
    }

    /// What was lost: a call of the kernel for each cause, and for each program. The rest of the counters is
    /// left blank.
    pub fn losses(&self) -> Counters {
        let lost =
            LOSS_NAMES.iter().zip(0..).map(|(name, slot)| ((*name).to_owned(), sum(&self.losses, slot)));
        Counters {
            lost: lost.filter(|(_, count)| *count > 0).collect(),
            recursion_misses: self
                .misses_at_detach
                .clone()
                .unwrap_or_else(|| cost::recursion_misses(&self.ebpf)),
            ..Counters::default()
        }
    }

    /// Records taken so far.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// What connections to each listener have set in motion, cumulative.
    pub fn listener_counts(&self) -> ListenerCounts {
        listeners::counts(&self.listeners)
    }

    /// What was refused because accept queues were full, cumulative.
    pub fn queue_counts(&self) -> QueueCounts {
        queues::counts(&self.queues)
    }

    /// Connections of these processes that nobody serves now, at `now_ns`, although their clients have sent
    /// something. `None`: this kernel does not show them.
    pub fn waiting_connections(&mut self, targets: &[u32], now_ns: u64) -> Option<WaitingConnections> {
        self.waiting.look(&mut self.ebpf, targets, now_ns)
    }

    /// All processes that are followed, also those that were born since.
    pub fn processes(&self) -> Vec<u32> {
        self.targets.all()
    }

    /// A process is not to be followed any more.
    pub fn forget_target(&mut self, tgid: u32) {
        self.targets.remove(tgid);
        self.locks.forget(tgid);
    }

    /// Listeners are closed, by inode: nothing is counted for them any more.
    pub fn forget_listeners(&mut self, closed: &BTreeSet<u64>) {
        if closed.is_empty() {
            return;
        }
        listeners::forget(&mut self.listeners, closed, |words| {
            let count: ListenerCount = zerocopy::transmute!(words);
            count.inode
        });
        listeners::forget(&mut self.queues, closed, |words| {
            let count: QueueCount = zerocopy::transmute!(words);
            count.inode
        });
        listeners::forget(&mut self.unix_listeners, closed, u64::from);
    }

    /// Counts one cause of loss (`profiler_common::loss`) so far.
    pub fn lost(&self, cause: u32) -> u64 {
        sum(&self.losses, cause)
    }

    /// What every thread of these processes is in the middle of at `now_ns`.
    pub fn open_slices(&self, of: Processes<'_>, now_ns: u64) -> Vec<OpenSlice> {
        self.threads(of).map(|account| accounts::open_slice(&account, now_ns)).collect()
    }

    /// The accounts of all threads of these processes, to be read just before the moment of
    /// [`Self::slices_at`].
    pub fn accounts(&self, of: Processes<'_>) -> Vec<ThreadAccount> {
        self.threads(of).collect()
    }

    /// What every thread of these processes was in the middle of at `at_ns`, a moment ago. A thread that has
    /// gone on to something else since then was at what `before` shows, unless it also went on in between:
    /// then its slice comes, and the stale one is left out by its number.
    pub fn slices_at(&self, of: Processes<'_>, before: &[ThreadAccount], at_ns: u64) -> Vec<OpenSlice> {
        accounts::slices_at(before, self.threads(of), at_ns)
    }

    /// What every thread of these processes does at `now_ns`, and where the scheduler has it.
    pub fn glances(&self, of: Processes<'_>, now_ns: u64) -> Vec<ThreadGlance> {
        let glance = |account: ThreadAccount| {
            ThreadGlance::live(&accounts::open_slice(&account, now_ns), accounts::scheduled(&account), now_ns)
        };
        self.threads(of).map(glance).collect()
    }

    fn threads<'a>(&'a self, of: Processes<'a>) -> impl Iterator<Item = ThreadAccount> + 'a {
        self.accounts.threads().filter(move |account| of(account.tgid))
    }

    /// The accounts of sleeping threads, for another thread of ours; they can be read on when everything is
    /// detached.
    ///
    /// # Errors
    /// If they cannot be mapped.
    pub fn sleepers(&self) -> Result<Sleepers, LiveError> {
        Sleepers::map(&self.ebpf)
    }

    /// Number of threads that have an account.
    pub fn followed_threads(&self) -> usize {
        self.accounts.threads().count()
    }

    /// Where our account and the kernel's own stand now, for [`Self::thread_totals`].
    pub fn start_totals(&self, of: Processes<'_>) -> Totals {
        Totals::start(&self.accounts, of)
    }

    /// Both accounts of every thread of these processes since then (or since its birth).
    pub fn thread_totals(&self, of: Processes<'_>, since: &Totals) -> Vec<ThreadTotals> {
        since.compare(&self.accounts, of)
    }

    /// Adds processes and runs the iterators again: for threads that got no account
    /// (`FORK_UNADOPTED`, `THREAD_TABLE_FULL` have moved) and for sockets.
    ///
    /// # Errors
    /// If the kernel refuses an iterator.
    pub fn rescan(&mut self, targets: &[u32]) -> Result<(), LiveError> {
        self.targets.add(targets)?;
        let proc = Proc::default();
        for ended in targets.iter().filter(|tgid| !is_running(&proc, **tgid)) {
            self.targets.remove(*ended);
        }
        iterate::run(&mut self.ebpf, "iterate_tasks")?;
        // Twice: a connection can come before the listener that explains it.
        iterate::run(&mut self.ebpf, "iterate_files")?;
        iterate::run(&mut self.ebpf, "iterate_files")
    }

    /// Has the interpreter locks of a process followed: what threads do after a wait for one, and who holds
    /// it. Without room in the maps that stays unknown.
    pub fn follow_locks(&mut self, tgid: u32, locks: &FollowedLocks) {
        self.locks.follow(tgid, locks);
    }

    /// Has the timers of a process's event loop read where they came due while it was busy.
    pub fn follow_timers(&mut self, tgid: u32, way: TimersWay) {
        self.locks.follow_timers(tgid, way);
    }

    /// A process is gone, or has no interpreter any more.
    pub fn forget_locks(&mut self, tgid: u32) {
        self.locks.forget(tgid);
    }

    /// Attaches a program of the attach table to the instruction at `offset` of an opened file, for every
    /// process that runs it, also those that are not born yet. The programs look whether it is a traced
    /// one.
    ///
    /// # Errors
    /// Why the kernel refuses, as a clause.
    pub fn probe(&mut self, program: &'static str, file: &File, offset: u64) -> Result<(), String> {
        let file_of =
            file.metadata().map(|file| (file.dev(), file.ino())).map_err(|error| error.to_string())?;
        let place = (program, file_of.0, file_of.1, offset);
        if !self.probed.contains(&place) {
            self.place(program, file, offset, UProbeScope::AllProcesses)?;
            self.probed.insert(place);
        }
        Ok(())
    }

    /// Attaches a program of the attach table to an instruction for one process: no other that runs the
    /// instruction pays for the probe. Returns what takes the probe off.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub fn probe_in(
        &mut self,
        tgid: u32,
        program: &'static str,
        file: &File,
        offset: u64,
    ) -> Result<UProbeLinkId, String> {
        let process = NonZeroU32::new(tgid).ok_or("there is no process 0")?;
        self.place(program, file, offset, UProbeScope::OneProcess(process))
    }

    /// Takes a probe off.
    pub fn take_off(&mut self, program: &str, link: UProbeLinkId) {
        let found = self.ebpf.program_mut(program).and_then(|found| <&mut UProbe>::try_from(found).ok());
        // Its process may be gone, and the probe with it.
        let _ = found.map(|found| found.detach(link));
    }

    fn place(
        &mut self,
        program: &'static str,
        file: &File,
        offset: u64,
        scope: UProbeScope,
    ) -> Result<UProbeLinkId, String> {
        let failed = |error: ProgramError| format!("the kernel refuses the probe {program}: {error}");
        let found = self.ebpf.program_mut(program).ok_or("the probe is not in the object")?;
        let found: &mut UProbe = found.try_into().map_err(failed)?;
        if found.fd().is_err() {
            found.load().map_err(failed)?;
        }
        // The file itself, whatever its path leads to by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        found.attach([offset], path, scope).map_err(failed)
    }

    /// How often the probes in interpreters were hit so far, and how many attempts to take the lock began at
    /// one.
    pub fn gil_probe_hits(&self) -> (u64, u64) {
        let hits = (0..gil::GIL_PROBE_SLOTS).map(|slot| sum(&self.gil_probes, slot)).sum();
        (hits, sum(&self.gil_probes, gil::ENTERED))
    }

    /// How many other instances of this program watch one of the targets now.
    pub fn other_profilers(&self, targets: &[u32]) -> u32 {
        Targets::others(targets)
    }

    /// Takes every program off its hook. What the ring still holds can be drained afterwards, and the
    /// counters no longer move.
    pub fn detach(&mut self) {
        self.misses_at_detach = Some(cost::recursion_misses(&self.ebpf));
        detach::detach(&mut self.ebpf);
    }

    /// Turns the kernel's run-time statistics on until the sample is finished: they cost themselves.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn start_run_time_sample(&self) -> Result<RunTimeSample, LiveError> {
        RunTimeSample::start(&self.ebpf)
    }

    /// Ends a sample: run time of all programs in nanoseconds, their runs, and the length of the sample in
    /// nanoseconds.
    pub fn finish_run_time_sample(&self, sample: RunTimeSample) -> (u64, u64, u64) {
        sample.finish(&self.ebpf)
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        detach::detach(&mut self.ebpf);
    }
}

/// A record without the room behind it that it did not need.
fn whole(bytes: &[u8]) -> &[u8] {
    let length = bytes.get(2..4).and_then(<[u8]>::first_chunk).map(|length| u16::from_ne_bytes(*length));
    length.and_then(|length| bytes.get(..usize::from(length))).unwrap_or(bytes)
}

fn sum(map: &PerCpuArray<MapData, u64>, slot: u32) -> u64 {
    map.get(&slot, 0).map_or(0, |values| values.iter().sum())
}
