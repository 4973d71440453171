//! Who waited for the interpreter lock, and for how long.
//!
//! In: facts about interpreters, episodes of waiting. Out: [`Gil`], a part of the snapshot. By endpoint the
//! waits are in the phases of requests.

pub use super::gil_contender::Contender;
use super::gil_method::GilMethodUsed;
use super::gil_place::Places;
use super::latency::Latency;
use crate::fact::InterpreterSeen;

/// The interpreter lock over one window.
#[derive(Clone, Debug, Default)]
pub struct Gil {
    /// Why waits were not measured; `None`: they were.
    pub not_measured: Option<String>,
    /// How waits are seen.
    pub method: GilMethodUsed,
    /// The interpreters of the target's processes, by process.
    pub interpreters: Vec<InterpreterSeen>,
    /// Waits, each from its first sleep's start to its last sleep's end (run queue included).
    pub waits: Latency,
    /// The part of them in which the waiter was ready but had no CPU.
    pub run_queue_ns: u64,
    /// Waits longer than the interpreter's switch interval.
    pub past_interval: u64,
    /// Sleeps that the waits consisted of.
    pub sleeps: u64,
    /// The threads that waited longest, longest first (bounded).
    pub threads: Vec<Waiter>,
    /// Threads that waited at all.
    pub thread_count: u64,
    /// Whether the holders were read, in one process at least.
    pub holders_known: bool,
    /// Who made whom wait, costliest first (bounded).
    pub edges: Vec<Edge>,
    /// Waiting time of the pairs that are not listed.
    pub other_edges_ns: u64,
    /// Which thread made which wait, costliest first (bounded).
    pub thread_edges: Vec<ThreadEdge>,
    /// Waiting time of the pairs of threads that are not listed.
    pub other_thread_edges_ns: u64,
    /// Where in Python the holders were; `None`: nobody asked.
    pub places: Option<Places>,
    /// Each lock, the one that was waited for longest first (bounded).
    pub locks: Vec<Lock>,
}

/// Depths distinguished: the last counts all deeper ones.
pub const DEPTHS: usize = 8;

/// How holders of a lock were asked to give it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Sleeps that the switch interval ended: the waiter then asks the holder to give the lock up.
    pub timed_out: u64,
    /// Sleeps of which it is not known whether a release or the switch interval ended them.
    pub ends_unknown: u64,
    /// How often the lock had changed hands was read, so that it is known whether a request was honoured.
    pub switches_known: bool,
    /// Requests to give the lock up after which the holder kept it for longer than another switch interval.
    pub not_honoured: u64,
    /// For how long it kept it since, in all.
    pub not_honoured_ns: u64,
}

/// How waiters for a lock were passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overtaken {
    /// Sleeps that a release ended.
    pub woken: u64,
    /// Of those: another thread had the lock before the woken one came to it.
    pub missed: u64,
    /// Time waited after that.
    pub missed_ns: u64,
    /// Waits by how often they were passed over like that; the last counts all deeper ones.
    pub depths: [u64; DEPTHS],
    /// The most often that one wait was passed over.
    pub deepest: u32,
}

/// What one interpreter lock went through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    /// Process.
    pub tgid: u32,
    /// Number of the interpreter, 0: the main one.
    pub interpreter: u64,
    /// Switch interval in µs.
    pub interval_us: u64,
    /// Waits that ended in the window.
    pub waits: u64,
    /// Their sum, run queue included.
    pub wait_ns: u64,
    /// The part of it in which the waiter was ready but had no CPU.
    pub run_queue_ns: u64,
    /// Time in which somebody waited: the lock was held by another then.
    pub held_at_least_ns: u64,
    /// Time in which threads of the process had or wanted a CPU for anything but this wait: the lock was not
    /// held for longer, unless somebody slept with it. `None`: the process has several locks.
    pub held_at_most_ns: Option<u64>,
    /// Waits of threads that had been made to give the lock up because others wanted it.
    pub after_forced: u64,
    /// Waits of threads that had given it up by themselves, for a call that blocks.
    pub after_voluntary: u64,
    /// Waits by how many switch intervals they took, in the bands of mod_wsgi-telemetry: below 0.8, to 1.8,
    /// to 2.8, to 3.8, more.
    pub cycles: [u64; 5],
    /// Its contention coefficient; `None`: too few waits, or they do not fall as it supposes.
    pub convoy: Option<Convoy>,
    /// How its holders were asked to give it up.
    pub asked: Asked,
    /// How waiters were passed over.
    pub overtaken: Overtaken,
    /// What threads did between their sleeps was not seen, as in light mode: who gave the lock up by force,
    /// and who had it between two sleeps, is not known.
    pub is_between_unseen: bool,
}

/// The contention coefficient by mod_wsgi-telemetry's definition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convoy {
    /// How probable it is that a waiter gets the lock within one more switch interval: near 1 waits end
    /// soon, near 0 they chain.
    pub q: f64,
    /// How well the waits fit (R²).
    pub r2: f64,
    /// Waits that it rests on.
    pub waits: u64,
}

/// Who had the lock while a request waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What the thread was to others just then.
    pub contender: Contender,
    /// The thread; 0: not known.
    pub tid: u32,
    /// How long the request waited because of it.
    pub wait_ns: u64,
}

/// Waiting of one thread while another had the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadEdge {
    /// Process.
    pub tgid: u32,
    /// Who waited, and its name. Hostile input.
    pub waiter: (u32, String),
    /// Who had the lock, and its name; 0: not known. Hostile input.
    pub holder: (u32, String),
    /// Time waited, run queue included.
    pub total_ns: u64,
    /// Stretches of waiting that the time consists of.
    pub waits: u64,
}

/// Waiting of one contender while another had the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who waited.
    pub waiter: Contender,
    /// Who had the lock when the waiter went to sleep.
    pub holder: Contender,
    /// Time waited, run queue included.
    pub total_ns: u64,
    /// Stretches of waiting that the time consists of.
    pub waits: u64,
    /// The part of the time in which the holder had been asked to give the lock up, for longer than the
    /// switch interval.
    pub not_honoured_ns: u64,
}

/// One thread that waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiter {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Name. Hostile input.
    pub comm: String,
    /// Waits.
    pub waits: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The part of it in which the thread was ready but had no CPU.
    pub run_queue_ns: u64,
    /// The longest.
    pub longest_ns: u64,
}
