//! What requests waited for, in the end: each wait followed to its leaf.
//!
//! In: the chain stage. Out: [`Chains`], a part of the snapshot. All leaves of a window add up to its request
//! time, to the nanosecond.
//!
//! A sleep that a thread of the target ends is a *hop*; what nobody of the target ends is a *leaf*.

use std::hash::{Hash, Hasher};

use super::computed::{Computed, ComputedAt, is_most};
pub use super::hops::Hops;
use super::independence::Independence;
use super::more_slots::MoreSlots;
use super::waited::{Waited, WaitedAt};
use super::whereabouts::{LEAST_SAMPLES, Whereabouts};
use crate::event::Tid;
use crate::fact::asleep::ObjectSeen;
use crate::fact::place::{OwnCode, PlaceSeen};
use crate::phase::Phase;

closed_list! {
    /// What stands at the end of a chain of waits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum LeafKind {
        Computing = "computing": "A thread ran.",
        Spinning = "spinning": "A thread ran in calls that return at once and move nothing.",
        Reading = "reading": "A thread read what its client had sent.",
        Writing = "writing": "A thread wrote the response.",
        BackEnd = "back_end": "Waiting for a back end.",
        NameServer = "name_server": "Waiting for a name server.",
        Client = "client": "Waiting for a client to send or to take bytes.",
        Child = "child": "Waiting for a child process.",
        File = "file": "Waiting for a file.",
        FileLock = "file_lock": "Waiting for a lock on a file.",
        Pipe = "pipe": "Waiting for the other end of a pipe.",
        PageFault = "page_fault": "Waiting for memory.",
        KernelLock = "kernel_lock": "Waiting for a lock inside the kernel: that of the process's map of memory.",
        Sleep = "sleep": "Sleeping on purpose.",
        StoodStill = "stood_still": "The process stood still: stopped, traced or frozen from outside.",
        NotReleased = "not_released": "Waiting for a lock that was not released.",
        CpuTaken = "cpu_taken": "Ready to run, without a CPU.",
        NoThread = "no_thread": "Nobody was there who could serve it.",
        Upgraded = "upgraded": "A WebSocket or a tunnel kept the slot: its connection is no request any more.",
        Stream = "stream": "A stream of events kept the slot.",
        FrontEnd = "front_end": "In a traced front end.",
        NotFollowed = "not_followed": "Where the chain leads is not known.",
    }
}

impl LeafKind {
    /// Whether a thread runs there.
    pub const fn is_computing(self) -> bool {
        matches!(self, Self::Computing | Self::Spinning)
    }
}

closed_list! {
    /// Why a chain was not followed to its end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum NotFollowed {
        Short = "short": "The wait was too short to be followed by itself.",
        NotSeen = "not_seen": "What the thread did is not known: unexplained, or records are missing.",
        Forgotten = "forgotten": "What the thread did then is no longer kept.",
        Holder = "holder_unknown": "Who had the lock is not known.",
        Waker = "waker_unknown": "Who ended the wait is not known.",
        Idle = "was_idle": "Whoever could have ended it waited for work, and why is not known.",
        Acceptors = "acceptors_unknown": "Who accepts there, or serves there, is not known.",
        TooDeep = "too_deep": "The chain is longer than is followed.",
        Circle = "circle": "The records lead back to a thread of the same chain.",
    }
}

closed_list! {
    /// How a thread was held from outside.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Held {
        Stopped = "stopped": "A signal stopped it.",
        Traced = "traced": "Who traces it stopped it.",
        Frozen = "frozen": "Its cgroup was frozen.",
        MemoryHigh = "memory_high": "Its cgroup was above memory.high.",
    }
}

closed_list! {
    /// How sure it is that nobody could release a lock.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Unreleased {
        Cycle = "cycle": "Each waits for the next, and the last for the first.",
        NobodyCould = "nobody_could": "Every other thread of the process waited for work, or for a lock that was not released either.",
        Watched = "while_watched": "It was not released while it was watched; who holds it is not known.",
    }
}

/// Who had the CPU for which a thread waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TakenBy {
    /// A thread of the target, for a request.
    Request {
        /// Its endpoint, by its number in [`Chains::endpoints`]; 0: not known.
        endpoint: u32,
    },
    /// A thread of the target, for no request.
    Thread,
    /// Another program.
    Program {
        /// Its number in [`Chains::programs`].
        number: u32,
    },
    /// Nobody: the cgroup of the thread that waited had used up its CPU quota.
    Quota,
    /// The hypervisor.
    Hypervisor,
}

impl TakenBy {
    /// Names of what a CPU may be taken by, in the report.
    pub const NAMES: [&str; 5] = ["request", "thread", "program", "quota", "hypervisor"];

    /// Its name among them.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::Thread => "thread",
            Self::Program { .. } => "program",
            Self::Quota => "quota",
            Self::Hypervisor => "hypervisor",
        }
    }
}

/// What was waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// Not known, or there is none.
    #[default]
    Unknown,
    /// A connection to this TCP or UDP port (0: over a UNIX socket, or not known).
    Peer {
        /// The peer's port.
        port: u16,
    },
    /// A descriptor of the thread's process.
    Descriptor {
        /// Its number.
        fd: i32,
    },
    /// A futex of the process.
    Futex {
        /// Its user address.
        address: u64,
    },
    /// A client's connection.
    Client,
    /// One of several descriptors.
    Several,
    /// What a look from outside named.
    Named {
        /// Its number in [`Chains::objects`].
        number: u32,
    },
}

/// What stands at the end of a chain, as far as leaves are distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// What it is.
    pub kind: LeafKind,
    /// What was waited for.
    pub object: Object,
    /// System call of the wait, or in which it computed; −1: none, or not known.
    pub system_call: i32,
    /// Endpoint for which the thread worked, by its number in [`Chains::endpoints`]; 0: for none.
    pub endpoint: u32,
    /// Why it was not followed; of [`LeafKind::NotFollowed`] alone.
    pub reason: Option<NotFollowed>,
    /// How sure it is that nobody could release a lock that was not released.
    pub unreleased: Option<Unreleased>,
    /// How it was held from outside, where that is known; of [`LeafKind::StoodStill`] alone.
    pub held: Option<Held>,
    /// Who had the CPU, where that is known; of [`LeafKind::CpuTaken`] alone.
    pub taken_by: Option<TakenBy>,
    /// The wait had begun before the trace did.
    pub since_before: bool,
}

impl Hash for Leaf {
    /// By what distinguishes nearly all: to hash the other fields takes longer than to compare two leaves.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let object = match self.object {
            Object::Peer { port } => u64::from(port),
            Object::Descriptor { fd } => u64::from(fd.cast_unsigned()),
            Object::Futex { address } => address,
            Object::Named { number } => u64::from(number),
            Object::Unknown | Object::Client | Object::Several => match self.taken_by {
                Some(TakenBy::Request { endpoint: number } | TakenBy::Program { number }) => number.into(),
                _ => self.reason.map_or(0, |reason| reason as u64),
            },
        };
        state.write_u64(u64::from(self.endpoint) << 32 | u64::from(self.system_call.cast_unsigned()));
        state.write_u64(object << 8 | self.kind as u64);
    }
}

impl Leaf {
    /// A leaf of a kind of which nothing more is known.
    pub const fn of(kind: LeafKind) -> Self {
        Self {
            kind,
            object: Object::Unknown,
            system_call: -1,
            endpoint: 0,
            reason: None,
            unreleased: None,
            held: None,
            taken_by: None,
            since_before: false,
        }
    }

    /// A chain that was not followed.
    pub const fn not_followed(reason: NotFollowed) -> Self {
        Self { reason: Some(reason), ..Self::of(LeafKind::NotFollowed) }
    }
}

/// One hop of an example: who waited or worked, when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleHop {
    /// Process; 0: the request itself, before anybody served it.
    pub tgid: Tid,
    /// Thread; 0: as above.
    pub tid: Tid,
    /// Name of the thread. Hostile input.
    pub comm: String,
    /// Endpoint for which it worked, by its number in [`Chains::endpoints`]; 0: for none.
    pub endpoint: u32,
    /// Phase of the wait; of the last hop the leaf says more.
    pub phase: Phase,
    /// Start of what it was in.
    pub start_ns: u64,
    /// End of what it was in.
    pub end_ns: u64,
    /// Where in Python it waited, by the number of one of [`Chains::places`]; `None`: not known.
    pub place: Option<u32>,
}

/// A real chain: the longest of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainExample {
    /// Number of the request that waited.
    pub request: u64,
    /// Its endpoint, by its number in [`Chains::endpoints`].
    pub endpoint: u32,
    /// Start of the wait.
    pub start_ns: u64,
    /// How long this request waited for the leaf in this wait.
    pub wait_ns: u64,
    /// From the request to the leaf.
    pub hops: Vec<ExampleHop>,
    /// Where it is not known who stands behind the last hop: threads of which any one could (bounded).
    pub candidates: Vec<ExampleHop>,
}

/// Requests' time at one leaf, by one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafTime {
    /// The leaf.
    pub leaf: Leaf,
    /// The way there.
    pub hops: Hops,
    /// Request time that is at this leaf: its share of the window's request time.
    pub held_ns: u64,
    /// The part of it that exceeds what is usual at the endpoints concerned.
    pub unusual_ns: u64,
    /// Request time that would not have been, had nobody met this leaf: by a replay of the lines. `None`: not
    /// replayed.
    pub prevented_ns: Option<u64>,
    /// Requests concerned.
    pub requests: u64,
    /// The most that one request has at it.
    pub longest_ns: u64,
    /// The endpoint whose requests have at least half of it, by its number in [`Chains::endpoints`]; `None`:
    /// none has, or it is not known.
    pub victim: Option<u32>,
    /// Several processes waited for it on one and the same connection.
    pub is_shared_connection: bool,
    /// Of computing: surely more than half of the endpoint's samples were in a collection of garbage.
    pub is_collecting: bool,
    /// Whether those at it wait for one another, as far as that was measured. See
    /// [`LeafTime::independence`].
    pub measured: Independence,
    /// What a look from outside saw of it in the longest sleep that was looked at: its number in
    /// [`Chains::objects`].
    pub seen: Option<u32>,
    /// Where in Python the thread at the end was in the longest sleep that was looked at; of computing, in
    /// most samples. The number of one of [`Chains::places`].
    pub place: Option<u32>,
    /// Where in Python the first on the way who waits for a lock does, in the longest such wait that was
    /// looked at: as `place`.
    pub waited_at: Option<u32>,
    /// The longest single chain; `None`: it was not followed step by step.
    pub example: Option<ChainExample>,
}

impl LeafTime {
    /// Time at a leaf of which nothing is known but how long it is.
    pub const fn of_nobody(held_ns: u64) -> Self {
        Self {
            leaf: Leaf::not_followed(NotFollowed::NotSeen),
            hops: Hops::NONE,
            held_ns,
            unusual_ns: 0,
            prevented_ns: None,
            requests: 0,
            longest_ns: 0,
            victim: None,
            is_shared_connection: false,
            is_collecting: false,
            measured: Independence::Unknown,
            seen: None,
            place: None,
            waited_at: None,
            example: None,
        }
    }

    /// Whether the request did this itself, and waited for nobody.
    pub fn is_own_work(&self) -> bool {
        self.hops.is_empty()
            && matches!(self.leaf.kind, LeafKind::Computing | LeafKind::Reading | LeafKind::Writing)
    }

    /// Whether this time is waiting through somebody else: a hop, or a leaf that somebody else makes.
    pub fn is_inflicted(&self) -> bool {
        !self.hops.is_empty()
            || matches!(
                self.leaf.kind,
                LeafKind::CpuTaken
                    | LeafKind::StoodStill
                    | LeafKind::NotReleased
                    | LeafKind::FileLock
                    | LeafKind::KernelLock
                    | LeafKind::NoThread
                    | LeafKind::Upgraded
                    | LeafKind::Stream
            )
    }

    /// Its waiting through somebody else, in nanoseconds.
    pub fn inflicted_ns(&self) -> u64 {
        if self.is_inflicted() { self.held_ns } else { 0 }
    }

    /// Whether those who wait there wait for one another: by what it is, or else as measured.
    pub fn independence(&self) -> Independence {
        match self.leaf.kind {
            _ if self.is_serial() || self.is_shared_connection => Independence::Shared,
            // Each client is one by itself.
            LeafKind::Client => Independence::Independent,
            _ => self.measured,
        }
    }

    /// Whether the way, or the leaf, is one object: only one at a time gets on there.
    pub fn is_serial(&self) -> bool {
        let is_one =
            |hop| matches!(hop, Phase::GilWait | Phase::LockWait | Phase::LoopWait | Phase::FileWait);
        self.hops.iter().any(is_one)
            || matches!(self.leaf.kind, LeafKind::FileLock | LeafKind::NotReleased | LeafKind::StoodStill)
    }
}

/// The longest wait of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestWait {
    /// Number of the request.
    pub request: u64,
    /// Its time at the leaf, by one way.
    pub time: LeafTime,
}

/// Leaves that have something in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// Their kind. A CPU that another request had is computing of that request.
    pub kind: LeafKind,
    /// Who had the CPU; `None`: other programs, or it is not known. Of [`LeafKind::CpuTaken`] alone.
    pub taken_by: Option<TakenBy>,
    /// What is waited for; `None`: this may differ.
    pub object: Option<Object>,
    /// Endpoint, by its number in `Chains::endpoints`; `None`: this may differ.
    pub endpoint: Option<u32>,
}

/// What a group prevents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPrevented {
    /// The group.
    pub group: Group,
    /// Request time that would not have been, had nobody met any of its leaves, in nanoseconds.
    pub prevented_ns: u64,
}

/// Where requests' time was, in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chains {
    /// All request time of the window: the sum of all leaves.
    pub request_ns: u64,
    /// Requests whose leaves did not add up to their length: there should be none.
    pub broken: u64,
    /// Leaves, the costliest first (bounded).
    pub leaves: Vec<LeafTime>,
    /// What each of the longest requests waited for longest, by their numbers (bounded). Those that waited
    /// for nothing are missing.
    pub of_requests: Vec<RequestWait>,
    /// Request time at leaves that are not listed.
    pub other_ns: u64,
    /// What leaves that have something in common prevent together; empty: the lines were not replayed.
    pub groups: Vec<GroupPrevented>,
    /// Request time that would not have been without all listed leaves of waiting together.
    pub prevented_together_ns: Option<u64>,
    /// What more slots would have prevented.
    pub more_slots: MoreSlots,
    /// What looks from outside saw, as leaves number it. Hostile input.
    pub objects: Vec<ObjectSeen>,
    /// Places in Python that leaves and hops name, ascending by their numbers. Hostile input.
    pub places: Vec<PlaceSeen>,
    /// What is the application's own code, and what decided that (bounded). Hostile input.
    pub own: Vec<OwnCode>,
    /// Where in Python threads computed, by samples, for each endpoint; the most first.
    pub computed: Vec<Computed>,
    /// Where in Python threads slept, by samples, for each endpoint; the longest first.
    pub waited: Vec<Waited>,
    /// Where in Python the slowest requests computed, and those were that ended with their process, by their
    /// numbers.
    pub whereabouts: Vec<Whereabouts>,
    /// Names of other programs that had CPUs, as [`TakenBy`] numbers them. Hostile input.
    pub programs: Vec<String>,
    /// Names of endpoints, method and path shape. The first stands for none. Hostile input.
    pub endpoints: Vec<String>,
}

impl Chains {
    /// Name of an endpoint; `None`: of none, or of requests whose heads were not read.
    pub fn endpoint(&self, number: u32) -> Option<&str> {
        let name = self.endpoints.get(number as usize).map(String::as_str);
        name.filter(|name| number > 0 && !name.is_empty())
    }

    /// Request time that was not followed to a leaf, or whose leaf is not listed, in nanoseconds.
    pub fn not_followed_ns(&self) -> u64 {
        let followed = self.leaves.iter().filter(|row| row.leaf.kind != LeafKind::NotFollowed);
        let followed_ns = followed.fold(0_u64, |sum, row| sum.saturating_add(row.held_ns));
        self.request_ns.saturating_sub(followed_ns)
    }

    /// What a look saw of a leaf.
    pub fn seen(&self, time: &LeafTime) -> Option<&ObjectSeen> {
        self.objects.get(time.seen? as usize)
    }

    /// What a request waited for longest; `None`: it is none of the longest, or waited for nothing.
    pub fn of_request(&self, request: u64) -> Option<&LeafTime> {
        let at = self.of_requests.binary_search_by_key(&request, |wait| wait.request).ok()?;
        self.of_requests.get(at).map(|wait| &wait.time)
    }

    /// Where a request was; `None`: it is none of those of which that is kept, or not known.
    pub fn whereabouts_of(&self, request: u64) -> Option<&Whereabouts> {
        let at = self.whereabouts.binary_search_by_key(&request, |of| of.request).ok()?;
        self.whereabouts.get(at)
    }

    /// The line at which a request computed most, with all its samples; `None`: there are too few of them.
    pub fn computed_most(&self, request: u64) -> Option<(&Computed, ComputedAt)> {
        let computed = &self.whereabouts_of(request)?.computed;
        let most = self.computed_lines(computed).into_iter().next()?;
        (most.samples >= LEAST_SAMPLES).then_some((computed, most))
    }

    /// A place in Python.
    pub fn place(&self, number: Option<u32>) -> Option<&PlaceSeen> {
        let at = self.places.binary_search_by_key(&number?, |place| place.number).ok()?;
        self.places.get(at)
    }

    /// Where in Python threads computed for an endpoint, by its number.
    pub fn computed_for(&self, endpoint: u32) -> Option<&Computed> {
        self.computed.iter().find(|computed| computed.endpoint == endpoint)
    }

    /// The lines of the application at which threads computed for an endpoint, the most first.
    pub fn computed_lines(&self, computed: &Computed) -> Vec<ComputedAt> {
        computed.lines(|number| self.place(Some(number)))
    }

    /// The lines of the application at which threads slept for an endpoint, the longest first.
    pub fn waited_lines(&self, waited: &Waited) -> Vec<WaitedAt> {
        waited.lines(|number| self.place(Some(number)))
    }

    /// The endpoint that computed most, and the function in which it did that most, with the samples of both.
    pub fn computes_most(&self) -> Option<(&str, &Computed, ComputedAt)> {
        let computed = self.computed.iter().find(|computed| computed.endpoint > 0)?;
        let most = computed.functions(|number| self.place(Some(number))).into_iter().next()?;
        Some((self.endpoint(computed.endpoint)?, computed, most))
    }

    /// Leaves of computing have the place of the line that most samples of their endpoint are at, and say
    /// whether most were in a collection of garbage.
    pub fn place_computing(&mut self) {
        let mostly: Vec<(u32, Option<u32>, bool)> = self
            .computed
            .iter()
            // Threads without a request do different things.
            .filter(|computed| computed.endpoint > 0)
            .map(|computed| {
                let most = self.computed_lines(computed).into_iter().next();
                let most = most.filter(|most| is_most(most.samples, computed.samples));
                (computed.endpoint, most.map(|most| most.place), computed.is_collecting())
            })
            .collect();
        let of_requests = self.of_requests.iter_mut().map(|wait| &mut wait.time);
        for time in self.leaves.iter_mut().chain(of_requests) {
            let is_python = time.leaf.kind == LeafKind::Computing && time.leaf.system_call < 0;
            let known = mostly.iter().find(|(endpoint, ..)| *endpoint == time.leaf.endpoint);
            if let Some((_, place, is_collecting)) = known.filter(|_| is_python) {
                time.place = place.or(time.place);
                time.is_collecting = *is_collecting;
            }
        }
    }

    /// Numbers of all places that are named, ascending.
    pub fn numbers_of_places(&self) -> impl Iterator<Item = u32> + use<> {
        let of_hops = |time: &LeafTime| {
            let hops = time.example.iter().flat_map(|example| &example.hops);
            hops.filter_map(|hop| hop.place).collect::<Vec<u32>>()
        };
        let times = self.leaves.iter().chain(self.of_requests.iter().map(|wait| &wait.time));
        let numbers =
            times.flat_map(|time| of_hops(time).into_iter().chain(time.place).chain(time.waited_at));
        let computed = self.computed.iter().flat_map(|computed| &computed.places);
        let waited = self.waited.iter().flat_map(|waited| &waited.places);
        let of_requests = self.whereabouts.iter().flat_map(|of| {
            let computed = of.computed.places.iter().map(|at| at.place);
            computed.chain(of.was.map(|was| was.place()))
        });
        let numbers = numbers.chain(computed.map(|at| at.place)).chain(waited.map(|at| at.place));
        let numbers = numbers.chain(of_requests);
        numbers.collect::<std::collections::BTreeSet<u32>>().into_iter()
    }
}
