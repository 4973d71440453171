//! A thread's sleep in light mode.
//!
//! In: sleep records (by `decode`). Out: [`Slept`].

use super::Tid;

/// A thread's sleep in light mode. `Event::time_ns` is the moment at which it got a CPU again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slept {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// When it left its CPU.
    pub start_ns: u64,
    /// When it was woken.
    pub woken_ns: u64,
    /// Time on a CPU between the thread's light slice before and this sleep.
    pub cpu_ns: u64,
    /// Number of the call; `slice::PAGE_FAULT` outside one, `slice::NO_CALL` where it is not known.
    pub system_call: i32,
    /// What the call's descriptor stands for.
    pub on: SleptOn,
    /// The descriptor; of a futex its address; of poll and select how many they were given; else the first
    /// argument.
    pub argument: u64,
    /// Of poll and select on one descriptor what they wait for; of a futex its operation.
    pub events: u32,
    /// Number of the thread's light slices before.
    pub sequence: u32,
    /// Kernel address of the client's socket that the thread slept on; 0: another sleep.
    pub client: u64,
    /// This side of that connection had been ended.
    pub is_shut: bool,
    /// The thread that woke this one, or that an interrupt interrupted to do so; 0: none, or a sleep on a
    /// socket.
    pub woken_by: Tid,
    /// Of a futex on the memory of an interpreter lock what that showed then; `None`: another sleep, or it
    /// was not read.
    pub lock: Option<LockThen>,
}

/// What an interpreter lock showed as a thread went to sleep on its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockThen {
    /// The thread that had it, or had it last, by the number that it gives itself.
    pub holder: Tid,
    /// Somebody had it.
    pub is_locked: bool,
    /// How often it had passed from one thread to another (the low bits).
    pub switches: u32,
    /// Until when the wait would last at most, in nanoseconds; 0: it has no limit, or that is not known.
    pub until_ns: u64,
    /// The thread that woke this one, or that a timer interrupted to do so; 0: none.
    pub woken_by: Tid,
}

impl Slept {
    /// Nothing but a thread.
    #[cfg(test)]
    pub(crate) const fn blank() -> Self {
        Self {
            tgid: 1,
            tid: 1,
            start_ns: 0,
            woken_ns: 0,
            cpu_ns: 0,
            system_call: 0,
            on: SleptOn::Nothing,
            argument: 0,
            events: 0,
            sequence: 0,
            client: 0,
            is_shut: false,
            woken_by: 0,
            lock: None,
        }
    }
}

/// What the descriptor of the call that a thread slept in stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleptOn {
    /// The call names none, several, or one that is not open.
    Nothing,
    /// A client's connection.
    Client,
    /// A listener.
    Listener,
    /// Another socket.
    Socket {
        /// Its peer's port (0: not of TCP or UDP, or not known).
        port: u16,
    },
    /// A pipe, or one end of a `socketpair`.
    Pipe,
    /// A file of a file system.
    File,
    /// An eventfd and its like.
    Anonymous,
    /// Something else.
    Other,
}
