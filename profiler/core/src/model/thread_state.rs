//! What a thread does, in one word.
//!
//! In: nothing. Out: [`ThreadState`]: of the timeline's slices, and of threads as they are now.

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
