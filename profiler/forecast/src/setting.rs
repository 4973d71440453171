//! The model of a server and its machine: what competes for what.
//!
//! In: nothing. Out: [`Setting`], checked by [`Setting::check`].

use crate::competition::Competition;
use crate::load::Segment;

/// Largest number of slots that is simulated.
pub(crate) const MAX_SLOTS: u32 = 16_384;
/// Largest number of cores that is simulated.
const MAX_CORES: u32 = 4096;
/// CPython's switch interval (`sys.getswitchinterval`).
pub const SWITCH_INTERVAL_NS: u64 = 5_000_000;
/// How long a thread runs before another of its core's run queue gets its turn: the kernel looks at each
/// tick, 250 times a second on most.
pub const QUANTUM_NS: u64 = 4_000_000;

/// A thread that went to sleep less than this long ago wakes up sooner: its core is not yet at rest.
pub const AWAKE_NS: u64 = 100_000;

/// Which of several free slots gets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// One of any process.
    Random,
    /// Of two processes with several slots each mostly one of the first; otherwise one of any.
    FirstOfTwo,
    /// One of the process that has waited longest for a connection.
    InTurn,
    /// The one that was free last.
    LastFirst,
    /// The one that has been free longest.
    LongestFree,
}

/// What a thread that dispatches does for one request, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errands {
    /// Until it hands the request over.
    pub before: Vec<Segment>,
    /// So many of those come before it accepts the connection.
    pub accept_at: usize,
    /// Right after that.
    pub then: Vec<Segment>,
    /// Once the slot is done with it: the connection goes back to it, or is closed.
    pub after: Vec<Segment>,
}

impl Errands {
    /// All of it, in order.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Segment> {
        self.before.iter().chain(&self.then).chain(&self.after)
    }

    /// All of it.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.before.iter_mut().chain(&mut self.then).chain(&mut self.after)
    }
}

/// How a request comes to a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// One queue for all: each slot accepts for itself when it is free.
    Shared(Wakes),
    /// Each process has a thread that accepts and hands over to its own pool, also where all of that are busy
    /// and another process has free ones. All of these threads are woken for a connection: the first that
    /// has a core and the lock gets it.
    ByProcess(Errands),
}

/// A second server for some endpoints, on the same cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Numbers of the endpoints that go there.
    pub endpoints: Vec<usize>,
    /// Its processes.
    pub processes: u32,
    /// Slots of each.
    pub threads: u32,
}

/// How long a thread runs at least before one that wakes up takes its core: the kernel's base slice. That is
/// 0.7 ms, and as much again for each doubling of the cores up to eight (`sysctl_sched_base_slice`, Linux 6.6
/// and later).
const fn base_slice_ns(cores: u32) -> u64 {
    let doublings = match cores {
        0..=1 => 0,
        2..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    700_000 * (1 + doublings)
}

/// How long threads have a core before another has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// How long a thread runs before its core looks at its run queue.
    pub quantum_ns: u64,
    /// How long it runs before a thread that wakes up there takes its core.
    pub slice_ns: u64,
}

/// The server and its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Worker processes, each with an interpreter lock of its own.
    pub processes: u32,
    /// Slots of each.
    pub threads: u32,
    /// A server of their own for some endpoints.
    pub own: Option<Own>,
    /// How requests come to slots.
    pub dispatch: Dispatch,
    /// Requests of a kept connection go to the process that accepted it. Only where each process accepts for
    /// itself.
    pub is_sticky: bool,
    /// Cores, each with a run queue of its own.
    pub cores: u32,
    /// So much CPU time a second the server may take, by a cgroup's quota. That bounds its capacity; how it
    /// is stopped is not simulated.
    pub quota_ns: Option<u64>,
    /// How threads take turns on a core.
    pub turns: Turns,
    /// After how long who waits for the interpreter lock asks its holder to give it up; `None`: there is no
    /// such lock.
    pub switch_interval_ns: Option<u64>,
    /// From the moment that a thread gives the interpreter lock up until the one that it woke can take it:
    /// each as likely as the others; none: at once. Who runs meanwhile takes it first.
    pub handovers_ns: Vec<u64>,
    /// The same of a thread that went to sleep less than [`AWAKE_NS`] ago.
    pub quick_handovers_ns: Vec<u64>,
    /// How long a thread that has waited takes to run again where a core is free. That time counts as
    /// `run_queue`.
    pub wakeup_ns: u64,
    /// How many requests each back end serves at once, by its number; `None` or absent: any number.
    pub back_end_limits: Vec<Option<u32>>,
    /// Other programs on the same cores, in order of time.
    pub competition: Vec<Competition>,
    /// Seed of all that is random.
    pub seed: u64,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            processes: 1,
            threads: 1,
            own: None,
            dispatch: Dispatch::Shared(Wakes::Random),
            is_sticky: false,
            cores: 1,
            quota_ns: None,
            turns: Turns { quantum_ns: QUANTUM_NS, slice_ns: base_slice_ns(1) },
            switch_interval_ns: Some(SWITCH_INTERVAL_NS),
            handovers_ns: Vec::new(),
            quick_handovers_ns: Vec::new(),
            wakeup_ns: 0,
            back_end_limits: Vec::new(),
            competition: Vec::new(),
            seed: 1,
        }
    }
}

/// Why something cannot be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No slots, or too many.
    #[error("processes times threads must lie between 1 and {MAX_SLOTS}")]
    Slots,
    /// No cores, or too many.
    #[error("cores must lie between 1 and {MAX_CORES}")]
    Cores,
    /// A time that must pass is none.
    #[error("the quantum and the switch interval must be longer than nothing")]
    Interval,
    /// A back end that serves nobody.
    #[error("a back end must serve one request at once or more")]
    BackEnd,
    /// A request waits for itself or for one that comes after it.
    #[error("request {request} arrives after one with a higher number")]
    Order {
        /// Its number.
        request: usize,
    },
}

impl Setting {
    /// The same on so many cores.
    pub const fn on_cores(mut self, cores: u32) -> Self {
        self.cores = cores;
        self.turns.slice_ns = base_slice_ns(cores);
        self
    }

    /// All slots.
    pub fn slots(&self) -> u32 {
        let own = self.own.as_ref().map_or(0, |own| own.processes.saturating_mul(own.threads));
        self.processes.saturating_mul(self.threads).saturating_add(own)
    }

    /// All processes.
    pub fn all_processes(&self) -> u32 {
        self.processes.saturating_add(self.own.as_ref().map_or(0, |own| own.processes))
    }

    /// Whether this can be simulated.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), SettingError> {
        let is_empty = |processes: u32, threads: u32| processes == 0 || threads == 0;
        let own_is_empty = self.own.as_ref().is_some_and(|own| is_empty(own.processes, own.threads));
        if self.slots() > MAX_SLOTS || is_empty(self.processes, self.threads) || own_is_empty {
            return Err(SettingError::Slots);
        }
        if !(1..=MAX_CORES).contains(&self.cores) {
            return Err(SettingError::Cores);
        }
        if self.turns.quantum_ns == 0 || self.switch_interval_ns == Some(0) {
            return Err(SettingError::Interval);
        }
        if self.back_end_limits.contains(&Some(0)) {
            return Err(SettingError::BackEnd);
        }
        Ok(())
    }
}
