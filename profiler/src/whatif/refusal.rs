//! Why a recording gives no forecast.
//!
//! In: the snapshot of a replay, the trace. Out: [`Refusal`]s, one sentence each.

use profiler_core::model::slot::Holding;
use profiler_core::model::{Origin, Snapshot};
use profiler_core::phase::{Phase, Phases};
use profiler_core::server::{Inside, kind_named};

use super::others::Others;
use super::trace::{ON_CPU, Trace};

/// Fewer requests than this say little of a p99.
const MIN_REQUESTS: u64 = 500;
/// The window must be longer than the longest request by this factor.
const MIN_LONGEST: u64 = 3;
/// From this share of the window with all slots busy on, the arrivals are no longer those that would be at
/// another setting.
const MAX_EXHAUSTED_RATIO: f64 = 0.9;
/// Between two readings of the machine's CPU time lies what others took.
const MIN_READINGS: usize = 2;
/// So many requests must have come, and waited, while all slots that were seen were busy, to show that there
/// are no more.
const MIN_WHILE_BUSY: u64 = 5;
/// More CPU time than this would be simulated for hours: it is that of 22 hours of a core.
const MAX_CPU_NS: u64 = 80_000_000_000_000;
/// Connections without a request may hold this share of busy slot time.
const MAX_SILENT_RATIO: f64 = 0.02;

/// Why there is no forecast.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Light mode.
    #[error(
        "it was recorded in light mode, which does not see what requests do in order: record without --light"
    )]
    Light,
    /// Event loops.
    #[error("its requests are served by an event loop, which this model does not know")]
    EventLoop,
    /// A front end.
    #[error(
        "a front end was recorded with the server. This model knows only Apache before mod_wsgi's daemon processes: record the server alone"
    )]
    FrontEnd,
    /// It answers itself.
    #[error(
        "the front end answered {percent} % of the requests itself, such as files: what they take is not in the model"
    )]
    OwnAnswers {
        /// That share.
        percent: u32,
    },
    /// Losses.
    #[error("records were lost: record again, for a shorter time or under less load")]
    Losses,
    /// Too few requests.
    #[error("it has {completed} completed requests, and a forecast needs {MIN_REQUESTS}: record for longer")]
    TooFew {
        /// Requests that ended in the window.
        completed: u64,
    },
    /// Too short.
    #[error("its window is shorter than {MIN_LONGEST} times its longest request: record for longer")]
    TooShort,
    /// Too long.
    #[error("it has more requests, or more CPU time, than are simulated: record for a shorter time")]
    TooLong,
    /// At saturation.
    #[error(
        "all slots were busy for {percent} % of the window: when requests would arrive at another setting is not known; record under less load"
    )]
    Saturated {
        /// That share.
        percent: u32,
    },
    /// No number of slots.
    #[error("its server has no fixed number of slots")]
    NoSlots,
    /// The number of slots not read, and not shown.
    #[error(
        "its settings do not say how many slots it has: {count} were seen, too rarely all busy to show that there are no more; record under more load"
    )]
    InferredSlots {
        /// Slots that were seen.
        count: u32,
    },
    /// Processes with different numbers of slots.
    #[error("its processes have different numbers of slots, which this model does not know")]
    Uneven,
    /// Arrivals not seen.
    #[error("this kernel did not show when requests arrive: record on Linux 6.3 or newer")]
    NoArrivals,
    /// The machine's CPU time not recorded.
    #[error("what other programs took of the CPUs is not in it: record it again")]
    NoMachine,
    /// Others took the CPUs.
    #[error(
        "other programs took more than half of the CPU time and left none idle: what they would leave at another setting is not known"
    )]
    TakenByOthers,
    /// The lock not seen.
    #[error(
        "waits for the GIL were not measured, and processes have several threads: record with --gil=auto"
    )]
    NoLock,
    /// Connections that hold slots.
    #[error(
        "connections without a request held slots for {percent} % of their busy time, which this model does not know"
    )]
    Silent {
        /// That share.
        percent: u32,
    },
}

impl Refusal {
    /// Not even the recorded setting can be simulated.
    pub const fn has_no_model(&self) -> bool {
        matches!(
            self,
            Self::Light | Self::EventLoop | Self::FrontEnd | Self::TooLong | Self::NoSlots | Self::Uneven
        )
    }
}

/// All reasons against a forecast; none: there may be one.
pub fn refusals(snapshot: &Snapshot, trace: &Trace) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let slots = &snapshot.slots;
    let mut check = |is_so: bool, refusal: Refusal| {
        if is_so {
            refusals.push(refusal);
        }
    };
    let is_measured = |phase: Phase| !snapshot.coverage.not_measured.iter().any(|(other, _)| *other == phase);
    let is_light = snapshot.attached.is_light();
    let is_loop = slots.are_loops() || (!snapshot.event_loops.is_empty() && !is_served_by_slots(trace));
    check(is_light, Refusal::Light);
    check(is_loop, Refusal::EventLoop);
    check(snapshot.front_end.is_some() && !is_one_server(snapshot), Refusal::FrontEnd);
    let own_answers = ratio_of_own_answers(snapshot, trace);
    check(own_answers > MAX_SILENT_RATIO, Refusal::OwnAnswers { percent: percent(own_answers) });
    check(snapshot.coverage.losses.any(), Refusal::Losses);
    let completed = snapshot.requests.completed;
    check(completed < MIN_REQUESTS, Refusal::TooFew { completed });
    let longest_ns = snapshot.requests.total.max_ns();
    check(snapshot.window.length_ns() < longest_ns.saturating_mul(MIN_LONGEST), Refusal::TooShort);
    check(trace.is_cut || cpu_ns(snapshot, trace) > MAX_CPU_NS, Refusal::TooLong);
    if is_light || is_loop {
        return refusals;
    }
    let exhausted = ratio(slots.exhausted_ns, snapshot.window.length_ns());
    check(exhausted >= MAX_EXHAUSTED_RATIO, Refusal::Saturated { percent: percent(exhausted) });
    let count = slots.count();
    let per_process = slots_per_process(snapshot);
    check(slots.come_and_go || count == 0 || per_process == 0, Refusal::NoSlots);
    check(has_inferred_slots(snapshot), Refusal::InferredSlots { count });
    check(per_process > 0 && is_uneven(snapshot, per_process), Refusal::Uneven);
    check(!is_measured(Phase::AcceptQueue), Refusal::NoArrivals);
    check(trace.machine.len() < MIN_READINGS, Refusal::NoMachine);
    check(Others::of(snapshot, trace, 0).took_all, Refusal::TakenByOthers);
    check(per_process > 1 && !is_measured(Phase::GilWait), Refusal::NoLock);
    // What slots do after each response, lingering too, is in the model.
    let silent_ns = [Holding::FirstByte, Holding::KeepaliveIdle, Holding::Upgraded, Holding::Stream]
        .into_iter()
        .fold(0_u64, |sum, holding| sum.saturating_add(slots.held_ns(holding)));
    let silent = ratio(silent_ns, slots.busy_ns());
    check(silent > MAX_SILENT_RATIO, Refusal::Silent { percent: percent(silent) });
    refusals
}

/// CPU time of the server's threads, or of its requests if that is more: in a damaged recording both can be
/// anything.
fn cpu_ns(snapshot: &Snapshot, trace: &Trace) -> u64 {
    let sum_ns = |times: &mut dyn Iterator<Item = u64>| times.fold(0, u64::saturating_add);
    let threads = snapshot.processes.iter().flat_map(|process| &process.threads);
    let of_requests = |phases: &Phases| sum_ns(&mut ON_CPU.iter().map(|phase| phases.get(*phase)));
    sum_ns(&mut threads.map(|thread| thread.cpu_ns))
        .max(sum_ns(&mut trace.requests.iter().map(|request| of_requests(&request.phases))))
}

/// Whether some processes have more slots than others. Where each is counted once, by their numbers; where
/// some were replaced, by the sum.
fn is_uneven(snapshot: &Snapshot, per_process: u32) -> bool {
    let count = snapshot.slots.count();
    let slots = || snapshot.capacity.workers.iter().map(|worker| worker.slots).filter(|slots| *slots > 0);
    let is_each_once = slots().fold(0, u32::saturating_add) == count;
    count.checked_rem(per_process) != Some(0) || is_each_once && slots().any(|slots| slots != per_process)
}

/// The share of requests that a front end answered without the server.
fn ratio_of_own_answers(snapshot: &Snapshot, trace: &Trace) -> f64 {
    let own = trace.requests.iter().filter(|request| request.slot.is_none()).count();
    if snapshot.front_end.is_none() { 0.0 } else { own as f64 / trace.requests.len().max(1) as f64 }
}

/// Whether the front end is a part of the server itself, such as Apache before the daemon processes of
/// mod_wsgi.
fn is_one_server(snapshot: &Snapshot) -> bool {
    let server = &snapshot.server;
    let parent = |tgid: u32| {
        let mut processes = snapshot.processes.iter();
        processes.find(|process| process.tgid == tgid).map(|process| process.parent_tgid)
    };
    let mut fronts = snapshot.front_end.iter().flat_map(|front| &front.tgids);
    let workers: Vec<u32> =
        snapshot.capacity.workers.iter().filter_map(|worker| parent(worker.tgid)).collect();
    kind_named(&server.name).inside(server) == Inside::PrivateOverUnix
        && fronts.all(|tgid| parent(*tgid).is_some_and(|parent| workers.contains(&parent)))
}

/// Whether slots write the responses themselves, 19 of 20 at least, beside an event loop. Such a loop reads
/// and hands over to a pool of threads, as gthread's main thread does (Waitress). Otherwise it has a part in
/// each request that this model does not know.
fn is_served_by_slots(trace: &Trace) -> bool {
    let served = trace.requests.iter().filter(|request| request.slot.is_some());
    let own = served.clone().filter(|request| {
        // What a front end did is not asked.
        let mut stretches = request.stretches.iter().filter(|stretch| stretch.tgid == request.tgid);
        stretches.next_back().is_some_and(|last| last.tid == request.tid)
    });
    own.count().saturating_mul(20) > served.count().saturating_mul(19)
}

/// Whether the number of slots is only what was seen. Processes are all seen; threads of a pool may not have
/// been needed yet. Where requests came while all were busy and no further thread was made, there are no
/// more.
fn has_inferred_slots(snapshot: &Snapshot) -> bool {
    let is_inferred = |name: &str| {
        let mut settings = snapshot.server.settings.iter();
        settings.any(|setting| setting.name == name && setting.origin == Origin::Inferred)
    };
    let slots = &snapshot.slots;
    let is_shown = snapshot.capacity.arrived_full.is_some_and(|came| came >= MIN_WHILE_BUSY);
    slots.count() > 0 && (slots.configured.is_none() || is_inferred("threads")) && !is_shown
}

/// Slots of the process that has the most.
pub(super) fn slots_per_process(snapshot: &Snapshot) -> u32 {
    snapshot.capacity.workers.iter().map(|worker| worker.slots).max().unwrap_or(0)
}

fn ratio(part_ns: u64, whole_ns: u64) -> f64 {
    if whole_ns == 0 { 0.0 } else { part_ns as f64 / whole_ns as f64 }
}

fn percent(ratio: f64) -> u32 {
    (ratio * 100.0).round() as u32
}
