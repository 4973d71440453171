//! Decoded records: what the machines consume.
//!
//! In: raw records (by `decode`) and facts. Out: [`Event`], ordered by `time_ns`. Slices span time: each
//! comes when its call ends, and may have begun long before events that were seen earlier.

use profiler_common::record::slice::Undecided;

use crate::fact::{Account, Fact};

mod connection;
mod plaintext;
mod slept;
mod taken;
mod task;

pub use connection::Connection;
pub use plaintext::Plaintext;
pub use slept::{LockThen, Slept, SleptOn};
pub use taken::{CpuStint, CpuTaken};
pub use task::{TaskSeen, TimerSeen};

/// One event, at the time its record ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When what it reports ended; never altered.
    pub time_ns: u64,
    /// What happened.
    pub body: Body,
}

/// A process or thread by the number that the initial PID namespace gives it.
pub type Tid = u32;

/// The closed list of events.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// An observed call with the gap before it.
    Slice(Slice),
    /// The first bytes of a message; comes before the slice of its call.
    Head(Head),
    /// The first bytes of a message on an encrypted connection.
    Plaintext(Plaintext),
    /// A client connection becomes known; comes before the slice of its accept.
    Connection(Connection),
    /// A connection woke a thread that waited for its listener; comes before the slice of that wait.
    Wake(Wake),
    /// Where in Python the holder of an interpreter lock was; comes before the slice of the wait's call.
    Frames(Box<Frames>),
    /// Which task a loop's thread works for from a call on; comes before the slice of that call.
    Task(TaskSeen),
    /// A timer came due while an event loop was busy.
    Timer(TimerSeen),
    /// Light mode: bytes moved on a client's socket, and what the thread did before.
    Light(Light),
    /// Light mode: a client's connection has ended.
    LightEnd(LightEnd),
    /// Light mode: what a thread slept for; comes before the light slice that the sleep lies in.
    Slept(Slept),
    /// A thread has waited for a CPU for long; comes before the slice that the wait lies in.
    CpuTaken(Box<CpuTaken>),
    /// A thread is born, adopted, renamed or gone.
    Lifecycle(Lifecycle),
    /// Who ended a connection or a process.
    Evidence(Box<Evidence>),
    /// Something learned outside the kernel.
    Fact(Box<Fact>),
}

/// What a slice shows of an interpreter lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockSeen {
    /// Thread that held the interpreter lock when the call began to wait for it; 0: not known, or no wait.
    pub holder_tid: Tid,
    /// Thread that had it last when the call ended (0 as above).
    pub last_holder_tid: Tid,
    /// How often the lock had changed hands when the call began (its low bits), where the holder is known.
    pub switches: u32,
    /// How long before the call its attempt to take an interpreter lock began, as far as a probe saw it (0:
    /// not before the call). `None`: the call waits for no lock that the kernel programs know, or it is
    /// not known.
    pub take_lead_ns: Option<u32>,
    /// Where the thread's last slice was a wait for the lock: how long after it the attempt went on.
    pub take_tail_ns: u32,
}

/// What a thread did in the gap before a call, beside its account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InGap {
    /// Page-fault part of the gap's sleep. Where some of the gap's sleep is undecided, no more is known of it
    /// than whether there was any.
    pub fault_ns: u64,
    /// Unobserved call in which the thread blocked in the gap (`slice::NO_CALL`: none).
    pub blocked_call: i32,
    /// Wall time of observed calls folded into the gap.
    pub folded_ns: u64,
    /// Number of observed calls folded into the gap.
    pub folded_calls: u32,
    /// Times switched in during the gap.
    pub switches: u32,
    /// Thread that ended its last sleep in the gap (0: nobody, or not known).
    pub woken_by_tid: Tid,
}

/// Who woke a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Thread that last woke this one during the call (0: nobody).
    pub by_tid: Tid,
    /// When that thread was about to wake this one, which waited in a `futex` for something else than the
    /// interpreter lock (0: not known).
    pub at_ns: u64,
}

/// A call and the gap before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// Number among its thread's slices; a hole means loss.
    pub sequence: u32,
    /// What the call did.
    pub call: Call,
    /// System call number, for names.
    pub system_call: u32,
    /// What it returned.
    pub result: i64,
    /// Entry of the call.
    pub enter_ns: u64,
    /// Exit of the call: `Event::time_ns`.
    pub exit_ns: u64,
    /// Account of the call.
    pub inside: Account,
    /// Account of the gap.
    pub gap: Account,
    /// How much of its sleep is undecided at most: see [`Slice::call_undecided_ns`].
    pub undecided: Undecided,
    /// Times switched in during the call.
    pub call_switches: u32,
    /// For a call on a back end's connection: when what it read had arrived, or when the connection that it
    /// uses was made. 0: not known, or no such call.
    pub back_end_ready_ns: u64,
    /// What it shows of the interpreter lock.
    pub lock: LockSeen,
    /// What else is known of the gap.
    pub in_gap: InGap,
    /// Who last woke this thread.
    pub woken: Woken,
    /// `profiler_common::record::slice::FLAG_` bits.
    pub flags: u32,
}

impl Slice {
    /// Start of the gap: where the thread's previous slice ended.
    pub const fn gap_start_ns(&self) -> u64 {
        self.enter_ns.saturating_sub(self.gap.total_ns())
    }

    /// The part of the call's sleep that may have been something else: its end was not seen.
    pub fn call_undecided_ns(&self) -> u64 {
        self.undecided.call_ns.min(self.inside.blocked_ns)
    }

    /// The part of the gap's sleep that may have been something else: its end was not seen.
    pub fn gap_undecided_ns(&self) -> u64 {
        self.undecided.gap_ns.min(self.gap.blocked_ns)
    }

    /// What can be true of a slice that breaks its laws. It lies within `from_ns` and its call's exit, with
    /// accounts no longer than its gap and its call.
    pub fn within(mut self, from_ns: u64) -> Self {
        self.enter_ns = self.enter_ns.max(from_ns).min(self.exit_ns);
        self.inside = self.inside.at_most(self.exit_ns.saturating_sub(self.enter_ns));
        self.gap = self.gap.at_most(self.enter_ns.saturating_sub(from_ns));
        self.in_gap.fault_ns = self.in_gap.fault_ns.min(self.gap.blocked_ns);
        self
    }

    /// The slice with a gap of which nothing is known but its length.
    pub fn unknown(mut self) -> Self {
        self.gap = Account { blocked_ns: self.gap.total_ns(), ..Account::default() };
        self
    }

    /// A call by thread 1 of process 1 that took no time, for tests.
    #[cfg(test)]
    pub(crate) fn blank(call: Call) -> Self {
        Self {
            tgid: 1,
            tid: 1,
            sequence: 1,
            call,
            system_call: 0,
            result: 0,
            enter_ns: 0,
            exit_ns: 0,
            inside: Account::default(),
            gap: Account::default(),
            undecided: Undecided::NOTHING,
            call_switches: 0,
            back_end_ready_ns: 0,
            flags: 0,
            in_gap: InGap { blocked_call: profiler_common::record::slice::NO_CALL, ..InGap::default() },
            lock: LockSeen::default(),
            woken: Woken { by_tid: 0, at_ns: 0 },
        }
    }

    /// A slice that was on a CPU all the time: when the gap began, when the call was entered, and when it was
    /// left.
    #[cfg(test)]
    pub(crate) fn on_cpu(call: Call, (gap_ns, enter_ns, exit_ns): (u64, u64, u64)) -> Self {
        let cpu = |cpu_ns| Account { cpu_ns, ..Account::default() };
        let (gap, inside) = (cpu(enter_ns - gap_ns), cpu(exit_ns - enter_ns));
        Self { enter_ns, exit_ns, gap, inside, ..Self::blank(call) }
    }
}

/// What a call does, with the arguments that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// accept, accept4 on a listener.
    Accept {
        /// The listener.
        listener_fd: i32,
    },
    /// read, readv, recv…, pread….
    Read {
        /// Descriptor.
        fd: i32,
        /// Bytes asked for (0: not known, vectored).
        asked_bytes: u64,
        /// Arrival of the first byte that no earlier read saw (client connections only; 0: not known).
        arrival_ns: u64,
    },
    /// write, writev, send…, pwrite….
    Write {
        /// Descriptor.
        fd: i32,
    },
    /// sendfile, splice: from one descriptor to another inside the kernel.
    Transfer {
        /// Source.
        from_fd: i32,
        /// Destination.
        to_fd: i32,
    },
    /// poll, ppoll, select, pselect6.
    Poll {
        /// The only descriptor waited for, where there is just one.
        only_fd: Option<i32>,
        /// Descriptors in the first word of the set (select), bit n = descriptor n; 0 for poll.
        low_fds: u64,
        /// The only descriptor is waited on for writing.
        for_write: bool,
        /// No descriptor at all: a sleep.
        is_sleep: bool,
    },
    /// epoll_wait, epoll_pwait, epoll_pwait2.
    EpollWait {
        /// The epoll instance.
        epoll_fd: i32,
        /// Longest wait, in milliseconds; 0: only a look; negative: for ever, or not known.
        timeout_ms: i32,
    },
    /// epoll_ctl.
    EpollControl {
        /// The epoll instance.
        epoll_fd: i32,
        /// `EPOLL_CTL_ADD` 1, `DEL` 2, `MOD` 3.
        operation: u32,
        /// Descriptor added, changed or removed.
        fd: i32,
        /// `EPOLL…` bits (0: none, or not known).
        events: u32,
    },
    /// futex waits.
    FutexWait {
        /// User address.
        address: u64,
        /// Operation with its flags.
        operation: u32,
        /// The wait has a timeout.
        has_timeout: bool,
    },
    /// futex wakes and everything else in futex.
    FutexWake {
        /// User address.
        address: u64,
        /// Operation with its flags.
        operation: u32,
    },
    /// nanosleep, clock_nanosleep.
    Sleep,
    /// connect.
    Connect {
        /// Descriptor.
        fd: i32,
        /// Peer's port (0: UNIX socket or not readable).
        port: u16,
        /// Address family.
        family: u16,
        /// What distinguishes the connection from all others: its own TCP port, or the address of the UNIX
        /// socket at its other end; 0: not known.
        identity: u64,
    },
    /// shutdown.
    Shutdown {
        /// Descriptor.
        fd: i32,
        /// `SHUT_RD` 0, `SHUT_WR` 1, `SHUT_RDWR` 2.
        how: u32,
    },
    /// close.
    Close {
        /// Descriptor.
        fd: i32,
    },
    /// close_range.
    CloseRange {
        /// First descriptor.
        first: u32,
        /// Last descriptor.
        last: u32,
    },
    /// socket, open, epoll_create, eventfd: `result` is a new descriptor.
    Make {
        /// What the descriptor is.
        class: crate::fact::DescriptorClass,
    },
    /// socketpair, pipe2: two new descriptors.
    MakePair {
        /// The two, where they could be read.
        fds: [i32; 2],
    },
    /// dup, dup2, dup3, fcntl F_DUPFD: `result` is a copy.
    Duplicate {
        /// The original.
        fd: i32,
    },
    /// bind.
    Bind {
        /// Descriptor.
        fd: i32,
    },
    /// listen.
    Listen {
        /// Descriptor.
        fd: i32,
        /// Asked length of the accept queue.
        backlog: u32,
    },
    /// getrusage and other calls that servers mark phases with.
    Marker,
    /// Observed, but nothing above.
    Other,
}

/// A light slice. `Event::time_ns` is the moment at which the bytes were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Light {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// What happened.
    pub what: LightWhat,
    /// Kernel address of the socket.
    pub socket: u64,
    /// Connections on that address before this one.
    pub generation: u32,
    /// Bytes moved.
    pub bytes: u64,
    /// When the first new byte arrived; 0: not known.
    pub arrival_ns: u64,
    /// The socket is a UNIX socket.
    pub is_unix: bool,
    /// The thread's account since its light slice before.
    pub account: Account,
    /// Number among its thread's light slices; a hole means loss.
    pub sequence: u32,
    /// Times switched in since the one before.
    pub switches: u32,
    /// `profiler_common::record::slice::FLAG_` bits.
    pub flags: u32,
}

/// The end of a connection of light mode: it was closed, or a call met that its client had gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LightEnd {
    /// The process that ran as it ended.
    pub tgid: Tid,
    /// Kernel identity of the socket.
    pub socket: (u64, u32),
    /// The end of its handshake; 0: not seen.
    pub established_ns: u64,
    /// The error by which a call met that the client had gone, negative; 0: this side closed it.
    pub error: i64,
    /// The call that met the error sent something.
    pub by_send: bool,
    /// No byte was moved on the connection.
    pub is_unused: bool,
    /// The connection was over a UNIX socket.
    pub is_unix: bool,
    /// Local port and the client's; 0: of a UNIX socket, or of one that the client had reset.
    pub ports: (u16, u16),
}

/// What happened on a client's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LightWhat {
    /// Bytes came from the client.
    Received,
    /// Bytes went to the client.
    Sent,
}

/// Captured first bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// Sequence of the slice of the same call.
    pub sequence: u32,
    /// Descriptor of the connection.
    pub fd: i32,
    /// From the client (`true`) or to it.
    pub inbound: bool,
    /// Bytes captured before these in this capture.
    pub offset_bytes: u32,
    /// The bytes, redacted.
    pub bytes: Vec<u8>,
}

/// Who ended a connection or a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Something happened to a connection.
    Connection(ConnectionEvidence),
    /// A signal was sent to a process.
    Signal(Signal),
    /// The kernel chose the process to die, as memory ran out.
    OutOfMemory {
        /// Process.
        tgid: Tid,
    },
    /// An accept failed, in light mode: no other call is seen there.
    AcceptFailed {
        /// Process.
        tgid: Tid,
        /// Descriptor of the listener.
        listener_fd: i32,
        /// What it returned.
        result: i64,
    },
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The client ended its direction (FIN) before the server did.
    ClientEnded,
    /// The client reset it.
    ResetReceived,
    /// The kernel reset it.
    ResetSent,
}

/// Evidence about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEvidence {
    /// What happened.
    pub sign: Sign,
    /// Kernel identity of the socket. A closed connection that only lingers in the kernel has another.
    pub socket: (u64, u32),
    /// Nobody has accepted it yet.
    pub is_waiting: bool,
    /// Somebody has accepted it, but no traced process as far as is known now.
    pub is_taken: bool,
    /// Only its ports are known: the socket is gone.
    pub only_ports: bool,
    /// The end of its handshake (0: not seen).
    pub established_ns: u64,
    /// Bytes that arrived and nobody has read.
    pub unread_bytes: u32,
    /// Bytes written that the client has not acknowledged.
    pub unacknowledged_bytes: u32,
    /// Local port.
    pub local_port: u16,
    /// Peer's port.
    pub peer_port: u16,
    /// Light mode: the process that closed it by this ([`Sign::ResetSent`]); 0: it was closed before.
    pub closed_by: Tid,
}

/// A signal that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Process that gets it.
    pub tgid: Tid,
    /// Its number.
    pub number: u32,
    /// The kernel itself sent it, for a fault of the process or in need.
    pub by_kernel: bool,
    /// Process that sent it.
    pub sender_tgid: Tid,
    /// Name of the sender. Hostile input.
    pub sender_comm: String,
}

/// A connection to a listener woke a thread. `Event::time_ns`: when it slept again or its call returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// Inode of the listener (0: not known).
    pub listener_inode: u64,
    /// When the kernel announced the connection to the listener.
    pub announced_ns: u64,
    /// When the thread was woken.
    pub woken_ns: u64,
    /// End of the connection's handshake (0: not seen).
    pub established_ns: u64,
    /// Time since the wakeup; its sleep is not known.
    pub since: Account,
    /// Switch-ins since the wakeup; 0: it was not asleep yet.
    pub switches: u32,
    /// The thread went back to sleep inside the call; else the call returned.
    pub slept_again: bool,
    /// What the accept returned in which it was woken. `None`: it waited in another call, or slept again.
    pub accept_result: Option<i64>,
    /// Peer's port (0: not seen).
    pub peer_port: u16,
}

/// Where in Python the holder of an interpreter lock was as a thread began to wait for it, or where the
/// waiting thread was. `Event::time_ns` is the entry of the wait's call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Process.
    pub tgid: Tid,
    /// The thread that waits.
    pub tid: Tid,
    /// Addresses of code object and instruction of each frame, innermost first.
    pub frames: Vec<(u64, u64)>,
    /// The thread was in another function at the end of the look.
    pub unstable: bool,
    /// The frames are those of the thread that waits, not the holder's.
    pub of_waiter: bool,
}

/// Birth, death and change of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// What happened.
    pub change: Change,
    /// Name of the thread concerned (the child's on fork).
    pub comm: String,
}

/// What happened to a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The thread made another thread (same process) or process.
    Fork {
        /// The child's process.
        child_tgid: Tid,
        /// The child's thread.
        child_tid: Tid,
        /// The number that the child has in its own PID namespace; 0: not known.
        child_number: Tid,
    },
    /// The thread ended.
    Exit {
        /// Exit code as the kernel keeps it: signal in the low 7 bits, status above 8.
        code: i64,
    },
    /// The process executed another program.
    Exec,
    /// The thread was there before tracing began.
    Adopted,
}
