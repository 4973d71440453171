//! What is forgotten when a window has been taken: everything of a process that has ended, and of a listener that nobody holds.
//!
//! In: the processes and listeners that are still known as the next window begins. Out: for every table whose entries belong to a
//! process, a thread or a listener, whether one stays. A worker that is replaced must leave nothing behind, or a run of days grows.
//!
//! What still waits for its verdict is the one exception: how a process ended is kept until the last connection that it left has
//! been judged (`dropped`).

use rustc_hash::FxHashSet;

use crate::event::Tid;
use crate::machine::world::process::Processes;

/// What is still there.
#[derive(Clone, Debug, Default)]
pub struct Living {
    processes: FxHashSet<Tid>,
    threads: FxHashSet<Tid>,
    listeners: FxHashSet<u64>,
}

impl Living {
    /// Of these; to be called when `processes` has let go of what has ended. `threads`: the live ones, and the processes that have some.
    #[must_use]
    pub fn of(
        processes: &Processes,
        threads: FxHashSet<Tid>,
        with_threads: impl Iterator<Item = Tid>,
    ) -> Self {
        Self {
            processes: processes.seen.iter().map(|process| process.tgid).chain(with_threads).collect(),
            threads,
            listeners: processes.listeners.iter().map(|listener| listener.inode).collect(),
        }
    }

    /// A process that has not ended, or whose children have not.
    #[must_use]
    pub fn process(&self, tgid: Tid) -> bool {
        self.processes.contains(&tgid)
    }

    /// A thread that has not ended.
    #[must_use]
    pub fn thread(&self, tid: Tid) -> bool {
        self.threads.contains(&tid)
    }

    /// A listener that a process holds.
    #[must_use]
    pub fn listener(&self, inode: u64) -> bool {
        self.listeners.contains(&inode)
    }
}
