//! The second product: aggregates of one window, immutable once made.
//!
//! In: finished requests, slots, threads, facts. Out: [`Snapshot`], the only thing findings and reports look
//! at beside the timeline. Nothing here is serialised as it stands: `report` has its own types.

pub mod beside_free;
pub mod by_worker;
pub mod capacity;
pub mod chain;
pub mod chain_group;
pub mod computed;
pub mod dropped;
pub mod event_loop;
pub mod front_end;
pub mod gil;
pub mod gil_contender;
pub mod gil_method;
pub mod gil_place;
pub mod gil_waits;
pub mod hops;
pub mod independence;
pub mod lasting;
pub mod latency;
pub mod lengths;
pub mod life;
pub mod losses;
pub mod more_slots;
pub mod now;
pub mod over_time;
pub mod path_shape;
pub mod queue;
pub mod request;
pub mod request_start;
pub mod round_trips;
pub mod slot;
pub mod spread;
pub mod thread_state;
pub mod trace_context;
pub mod waited;
pub mod waiter;
pub mod wake;
pub mod whereabouts;

use crate::fact::container::Container;
use crate::fact::left_out::LeftOut;
use crate::fact::{
    Attached, CgroupCpu, CgroupMemory, EndReason, ListenerSeen, ListenerWakes, Overhead, SessionStarted,
};
use crate::phase::{Phase, Phases};
use lasting::{Lasting, Open};
use latency::Latency;
pub use losses::Losses;
use slot::Slots;
use spread::Spread;

/// Requests by endpoint.
#[derive(Clone, Debug, Default)]
pub struct ByEndpoint {
    /// Per method, path shape and status class.
    pub list: Vec<Endpoint>,
    /// Endpoints beyond the bound, added up.
    pub others: Option<Endpoint>,
}

/// Listening sockets, and what the kernel counted of them.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// What the network namespaces of the target counted of their listeners.
    pub networks: Vec<queue::Network>,
}

/// How much of the window was seen, and what that took.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// What was lost, late, evicted or impossible.
    pub losses: Losses,
    /// How well the laws held.
    pub conservation: Conservation,
    /// Phases that this run could not measure, with the reason.
    pub not_measured: Vec<(Phase, String)>,
    /// What the target does that cannot be seen from here, one sentence each.
    pub blind_spots: Vec<String>,
    /// What the profiler cost.
    pub overhead: Option<Overhead>,
    /// What was left out for that, in or before the window.
    pub left_out: Vec<LeftOut>,
}

/// Everything known about one window.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Who watched what.
    pub session: SessionStarted,
    /// The attach report.
    pub attached: Attached,
    /// Start, end and why.
    pub window: Window,
    /// The server, as recognised.
    pub server: Server,
    /// Requests in all.
    pub requests: Requests,
    /// Slots and capacity.
    pub slots: Slots,
    /// Capacity by worker process, with what its requests did and its memory.
    pub capacity: capacity::Capacity,
    /// The interpreter lock: who waited for it.
    pub gil: gil::Gil,
    /// Where requests' time was, in the end.
    pub chains: chain::Chains,
    /// Event loops that served.
    pub event_loops: Vec<event_loop::EventLoop>,
    /// What stands before the server, where that is traced.
    pub front_end: Option<front_end::FrontEnd>,
    /// What became of connections.
    pub dropped: dropped::Dropped,
    /// Processes and their threads.
    pub processes: Vec<Process>,
    /// CPU quota at the start and end of the window, per cgroup.
    pub cgroups: Vec<CgroupWindow>,
    /// Share of all CPUs of the machine that was not idle; `None`: not known.
    pub machine_busy_ratio: Option<f64>,
    /// Limit of memory of the target's cgroup, and what was in use at the end of the window.
    pub memory: Option<CgroupMemory>,
    /// The container that the target runs in.
    pub container: Option<Container>,
    /// Requests by endpoint.
    pub by_endpoint: ByEndpoint,
    /// Listening sockets.
    pub sockets: Sockets,
    /// How much was seen, and what that took.
    pub coverage: Coverage,
}

impl Snapshot {
    /// Whether it is seen who waits in accept queues. Light mode needs a kernel that shows it, though it has
    /// no phase for it.
    pub fn shows_accept_queues(&self) -> bool {
        let is_missing = self.coverage.not_measured.iter().any(|(phase, _)| *phase == Phase::AcceptQueue);
        self.attached.is_light() || !is_missing
    }
}

/// The stretch of time the report speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Start, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// End, `CLOCK_MONOTONIC`.
    pub end_ns: u64,
    /// Why it ended; `None`: the recording was cut off.
    pub end_reason: Option<EndReason>,
}

impl Window {
    /// Length of the window.
    pub const fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// Where a piece of configuration is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the command line or the environment.
    Configured,
    /// The server's documented default, as nothing said otherwise.
    Default,
    /// From behaviour seen in the window.
    Inferred,
}

impl Origin {
    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Default => "default",
            Self::Inferred => "inferred",
        }
    }
}

/// One setting of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As the server names it (`workers`, `threads`, `keepalive`).
    pub name: String,
    /// Its value, as text.
    pub value: String,
    /// Where it is known from.
    pub origin: Origin,
}

/// The server as recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `gunicorn`, or `unknown`.
    pub name: String,
    /// Version, where it is known.
    pub version: Option<String>,
    /// Kind of worker: `sync`, `gthread`, … or `unknown`.
    pub worker_class: String,
    /// Python version, where it is known.
    pub python_version: Option<String>,
    /// Settings, known and inferred.
    pub settings: Vec<Setting>,
}

impl Server {
    /// Whether no kind of server recognised it.
    pub fn is_unknown(&self) -> bool {
        self.name.is_empty() || self.name == "unknown"
    }

    /// Value of a setting as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.settings.iter().find(|s| s.name == name).and_then(|s| s.value.parse().ok())
    }
}

/// Requests of the window, in all.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Requests that ended inside the window.
    pub completed: u64,
    /// Requests still open at its end.
    pub open: Open,
    /// Connections that became something else.
    pub lasting: Vec<Lasting>,
    /// Of all: those whose beginning was not seen.
    pub truncated: u64,
    /// Of all: those framed by inference.
    pub inferred_framing: u64,
    /// Exchanges that could not be read: encrypted (TLS in the server), or not HTTP.
    pub not_http: u64,
    /// Completed requests by status code (0: no status seen).
    pub by_status: Vec<(u16, u64)>,
    /// `total_ns` of completed requests whose beginning was seen.
    pub total: Latency,
    /// `service_ns` of the same.
    pub service: Latency,
    /// Phases of all requests, open ones included: request-seconds.
    pub phases: Phases,
    /// The part of their waits for locks that a thread ended which they had started themselves: it was that
    /// thread which they waited for.
    pub helper_wait_ns: u64,
    /// How far means over completed requests can be trusted.
    pub spread: Spread,
    /// How long they were on their way before the server, by a header of theirs.
    pub request_starts: request_start::RequestStarts,
    /// Bytes received, heads and bodies.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Client connections seen.
    pub connections: u64,
    /// What threads had to do with back ends while it was not known for which request; no round trips.
    pub unattributed: round_trips::RoundTrips,
    /// The slowest requests, slowest first (bounded).
    pub slowest: Vec<request::Request>,
    /// Time in which there was something to do: stretches with requests, pauses of up to a second between
    /// them included; 0: not known.
    pub load_ns: u64,
    /// Largest number of requests in flight at one moment.
    pub peak_in_flight: u32,
}

/// One endpoint: method, path shape, status class.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// Method; empty for what is not HTTP.
    pub method: String,
    /// Path with numeric and UUID segments folded. Hostile input.
    pub path_shape: String,
    /// Status code (0: none seen).
    pub status: u16,
    /// Requests.
    pub count: u64,
    /// `total_ns`.
    pub total: Latency,
    /// `service_ns`.
    pub service: Latency,
    /// Where their time went.
    pub phases: Phases,
    /// Further ones, which had not ended with the window.
    pub open: Open,
    /// What they had to do with back ends; of requests on event loops nothing is counted.
    pub round_trips: round_trips::RoundTrips,
    /// Their waits for back ends, by when they ended.
    pub waits: over_time::OverTime,
    /// How long each process that served them took.
    pub by_worker: by_worker::ByWorker,
    /// How far means over them can be trusted.
    pub spread: Spread,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

/// One listening socket, however many processes hold it.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    /// As seen first.
    pub seen: ListenerSeen,
    /// Processes that hold it.
    pub holders: Vec<u32>,
    /// Processes that are not traced and hold it too, with their names (hostile input): what they accept is
    /// not seen.
    pub foreign: Vec<(u32, String)>,
    /// Nobody of the target held it any more when the window ended.
    pub is_closed: bool,
    /// Light mode: of it only who holds it and its queue's depth are known. What counts calls and wakeups is
    /// 0 or empty below, and means nothing.
    pub is_queue_alone: bool,
    /// Connections accepted from it in the window.
    pub accepted: u64,
    /// Accept calls that found nothing (`EAGAIN`).
    pub accepts_empty: u64,
    /// Accept calls that failed otherwise.
    pub accepts_failed: u64,
    /// From the end of a connection's handshake (with deferred accept: from its first data) to accept's
    /// return.
    pub accept_wait: Latency,
    /// Waits that returned for nothing: the first accept after them found that somebody else had the
    /// connection.
    pub empty_returns: u64,
    /// On-CPU time of these from the wait's return to the next wait.
    pub empty_returns_cpu_ns: u64,
    /// What arrivals set in motion in the window; `None`: not measured.
    pub wakes: Option<ListenerWakes>,
    /// The accept queue over the window; `None`: this kernel does not report it.
    pub queue: Option<queue::Queue>,
    /// The listener holds connections back until their first data come (`TCP_DEFER_ACCEPT`): they arrive only
    /// then.
    pub is_deferred: bool,
    /// What became of the threads that they woke; `None`: nobody was woken, or it is not known.
    pub woken: Option<wake::Woken>,
    /// Who waits for it.
    pub waiters: Vec<waiter::Waiters>,
    /// Connections accepted by each process that holds it, where it accepted or waits.
    pub accepted_by: Vec<(u32, u64)>,
    /// Connections that waited in a full worker beside a free one; `None`: no two processes accept here.
    pub beside_free: Option<beside_free::BesideFree>,
    /// Further listeners on the same address (SO_REUSEPORT): a group, with a queue each.
    pub siblings: u32,
}

impl Listener {
    /// Traced threads woken for each connection that arrived; `None`: not measured, or none arrived.
    pub fn woken_per_connection(&self) -> Option<f64> {
        let wakes = self.wakes.filter(|wakes| wakes.arrivals > 0)?;
        Some(wakes.woken as f64 / wakes.arrivals as f64)
    }

    /// Wakeups that found nothing: in the kernel, or back in user space.
    pub fn woken_in_vain(&self) -> u64 {
        self.wakes.map_or(0, |wakes| wakes.slept_again).saturating_add(self.empty_returns)
    }

    /// On-CPU time of these, in nanoseconds.
    pub fn in_vain_cpu_ns(&self) -> u64 {
        self.wakes.map_or(0, |wakes| wakes.slept_again_cpu_ns).saturating_add(self.empty_returns_cpu_ns)
    }
}

/// One process of the target.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Process.
    pub tgid: u32,
    /// Parent.
    pub parent_tgid: u32,
    /// Name. Hostile input.
    pub comm: String,
    /// `master`, `worker`, or `unknown`.
    pub role: String,
    /// Ended within the window, with the kernel's exit code.
    pub exit_code: Option<i64>,
    /// Requests it served.
    pub requests: u64,
    /// Threads, by our account over the window.
    pub threads: Vec<Thread>,
}

/// One thread and where its time went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Thread.
    pub tid: u32,
    /// Name. Hostile input.
    pub comm: String,
    /// Slices seen.
    pub slices: u64,
    /// On-CPU time in the window.
    pub cpu_ns: u64,
    /// Run-queue time in the window.
    pub run_queue_ns: u64,
    /// Sleep in the window.
    pub blocked_ns: u64,
    /// Requests it served.
    pub requests: u64,
}

/// A cgroup's quota over the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupWindow {
    /// First reading.
    pub first: CgroupCpu,
    /// Last reading.
    pub last: CgroupCpu,
}

/// How well the conservation laws held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conservation {
    /// Slices whose inner or gap account did not add up.
    pub slices_broken: u64,
    /// Slices checked.
    pub slices: u64,
    /// Requests whose phases did not add up.
    pub requests_broken: u64,
    /// On-CPU time by our account, over the threads that could be compared.
    pub cpu_ns: u64,
    /// On-CPU time of these threads by `schedstat`.
    pub kernel_cpu_ns: u64,
    /// Run-queue time by our account.
    pub run_queue_ns: u64,
    /// Run-queue time of these threads by `schedstat`.
    pub kernel_run_queue_ns: u64,
    /// Time off the CPU by our account of which some part was something else: a wakeup or a switch was not
    /// seen.
    pub undecided_ns: u64,
    /// CPU time that a hypervisor took meanwhile: `schedstat` may count that much less CPU than we do.
    pub stolen_ns: u64,
    /// Time of interrupts meanwhile, where the kernel takes it out of its tasks' CPU time: as `stolen_ns`.
    pub interrupt_ns: u64,
    /// Threads compared.
    pub threads_compared: u64,
    /// Records handed to the ring according to the kernel side (0: no counters in the stream).
    pub emitted: u64,
    /// Records received.
    pub received: u64,
}
