//! What is forgotten once a window has been taken: everything of ended processes, and of listeners that
//! nobody holds.
//!
//! In: the processes and listeners still known as the next window begins. Out: whether an entry of a process,
//! a thread or a listener stays in its table. A replaced worker must leave nothing behind, or memory grows
//! over a run of days.
//!
//! There is one exception. How a process ended is kept until the last connection that it left has been judged
//! (`dropped`).

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
    /// What lives of these processes and threads. To be called once `processes` has forgotten what has ended.
    /// `threads`: the live ones. `with_threads`: the processes that have some.
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
    pub fn process(&self, tgid: Tid) -> bool {
        self.processes.contains(&tgid)
    }

    /// A thread that has not ended.
    pub fn thread(&self, tid: Tid) -> bool {
        self.threads.contains(&tid)
    }

    /// A listener that a process holds.
    pub fn listener(&self, inode: u64) -> bool {
        self.listeners.contains(&inode)
    }
}
