//! What is particular to one runtime's event loop: how it is recognised, and what it does that others do not.
//!
//! In: what a process has loaded, what a loop's calls have shown. Out: a [`LoopKind`]. One runtime is one
//! file with its row of [`KINDS`] and its scripts; the machines ask for what it does ([`Resumes`],
//! [`LoopTasks`], [`LoopThreads`]), and never for its name.

pub mod asyncio;
pub mod front_end;
pub mod gevent;
pub mod trio;
pub mod unknown;
pub mod uvloop;

use crate::fact::ProcessSeen;

/// All kinds, asked in this order; the last one recognises everything.
pub static KINDS: [&LoopKind; 6] = [
    &front_end::FRONT_END,
    &gevent::GEVENT,
    &uvloop::UVLOOP,
    &trio::TRIO,
    &asyncio::ASYNCIO,
    &unknown::UNKNOWN,
];

/// The event loop of one runtime.
#[derive(Debug)]
pub struct LoopKind {
    /// Its name, for tests and messages.
    pub name: &'static str,
    /// How it is recognised.
    pub sign: Sign,
    /// When a request resumes after the cause of that.
    pub resumes: Resumes,
    /// For whom a task works.
    pub tasks: LoopTasks,
    /// What threads do that the loop wakes.
    pub threads: LoopThreads,
    /// The loop reads all that is ready, then its requests run. What they write is sent once all have run, in
    /// any order. So the first one that is seen to write is not the first one that ran.
    pub reads_first: bool,
    /// The loop uses io_uring, for other things than what requests wait for.
    pub has_rings: bool,
}

/// How a kind of loop is recognised.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// Its process has it loaded. `alone`: then nothing else serves requests there, unless several threads
    /// read them.
    Loaded {
        /// Whether these mapped files are its own.
        is_loaded: fn(&ProcessSeen) -> bool,
        /// Nothing else serves requests in such a process.
        alone: bool,
    },
    /// The loop's own calls show it.
    Shown(fn(Shown) -> bool),
}

/// What the calls of a loop have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// A request that was read in one iteration resumed in the next.
    pub has_deferred: bool,
    /// A request was answered in the iteration in which it was read.
    pub is_prompt: bool,
    /// The loop waits for its listener by a registration that is good for one event (`EPOLLONESHOT`).
    pub is_one_shot: bool,
}

/// When a request resumes after the cause of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumes {
    /// When a request resumes is not known.
    Untold,
    /// Every request one iteration after the cause, and in the order of the causes. The callbacks of timers
    /// come last.
    NextIteration,
    /// By a timer first of all in the iteration that found it due; then by what the iteration found ready.
    /// Whom these resume follows in the same iteration.
    TimersFirst,
    /// By a timer or by its own descriptor in the iteration that found it due or ready. Whom a task or a
    /// thread resumes follows in the next iteration. Within an iteration there is no order.
    OwnAtOnce,
}

/// For whom a task works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopTasks {
    /// For a request: what writes to its client is its task. What reads may be another one, or none.
    OfRequests,
    /// For a request, as in `OfRequests`, but another task reads the connection, whatever the request does:
    /// that the read finds nothing says nothing of the request.
    BesideReader,
    /// For a connection: all calls of a task are for the request that it has read (greenlets).
    OfConnections,
}

/// What threads do that the loop wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopThreads {
    /// Threads work for requests. The loop gives them jobs, and handles their results, in order.
    Work,
    /// Threads work for requests. The loop gives them jobs in no order that its reads show, and a thread
    /// writes no note while another's is not read.
    WorkUnordered,
    /// Threads only help, such as to resolve names, for any task and in any order.
    Help,
}

/// What a process has loaded: one bit for each of [`KINDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded(u8);

impl Default for &'static LoopKind {
    fn default() -> Self {
        &unknown::UNKNOWN
    }
}

impl LoopKind {
    /// Whether it is this one.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    /// Whether nothing else serves requests in a process that has it loaded.
    pub const fn is_alone(&self) -> bool {
        matches!(self.sign, Sign::Loaded { alone: true, .. })
    }

    /// Whether all calls of a task are for one connection.
    pub fn has_greenlets(&self) -> bool {
        self.tasks == LoopTasks::OfConnections
    }

    /// The kind of a loop in a process that has this kind loaded, as far as the loop's calls have shown.
    pub fn shown(&'static self, shown: Shown) -> &'static Self {
        if matches!(self.sign, Sign::Loaded { .. }) {
            return self;
        }
        let is_it = |kind: &&&Self| matches!(kind.sign, Sign::Shown(is_shown) if is_shown(shown));
        KINDS.iter().find(is_it).copied().unwrap_or(&unknown::UNKNOWN)
    }
}

impl Loaded {
    /// What a process has loaded.
    pub fn of(process: &ProcessSeen) -> Self {
        let is_loaded =
            |kind: &LoopKind| matches!(kind.sign, Sign::Loaded { is_loaded, .. } if is_loaded(process));
        let bits = KINDS.iter().enumerate().map(|(place, kind)| u8::from(is_loaded(kind)) << place);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// Whether nothing of that is loaded.
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// The first kind that is loaded, without those that are alone where several threads read requests.
    pub fn first(self, several_read: bool) -> &'static LoopKind {
        self.kinds().find(|kind| !(several_read && kind.is_alone())).unwrap_or_default()
    }

    /// Whether one of them uses io_uring for other things than what requests wait for.
    pub fn have_rings(self) -> bool {
        self.kinds().any(|kind| kind.has_rings)
    }

    fn kinds(self) -> impl Iterator<Item = &'static LoopKind> {
        KINDS.into_iter().enumerate().filter(move |(place, _)| self.0 >> place & 1 == 1).map(|(_, kind)| kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(files: &[&str]) -> ProcessSeen {
        let mapped_files = files.iter().map(|name| (*name).to_owned()).collect();
        ProcessSeen { mapped_files, ..ProcessSeen::default() }
    }

    const GEVENT: &str = "_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so";
    const UVLOOP: &str = "loop.cpython-311-x86_64-linux-gnu.so";

    #[test]
    fn what_is_loaded_and_what_calls_show_tell_the_kind() {
        let deferred = Shown { has_deferred: true, ..Shown::default() };
        let prompt = Shown { is_prompt: true, ..deferred };
        let one_shot = Shown { is_one_shot: true, ..deferred };
        for (files, several_read, shown, name) in [
            (&[][..], false, Shown::default(), "unknown"),
            (&["_asyncio.cpython-311-x86_64-linux-gnu.so"], false, prompt, "unknown"),
            (&[], false, deferred, "asyncio"),
            (&[], false, one_shot, "trio"),
            (&[UVLOOP], false, deferred, "uvloop"),
            (&[GEVENT], false, one_shot, "gevent"),
            (&[GEVENT, UVLOOP], false, deferred, "gevent"),
            (&[GEVENT, UVLOOP], true, deferred, "uvloop"),
            (&[GEVENT], true, deferred, "asyncio"),
        ] {
            let loaded = Loaded::of(&maps(files));
            let kind = loaded.first(several_read).shown(shown);
            assert_eq!(kind.name, name, "{files:?} {several_read} {shown:?}");
        }
    }

    #[test]
    fn a_front_end_is_one_however_fast_it_answers() {
        let front_end = ProcessSeen { front_end: true, ..ProcessSeen::default() };
        for shown in [Shown::default(), Shown { has_deferred: true, ..Shown::default() }] {
            assert_eq!(Loaded::of(&front_end).first(false).shown(shown).name, "front end");
        }
    }

    #[test]
    fn each_kind_is_told_by_one_row() {
        let mut names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.last().is_some_and(|last| last.is(<&LoopKind>::default())));
        assert!(KINDS.len() <= 8, "one bit each");
        let loaded = Loaded::of(&maps(&[UVLOOP]));
        assert!(loaded.have_rings() && !loaded.is_nothing());
    }
}
