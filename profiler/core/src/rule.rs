//! Rules that infer whose time an event loop's time is, or what a request waited for, where no call says it.
//!
//! In: in a build for measurements alone (feature `without-rules`) names of rules. Out: whether a rule holds.
//! In every other build all do, and to ask costs nothing. `cargo xtask rules` measures what each brings, for
//! lab/results/rules.md.

#[cfg(feature = "without-rules")]
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! rules {
    ($($(#[doc = $about:literal])+ $name:ident,)+) => {
        /// A rule that infers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rule { $($(#[doc = $about])+ $name,)+ }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it says, in one sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => concat!($($about),+).trim_ascii(),)+ }
            }
        }
    };
}

rules! {
    /// Which request a Python task works for, read from the interpreter's memory, shows whose its calls are.
    Task,
    /// An event-loop iteration in which nothing was touched belongs to the only request that may have run in
    /// it.
    AloneInIteration,
    /// asyncio and trio: a request whose head (on asyncio also whose answer) was read may have run in the
    /// iteration after, though it made no call. On uvloop it may have in the same one.
    UnseenIteration,
    /// Unknown loops: a request that first does something as many iterations after it was read as others did
    /// that were alone has been ready since.
    PassedAlong,
    /// asyncio: a timer resumed a request that resumes after those whose heads were read in the iteration
    /// before.
    AfterThoseRead,
    /// asyncio: a timer came due in the last millisecond of a timeout, which is rounded up, if the loop was
    /// woken in that one and nothing else can have resumed the request.
    TimerRoundedUp,
    /// trio: a timer resumes a request in the iteration that finds it due, if nothing else can have.
    TimerAtOnce,
    /// A request whose answer came in the iteration before, or whose connection was made, resumes by that and
    /// by no thread.
    StraightOn,
    /// A back end is opened by the only request that is known to wait for nothing known.
    OnlyOneKnown,
    /// A back end is opened by the request whose thread was done first, or by one of those that may run.
    DoneFirst,
    /// Unattributed work on a back end is the request's that alone may have done it.
    SoleCandidate,
    /// A request does one thing at a time: one that resumes, or waits elsewhere, is not the one that waits
    /// here.
    OneThingAtATime,
    /// gevent: unattributed work is the request's that resumes right after it.
    FollowedAtOnce,
    /// asyncio: unattributed work that resumed after its answer is the request's that resumes next.
    FollowedNext,
    /// A thread was woken for the request that its loop had touched last.
    WokenForTouched,
    /// A thread was woken for the request that its loop had left first and that no thread has taken.
    WokenForFirst,
    /// A lock at which two threads wait at once for the loop is the queue of jobs.
    QueueOfJobs,
    /// A lock at which one thread of a pool wakes another can be the queue of jobs, though the loop wakes
    /// nobody there.
    PassedOn,
    /// asyncio: a job of which its thread told after the loop had taken what it runs in this iteration is not
    /// that of a request that resumes in it.
    NotedBeforeLook,
    /// Of several jobs that are done, a request that resumes had the one that was done first.
    DoneInOrder,
    /// A request resumes: the thread that was woken for it has handed back its result, though it wrote
    /// nothing.
    HandedBack,
    /// asyncio: a request that began to wait for a back end in this iteration may open another one in it, by
    /// another task of its own (`gather`).
    SeveralTasks,
    /// asyncio: requests read in the iteration before run in that order, each up to its own wakeup of the
    /// loop, if nearly all were seen to.
    UpToOwnWakeup,
    /// Unknown loops: the threads of a pool wait until the loop has taken what they report, if most of them
    /// were seen to.
    ReportsAwaited,
    /// Twisted's reactor on asyncio: a task that asks when a client takes bytes, before any are sent, has the
    /// response of its request.
    AsksToAnswer,
    /// hypercorn on trio: another task reads the connection, so that a read that finds nothing says nothing
    /// of the request.
    ReadBeside,
}

impl Rule {
    /// Whether it holds.
    #[cfg(not(feature = "without-rules"))]
    pub const fn holds(self) -> bool {
        true
    }

    /// Whether it holds: unless it was dropped.
    #[cfg(feature = "without-rules")]
    pub fn holds(self) -> bool {
        DROPPED.load(Ordering::Relaxed) >> self as u64 & 1 == 0
    }

    /// Drops rules by their names, with commas between them, before anything is read.
    #[cfg(feature = "without-rules")]
    pub fn drop_named(names: &str) {
        let is_named = |rule: &Self| names.split(',').any(|name| name == format!("{rule:?}"));
        let dropped = Self::ALL.iter().copied().filter(is_named).fold(0, |all, rule| all | 1 << rule as u64);
        DROPPED.store(dropped, Ordering::Relaxed);
    }
}

/// One bit for each rule that was dropped.
#[cfg(feature = "without-rules")]
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Where the environment names rules that do not hold, in such a build.
pub const WITHOUT: &str = "WSGI_TRACE_WITHOUT_RULES";
