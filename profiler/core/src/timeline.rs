//! The first product: spans and slices, streamed as they become certain.
//!
//! In: transitions of the machines. Out: [`Entry`]s, roughly in the order in which they end. Consumers (Perfetto,
//! ndjson) keep no more than they need; memory does not grow with the length of the run.

use crate::event::{Tid, Wake};
use crate::model::dropped::{Cause, Example};
use crate::model::gil_waits::Sites;
use crate::model::request::Request;
use crate::model::wake::Outcome;

/// What a thread was doing, for colours and legends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadState {
    /// On a CPU, or at least not asleep, outside a call.
    Running,
    /// Mostly waiting for a CPU.
    RunQueue,
    /// Moving bytes from or to the client.
    ClientIo,
    /// Waiting for the client.
    ClientWait,
    /// Waiting for a back end.
    BackendWait,
    /// Waiting for a lock.
    LockWait,
    /// Waiting for the interpreter lock.
    GilWait,
    /// Waiting for a file, or reading and writing one.
    File,
    /// Sleeping on purpose.
    Sleep,
    /// Waiting for work: a connection, a job, an event.
    Idle,
    /// In a call that none of the above describes.
    Other,
}

impl ThreadState {
    /// Name in outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::RunQueue => "run_queue",
            Self::ClientIo => "client_io",
            Self::ClientWait => "client_wait",
            Self::BackendWait => "backend_wait",
            Self::LockWait => "lock_wait",
            Self::GilWait => "gil_wait",
            Self::File => "file",
            Self::Sleep => "sleep",
            Self::Idle => "idle",
            Self::Other => "other",
        }
    }
}

/// One entry of the timeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A process gets its track.
    Process {
        /// Process.
        tgid: Tid,
        /// Name to show. Hostile input.
        name: String,
    },
    /// A thread gets its track.
    Thread {
        /// Process.
        tgid: Tid,
        /// Thread.
        tid: Tid,
        /// Name to show. Hostile input.
        name: String,
    },
    /// A stretch of a thread's time.
    Slice {
        /// Process.
        tgid: Tid,
        /// Thread.
        tid: Tid,
        /// Start.
        start_ns: u64,
        /// End.
        end_ns: u64,
        /// Colour.
        state: ThreadState,
        /// Name of the call, or `running`.
        label: &'static str,
        /// Descriptor concerned, if one is.
        fd: Option<i32>,
        /// The stretch was still open when the window ended.
        open: bool,
        /// A wait for the interpreter lock: the thread that had it when the wait began, if that is known.
        held_by: Option<Tid>,
        /// Where in Python that one was, and who waits, as far as somebody looked.
        sites: Option<Box<Sites>>,
    },
    /// A request came to its end (or to the end of the window).
    Request(Box<Request>),
    /// How many connections wait for a listener to accept them.
    AcceptQueue {
        /// When.
        time_ns: u64,
        /// Inode of the listening socket.
        inode: u64,
        /// Its address. Hostile input where it is a path.
        address: String,
        /// Connections that wait from then on.
        depth: u32,
    },
    /// A connection that was not served came to its end.
    Dropped {
        /// Why.
        cause: Cause,
        /// The connection.
        example: Box<Example>,
    },
    /// A connection woke a thread that waited for its listener.
    Wake {
        /// Who, by which connection, when.
        wake: Wake,
        /// When it slept again, or its wait returned.
        end_ns: u64,
        /// What it got.
        outcome: Outcome,
    },
    /// The number of busy slots changed.
    BusySlots {
        /// When.
        time_ns: u64,
        /// Process; 0: the whole server.
        tgid: Tid,
        /// Slots busy from then on.
        busy: u32,
    },
}
