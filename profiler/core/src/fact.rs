//! What is learned outside the kernel programs: `/proc`, ELF files, cgroups, the clock, our own attach.
//!
//! In: nothing (the `fact` stage of `profiler` fills these). Out: [`FactRecord`], stored in recordings as
//! JSON, so that a replay touches no `/proc`. Times are `CLOCK_MONOTONIC` nanoseconds unless a name says
//! otherwise.

pub mod asleep;
mod attached;
mod cgroup;
pub mod container;
pub mod frame;
pub mod holders;
mod interpreter;
pub mod left_out;
pub mod machine;
pub mod memory;
pub mod open_files;
mod overhead;
pub mod place;
pub mod queue;
pub mod sample;
mod served;
mod sight;
pub mod waiting;

use asleep::{AsleepSeen, Patrol};
pub use attached::{Attached, MissingProgram};
pub use cgroup::{CgroupCpu, CgroupMemory};
use container::Container;
pub use interpreter::{InterpreterLock, InterpreterSeen, TaskKind, ThreadNumbers};
use left_out::LeftOut;
use machine::MachineCpu;
use memory::ProcessMemory;
use open_files::OpenFiles;
pub use overhead::Overhead;
use queue::{AcceptQueues, NetworkCounters, QueueCounts};
use serde::{Deserialize, Serialize};
pub use served::ServedBy;
pub use sight::Sight;
use waiting::WaitingConnections;

/// A fact and when it was true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactRecord {
    /// When the fact was read.
    pub time_ns: u64,
    /// The fact.
    pub fact: Fact,
}

/// Everything that enters the stream beside kernel records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// First fact of every stream.
    SessionStarted(SessionStarted),
    /// What could be attached, and so which questions can be answered.
    Attached(Attached),
    /// A process of the target (at attach, or when it appeared later).
    ProcessSeen(ProcessSeen),
    /// The Python interpreter of a target process, and where its locks are.
    InterpreterSeen(InterpreterSeen),
    /// The numbers that a target process in another PID namespace has for its threads.
    ThreadNumbers(ThreadNumbers),
    /// What code a Python frame runs.
    FrameSeen(frame::FrameSeen),
    /// How waits for the interpreter lock are seen, and how often the probes for it were hit so far.
    GilMethod(GilMethod),
    /// A listening socket that a target process holds.
    ListenerSeen(ListenerSeen),
    /// Who else holds the target's listeners.
    ForeignHolders(holders::ForeignHolders),
    /// A descriptor that was open when the programs were attached.
    DescriptorSeen(DescriptorSeen),
    /// The window begins: everything before it is only context.
    WindowStarted,
    /// Time passes, also when nothing happens.
    Tick,
    /// Kernel-side counters, cumulative.
    Counters(Counters),
    /// What connections set in motion, by listener, cumulative.
    ListenerCounts(ListenerCounts),
    /// Accept queues of the listeners, where they have changed.
    AcceptQueues(AcceptQueues),
    /// What was refused because accept queues were full, cumulative.
    QueueCounts(QueueCounts),
    /// What a network namespace counts of its listeners, cumulative.
    NetworkCounters(NetworkCounters),
    /// Connections that nobody serves as a window ends.
    WaitingConnections(WaitingConnections),
    /// A process comes near its limit of open files.
    OpenFiles(OpenFiles),
    /// A thread that has slept for long, as one look saw it.
    AsleepSeen(AsleepSeen),
    /// Where in Python a thread was that was looked at.
    PlaceSeen(place::PlaceSeen),
    /// A thread that computed as the clock ticked.
    SampleSeen(sample::SampleSeen),
    /// What is the application's own code, and what decided it.
    OwnCode(place::OwnCode),
    /// What the patrol has looked at so far, cumulative.
    Patrol(Patrol),
    /// A cgroup's CPU quota and throttling, cumulative.
    CgroupCpu(CgroupCpu),
    /// A cgroup's limit of memory and what is in use, at the start and at the end of a window.
    CgroupMemory(CgroupMemory),
    /// The container that the target runs in, if it runs in one.
    Container(Container),
    /// CPU time of the whole machine, cumulative.
    MachineCpu(MachineCpu),
    /// Memory of a process, at the end of a window.
    ProcessMemory(ProcessMemory),
    /// What a thread was doing when the window ended: the slice that never came.
    OpenSlice(OpenSlice),
    /// A thread's totals by our account and by the kernel's own, over the same time.
    ThreadTotals(ThreadTotals),
    /// What the profiler itself cost.
    Overhead(Overhead),
    /// What is left out for its cost.
    LeftOut(LeftOut),
    /// One window ends and the next begins at this moment; what the machines know of threads, connections and
    /// requests in flight stays. Preceded by the same facts as the end of a stream.
    WindowRolled,
    /// The window ended; last fact of a complete stream.
    WindowEnded {
        /// Why it ended.
        reason: EndReason,
    },
}

/// Why a window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// `--duration` passed.
    Duration,
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// Every process of the target ended.
    TargetExited,
    /// The recording could not be written further (disk full).
    RecordingFailed,
    /// It took more of the machine than it may, or may take more again (`--max-cost`).
    Cost,
    /// The next window of the same run began.
    NextWindow,
    /// The run has not ended: this is how it stands.
    StillOpen,
}

/// Who watches what, where and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStarted {
    /// Version of wsgi-trace.
    pub tool_version: String,
    /// Name of the host.
    pub host_name: String,
    /// Kernel release, as `uname -r`.
    pub kernel_release: String,
    /// CPUs online.
    pub cpu_count: u32,
    /// Process that the user named.
    pub target_pid: u32,
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC` at the start.
    pub wall_clock_offset_ns: i64,
    /// Whether `schedstat` has counted CPU time since boot nearly as a clock does: almost no steal or
    /// accounted interrupts. It describes the host; [`Overhead`] has what was not counted in the window.
    pub cpu_time_comparable: bool,
}

/// A process of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSeen {
    /// Process.
    pub tgid: u32,
    /// Its parent.
    pub parent_tgid: u32,
    /// Kernel name of the main thread.
    pub comm: String,
    /// `/proc/PID/exe`, as the process's own mount namespace names it.
    pub executable: String,
    /// Arguments. Hostile input: escape before printing.
    pub command_line: Vec<String>,
    /// Values of the few environment variables that configure a server; no other is ever read into a fact.
    pub environment: Vec<(String, String)>,
    /// Threads at that moment: id and name.
    pub threads: Vec<(u32, String)>,
    /// Soft limit of open files.
    pub open_files_limit: Option<u64>,
    /// What `/proc/PID/maps` shows: base names of the mapped files that identify a server or an interpreter;
    /// also `wgunicorn` where gunicorn's deleted heartbeat file is open.
    pub mapped_files: Vec<String>,
    /// Version of the Python interpreter that is mapped ("3.11"), if one is.
    pub python_version: Option<String>,
    /// Version of the server software where it can be read (gunicorn: its `dist-info` directory on disk).
    pub server_version: Option<String>,
    /// Configuration file that the server reads although no argument names it (gunicorn: `gunicorn.conf.py`
    /// in its working directory), if it is there.
    pub configuration_file: Option<String>,
    /// Names and values of the settings that are understood in the configuration file named on the command
    /// line (mod_wsgi: Apache's `-f`). Nothing else of it is kept.
    pub configuration: Vec<(String, String)>,
    /// The process stands before the server and is traced with it (`--with-front-end`): no part of the server
    /// itself.
    pub front_end: bool,
    /// cgroup path (v2, or the v1 `cpu` controller's).
    pub cgroup: Option<String>,
    /// The process uses io_uring: what goes through it is not seen.
    pub uses_io_uring: bool,
    /// The server that its interpreter runs, where neither its command line nor its files tell of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<ServedBy>,
}

/// How waits for the interpreter lock are seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GilMethod {
    /// What was asked for: `auto`, `syscalls`, `uprobes`, `full` or `off`.
    pub wanted: String,
    /// Every call that a thread makes after a wait for the lock is seen (`--hooks btf`).
    pub follows_every_call: bool,
    /// The holder's frames are read as waits begin (`--stacks`).
    pub stacks: bool,
    /// By file with an interpreter.
    pub files: Vec<GilFile>,
    /// How often traced threads hit the probes, all files together, cumulative.
    pub probe_hits: u64,
    /// Of those, how often an attempt to take the lock began (`full` only), cumulative.
    pub attempts: u64,
}

/// How it is done in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GilFile {
    /// Base name of the file. Hostile input.
    pub file: String,
    /// `syscalls`, `uprobes` or `full`.
    pub method: String,
    /// Why, as a clause.
    pub reason: String,
    /// Probes attached.
    pub probes: u32,
    /// Probes that the kernel must single-step.
    pub stepped: u32,
    /// Most waits are not seen in this way: its C library waits elsewhere than on the lock's memory (musl).
    pub is_blind: bool,
}

/// A listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSeen {
    /// Process that holds it.
    pub tgid: u32,
    /// Descriptor there.
    pub fd: i32,
    /// Inode: the same in all processes that inherited it.
    pub inode: u64,
    /// `tcp`, `tcp6` or `unix`.
    pub family: String,
    /// `127.0.0.1:8000`, `[::]:8000` or a path. Hostile input where it is a path.
    pub address: String,
    /// Port, 0 for UNIX sockets.
    pub port: u16,
    /// Limit of the accept queue, where it is known (0: not).
    pub backlog: u32,
}

/// What a descriptor is, as far as `/proc/PID/fd` or the call that made it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DescriptorClass {
    /// A listening socket of the server.
    Listener,
    /// A connection accepted from a listener.
    Client,
    /// A socket that this process connected itself, with the peer's port where known (0: not).
    Backend {
        /// Port of the peer; 0 for UNIX sockets or when unknown.
        port: u16,
    },
    /// A socket that is neither (not yet connected, datagram, netlink).
    Socket,
    /// One end of a pipe or socketpair, or an eventfd: how threads and processes wake one another.
    Wakeup,
    /// An epoll instance.
    Epoll,
    /// A regular file, directory or block device.
    File,
    /// Anything else.
    Other,
}

/// A descriptor that was open at attach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DescriptorSeen {
    /// Process.
    pub tgid: u32,
    /// Descriptor.
    pub fd: i32,
    /// What it is.
    pub class: DescriptorClass,
    /// For an epoll instance: the descriptors in its interest list.
    pub interest: Vec<i32>,
    /// The events of each of them (`EPOLL…` bits); empty: not known.
    pub interest_events: Vec<u32>,
    /// An epoll instance that another process of the server has too.
    pub shared: bool,
    /// For a back end's TCP connection: its own port, which distinguishes it from others; 0: not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub local_port: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(port: &u16) -> bool {
    *port == 0
}

/// Cumulative counters of the kernel programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Losses by cause; names as `profiler_common::loss::LOSS_NAMES`, only those above zero.
    pub lost: Vec<(String, u64)>,
    /// Records handed to the ring buffer, by kind: `slice`, `head` and so on.
    pub emitted: Vec<(String, u64)>,
    /// Runs that the kernel skipped because a program was already running on that CPU (`recursion_misses`),
    /// by program.
    pub recursion_misses: Vec<(String, u64)>,
    /// Records the reader took from the ring.
    pub received: u64,
}

/// Cumulative counts of every listener that the kernel programs know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerCounts {
    /// By inode, ascending.
    pub listeners: Vec<ListenerWakes>,
}

/// What connections to one listener have set in motion, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerWakes {
    /// Inode of the listening socket.
    pub inode: u64,
    /// Connections that the kernel announced to it.
    pub arrivals: u64,
    /// Traced threads that these announcements woke, in accept, poll, select or epoll.
    pub woken: u64,
    /// Of those woken: went back to sleep inside the same call, without returning to user space.
    pub slept_again: u64,
    /// On-CPU time of the latter, from wakeup to sleep.
    pub slept_again_cpu_ns: u64,
    /// Time of the latter in the run queue, from wakeup to sleep.
    pub slept_again_run_queue_ns: u64,
}

impl Counters {
    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            lost: difference(&self.lost, &earlier.lost).filter(|(_, count)| *count > 0).collect(),
            emitted: difference(&self.emitted, &earlier.emitted).collect(),
            recursion_misses: difference(&self.recursion_misses, &earlier.recursion_misses).collect(),
            received: self.received.saturating_sub(earlier.received),
        }
    }
}

fn difference<'a>(
    now: &'a [(String, u64)],
    earlier: &'a [(String, u64)],
) -> impl Iterator<Item = (String, u64)> + 'a {
    now.iter().map(|(name, count)| {
        let before = earlier.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        (name.clone(), count.saturating_sub(before))
    })
}

impl ListenerWakes {
    /// What was counted since `earlier`.
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            inode: self.inode,
            arrivals: self.arrivals.saturating_sub(earlier.arrivals),
            woken: self.woken.saturating_sub(earlier.woken),
            slept_again: self.slept_again.saturating_sub(earlier.slept_again),
            slept_again_cpu_ns: self.slept_again_cpu_ns.saturating_sub(earlier.slept_again_cpu_ns),
            slept_again_run_queue_ns: self
                .slept_again_run_queue_ns
                .saturating_sub(earlier.slept_again_run_queue_ns),
        }
    }
}

/// A slice still open when the window ended, from the thread's live record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSlice {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Slices before this one.
    pub sequence: u32,
    /// Number of the open call; `None`: the thread is in a gap.
    pub system_call: Option<u32>,
    /// Start of the gap before the open call (or of the open gap).
    pub gap_start_ns: u64,
    /// Entry of the open call; 0: before attach, unknown.
    pub enter_ns: u64,
    /// Detail of the open call, in light mode of the sleep (`record::detail`).
    pub detail: [u64; 4],
    /// The open call's account so far (all 0 in a gap).
    pub call: Account,
    /// The gap's account (so far, if the gap is what is open).
    pub gap: Account,
    /// Page-fault part of the gap's sleep.
    pub gap_fault_ns: u64,
    /// As `SliceRecord::gap_blocked_call`.
    pub gap_blocked_call: i32,
    /// The part of the call's sleep so far whose end was not seen: it may have been something else.
    pub call_undecided_ns: u64,
    /// The part of the gap's sleep so far whose end was not seen.
    pub gap_undecided_ns: u64,
}

impl OpenSlice {
    /// Since when the thread has been in this call, or out of any.
    pub const fn since_ns(&self) -> u64 {
        // The entry of a call that was open at attach is not known: it is 0.
        if self.system_call.is_some() { self.enter_ns } else { self.gap_start_ns }
    }

    /// As it stood at `at_ns`. A thread's live record is read a moment later, and the thread runs on
    /// meanwhile. What it did after `at_ns` is taken off; a call that it entered after that has not
    /// begun.
    pub fn as_of(mut self, at_ns: u64) -> Self {
        if self.system_call.is_some() && self.enter_ns > at_ns {
            (self.system_call, self.enter_ns) = (None, 0);
            (self.detail, self.call) = ([0; 4], Account::default());
        }
        if self.system_call.is_none() {
            self.gap = self.gap.at_most(at_ns.saturating_sub(self.gap_start_ns));
            self.gap_fault_ns = self.gap_fault_ns.min(self.gap.blocked_ns);
        } else if self.enter_ns > 0 {
            self.call = self.call.at_most(at_ns.saturating_sub(self.enter_ns));
        }
        self
    }
}

/// Where a stretch of a thread's time went; the three add up to its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// On a CPU.
    pub cpu_ns: u64,
    /// Runnable, waiting for a CPU.
    pub run_queue_ns: u64,
    /// Asleep.
    pub blocked_ns: u64,
}

impl Account {
    /// Length of the stretch.
    pub const fn total_ns(self) -> u64 {
        self.cpu_ns.saturating_add(self.run_queue_ns).saturating_add(self.blocked_ns)
    }

    /// The sum of two accounts.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_add(other.cpu_ns),
            run_queue_ns: self.run_queue_ns.saturating_add(other.run_queue_ns),
            blocked_ns: self.blocked_ns.saturating_add(other.blocked_ns),
        }
    }

    /// The part that fits into `length_ns`. The excess is taken off where a thread that runs on adds time: on
    /// a CPU first, then in the run queue.
    pub fn at_most(self, length_ns: u64) -> Self {
        let blocked_ns = self.blocked_ns.min(length_ns);
        let run_queue_ns = self.run_queue_ns.min(length_ns.saturating_sub(blocked_ns));
        let awake_ns = blocked_ns.saturating_add(run_queue_ns);
        Self { cpu_ns: self.cpu_ns.min(length_ns.saturating_sub(awake_ns)), run_queue_ns, blocked_ns }
    }

    /// Without what `other` has.
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(other.cpu_ns),
            run_queue_ns: self.run_queue_ns.saturating_sub(other.run_queue_ns),
            blocked_ns: self.blocked_ns.saturating_sub(other.blocked_ns),
        }
    }
}

impl Fact {
    /// The process that it describes. `None`: several, none, or one moment of a thread.
    pub const fn process(&self) -> Option<u32> {
        match self {
            Self::ProcessSeen(seen) => Some(seen.tgid),
            Self::InterpreterSeen(seen) => Some(seen.tgid),
            Self::ThreadNumbers(seen) => Some(seen.tgid),
            Self::FrameSeen(seen) => Some(seen.tgid),
            Self::ListenerSeen(seen) => Some(seen.tgid),
            Self::DescriptorSeen(seen) => Some(seen.tgid),
            Self::OpenFiles(reading) => Some(reading.tgid),
            Self::ProcessMemory(memory) => Some(memory.tgid),
            _ => None,
        }
    }
}

/// A thread's account by us and by the kernel, over the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTotals {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Start of the comparison.
    pub since_ns: u64,
    /// End of the comparison.
    pub until_ns: u64,
    /// By our account; a wait for a CPU counts when it is over, as the kernel counts it.
    pub ours: Account,
    /// On-CPU time by `/proc/PID/task/TID/schedstat`.
    pub kernel_cpu_ns: u64,
    /// Run-queue time by `schedstat`.
    pub kernel_run_queue_ns: u64,
}
