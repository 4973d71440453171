//! The Python interpreter of a process.
//!
//! In: nothing (`profiler`'s `fact/python` fills these). Out: [`InterpreterSeen`], [`ThreadNumbers`].

use serde::{Deserialize, Serialize};

/// The Python interpreter of a process, or that it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpreterSeen {
    /// Process.
    pub tgid: u32,
    /// Its version ("3.11.2", or "3.9" where no more is known); `None`: the process maps no Python, or its
    /// version could not be found.
    pub version: Option<String>,
    /// Base name of the mapped file that holds the interpreter; empty: there is none. Hostile input.
    pub file: String,
    /// The interpreter locks, one for each interpreter that has its own; empty where there is none, or none
    /// was found.
    pub locks: Vec<InterpreterLock>,
    /// Distance of a thread's number in its `PyThreadState`, where the holders of the lock are read; `None`:
    /// they are not.
    pub thread_number_at: Option<u64>,
    /// Where `thread_number_at` leads to a pointer: how far the number is from where that points (CPython
    /// before 3.11).
    pub thread_number_through: Option<u64>,
    /// The numbers are those of another PID namespace; [`ThreadNumbers`] says which threads they are.
    pub foreign_numbers: bool,
    /// The number by which its interpreter may still call its main thread: that of the thread that forked
    /// the process, in the process's PID namespace. In the child CPython notes it again only if it is
    /// told of the fork, and not in every version (`PyOS_AfterFork_Child`); uWSGI does not
    /// tell it. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited_number: Option<u32>,
    /// What its tasks are, where it is reported which of them a thread works for (`event::TaskSeen`); `None`:
    /// it is not.
    pub tasks: Option<TaskKind>,
    /// A build without interpreter lock (it may have been switched on: then `locks` has it).
    pub free_threaded: bool,
    /// Why the locks were not looked for or not found, as a clause; `None`: nothing went wrong.
    pub refused: Option<String>,
}

/// What the tasks of a process are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// What runs in a `contextvars.Context` each: asyncio's tasks and callbacks, also under uvloop.
    Contexts,
    /// What has a stack of frames each: greenlets, those of gevent and eventlet as well.
    Greenlets,
    /// The one or the other, by thread: [`TaskKind::Contexts`] where a thread waits in a context, as loops do
    /// that run tasks in them.
    Either,
}

/// The threads of a process in another PID namespace: replaces what was said of them before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadNumbers {
    /// Process.
    pub tgid: u32,
    /// The number that a thread has there, and the one that it has here.
    pub numbers: Vec<(u32, u32)>,
}

/// One interpreter lock in the memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpreterLock {
    /// Address of the lock's first common field (`interval`); everything else is at a fixed distance from
    /// it.
    pub address: u64,
    /// Number of the interpreter, 0: the main one.
    pub interpreter: u64,
    /// Switch interval in µs at that moment.
    pub interval_us: u64,
}
