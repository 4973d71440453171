//! A look at a thread that is asleep: how it sleeps, in which call, and on what.
//!
//! In: `/proc/PID` of its process. Out: [`AsleepSeen`]. Nothing here can block on what the thread itself
//! waits for: files are named, not looked at. Every read is bounded. That the thread slept on meanwhile is
//! for the caller to check.

mod argument;
mod call;
mod descriptor;
mod kernel;
mod state;

use std::io;

use profiler_core::fact::asleep::{AsleepSeen, ObjectSeen, SleepState};

use self::argument::About;
use self::call::Call;
use super::{Proc, read};

/// Bytes of one file of a thread.
const MAX_BYTES: u64 = 8 * 1024;

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Looks {
    /// What threads sleep on, and who else on this host stands behind it.
    #[default]
    All,
    /// Nothing of processes that are not the target's.
    Own,
    /// Nothing.
    Off,
}

/// Why nothing can be said of a thread.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is gone, or may not be looked at.
    #[error("the thread cannot be looked at: {0}")]
    Read(#[from] io::Error),
    /// It runs.
    #[error("the thread is not asleep")]
    Awake,
    /// What `/proc` says cannot be understood.
    #[error("what the kernel says of the thread cannot be understood")]
    Malformed,
}

/// A thread, and since when it sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asleep {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// When it went to sleep.
    pub since_ns: u64,
}

/// Reads one thread after another.
#[derive(Debug)]
pub struct Reader {
    proc: Proc,
}

impl Reader {
    /// A reader of this `/proc`.
    pub const fn new(proc: Proc) -> Self {
        Self { proc }
    }

    /// Looks at one thread.
    ///
    /// # Errors
    /// If it is gone, is not asleep, or may not be looked at.
    pub fn look(&mut self, thread: Asleep) -> Result<AsleepSeen, Refused> {
        let task = format!("task/{}", thread.tid);
        let of_task = |name: &str| self.proc.of(thread.tgid, &format!("{task}/{name}"));
        let call = Call::parse(&read::text(&of_task("syscall"), MAX_BYTES)?)?;
        let letter = state::letter(&read::text(&of_task("stat"), MAX_BYTES)?).ok_or(Refused::Malformed)?;
        let stack = kernel::stack(&of_task("stack"), &of_task("wchan"));
        let state = state::of(letter, &stack).ok_or(Refused::Awake)?;
        let call = call.restarted(&stack);
        let object = match state {
            SleepState::Interruptible | SleepState::Uninterruptible => self.object(thread.tgid, &call),
            _ => None,
        };
        Ok(AsleepSeen {
            tgid: thread.tgid,
            tid: thread.tid,
            since_ns: thread.since_ns,
            system_call: call.number,
            arguments: call.first_three(),
            state,
            held_by: None,
            object,
        })
    }

    /// What the call is about.
    fn object(&self, tgid: u32, call: &Call) -> Option<ObjectSeen> {
        match argument::about(call) {
            About::Descriptor(fd) => descriptor::object(&self.proc, tgid, fd),
            About::Nothing => None,
        }
    }
}
