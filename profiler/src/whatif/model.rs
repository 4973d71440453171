//! The model of a recording: what was asked of the server, and the setting that it had.
//!
//! In: the snapshot and the trace of a replay. Out: [`Model`]. Nothing of it is fitted to the recorded
//! response times: costs come from accounts of CPU time, and from requests that found the server empty.

use std::collections::{BTreeMap, HashMap, HashSet};

use profiler_core::event::Tid;
use profiler_core::model::path_shape::path_shape;
use profiler_core::model::request::Request as Seen;
use profiler_core::model::{Process, Snapshot};
use profiler_core::phase::Phase;
use profiler_core::server::{AcceptOrder, kind_named};
use profiler_forecast::bounds::Measured;
use profiler_forecast::figures::Timed;
use profiler_forecast::load::{Arrives, Load, Request, Row, Segment, Work};
use profiler_forecast::setting::{Dispatch, Errands, Setting, Wakes};

use super::afterwards::afterwards;
use super::errands::errands;
use super::front::{FRONT_END, front};
use super::handover::{by_calls, by_ends};
use super::others::Others;
use super::refusal::slots_per_process;
use super::release::Wanted;
use super::row::{BackEnds, row};
use super::taken::{is_whole, slot_wait_ns};
use super::trace::{ON_CPU, Trace};
use super::waits::Waits;
use super::wakeup::wakeup_ns;

/// Requests on one connection, in the mean, from which on clients are taken for users who think.
const KEPT: usize = 5;
/// Requests that found the server empty from which on these say what it takes to pick one up.
const MIN_EMPTY: usize = 20;
const NS_PER_S: u64 = 1_000_000_000;

/// When requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// When they did, whatever the server does.
    Open,
    /// So long after the response before on the same connection as they did.
    Closed,
}

impl Arrivals {
    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// A recording as a load and a setting.
#[derive(Clone, Debug)]
pub struct Model {
    /// What was asked.
    pub load: Load,
    /// Of whom.
    pub setting: Setting,
    /// When requests arrive.
    pub arrivals: Arrivals,
    /// The requests that count, as measured.
    pub measured: Vec<Timed>,
    /// The same and those that nobody is known to have served, for bounds.
    pub bounded: Vec<Measured>,
    /// How many cores other programs kept busy while it was recorded, the profiler among them; `None`: that
    /// was not recorded.
    pub others_cores: Option<f64>,
}

/// A CPU cost of a request beside its own phases.
struct Costs {
    /// Of the thread that dispatches.
    dispatch_ns: u64,
    /// Of the thread that served, after the response or before the request.
    after_ns: u64,
}

impl Model {
    /// Of a replay. `arrivals`: how requests arrive, if that is to be as somebody says.
    pub fn of(snapshot: &Snapshot, trace: &Trace, arrivals: Option<Arrivals>) -> Self {
        let mut names = Names::default();
        let whole = trace.requests.iter().filter(|request| is_whole(request));
        let bounded = whole
            .map(|request| Measured { endpoint: names.number(request), phases: request.phases })
            .collect();
        // Nobody took one without a slot: it is no load.
        let mut seen: Vec<&Seen> = trace.requests.iter().filter(|request| request.slot.is_some()).collect();
        seen.sort_by_key(|request| (request.times.start_ns, request.id));
        let first_ns = seen.first().map_or(0, |request| request.times.start_ns);
        let process_of = processes(snapshot);
        let is_shared = is_shared(&seen, trace, snapshot);
        let costs = costs(snapshot, &seen);
        let pickups = Pickups::of(&seen);
        let waits = Waits::of(trace, &process_of);
        // Those that accept for themselves are written in C, or have one thread.
        let handovers = if is_shared { by_ends(trace, &process_of) } else { by_calls(trace, &waits) };
        let wanted = Wanted { waits: &waits, handovers_ns: &handovers.usual_ns };
        let (dispatch, dispatched_ns) = if is_shared {
            (Dispatch::Shared(wakes(snapshot)), 0)
        } else {
            let errands = errands_of((trace, wanted), (&seen, &process_of), &costs, pickups.usual_ns);
            let before_ns =
                errands.before.iter().map(|segment| segment.duration_ns).fold(0, u64::saturating_add);
            (Dispatch::ByProcess(errands), before_ns)
        };
        let arrivals = arrivals.unwrap_or(if kept(&seen) { Arrivals::Closed } else { Arrivals::Open });
        let mut back_ends = BackEnds::default();
        let mut requests: Vec<Request> = Vec::with_capacity(seen.len());
        for ((number, request), arrives) in seen.iter().enumerate().zip(arrives(&seen, arrivals)) {
            requests.push(Request {
                endpoint: names.number(request),
                connection: request.connection,
                arrives,
                is_counted: is_whole(request),
                row: Row {
                    // What the dispatching thread does is no wait.
                    pickup_ns: pickups.of_request(number).saturating_sub(dispatched_ns),
                    ..row(request, trace, &mut back_ends)
                },
            });
        }
        let measured = seen.iter().zip(&requests).filter(|(_, request)| request.is_counted);
        let measured = measured.map(|(seen, request)| Timed {
            endpoint: request.endpoint,
            start_ns: seen.times.start_ns,
            phases: seen.phases,
        });
        let others = Others::of(snapshot, trace, first_ns);
        let setting = setting(snapshot);
        let wakeup_ns = wakeup_ns(&seen, &requests, setting.turns.slice_ns);
        Self {
            measured: measured.collect(),
            load: Load {
                requests,
                after: afterwards(trace, &seen, (costs.after_ns, !handovers.usual_ns.is_empty()), wanted),
                front: front(snapshot, trace, &seen),
                endpoints: names.list,
                back_ends: back_ends.names(),
            },
            setting: Setting {
                is_sticky: !is_shared,
                dispatch,
                handovers_ns: handovers.usual_ns,
                quick_handovers_ns: handovers.quick_ns,
                wakeup_ns,
                competition: others.competition,
                ..setting
            },
            arrivals,
            bounded,
            others_cores: others.cores,
        }
    }
}

/// When each request arrives; they are in the order in which they did.
fn arrives(seen: &[&Seen], arrivals: Arrivals) -> Vec<Arrives> {
    let first_ns = seen.first().map_or(0, |request| request.times.start_ns);
    let mut before: HashMap<u64, (usize, u64)> = HashMap::new();
    let arrives = seen.iter().enumerate().map(|(number, request)| {
        let at_ns = request.times.start_ns;
        match before.insert(request.connection, (number, request.times.end_ns)) {
            Some((request, end_ns)) if arrivals == Arrivals::Closed => {
                Arrives::After { request, think_ns: at_ns.saturating_sub(end_ns) }
            }
            _ => Arrives::At(at_ns.saturating_sub(first_ns)),
        }
    });
    arrives.collect()
}

fn setting(snapshot: &Snapshot) -> Setting {
    let threads = slots_per_process(snapshot).max(1);
    let processes = (snapshot.slots.count() / threads).max(1);
    Setting { processes, threads, quota_ns: quota_ns(snapshot), ..Setting::default() }
        .on_cores(snapshot.session.cpu_count.max(1))
}

/// The CPU time that the server may take in a second, by the smallest quota of its cgroups.
fn quota_ns(snapshot: &Snapshot) -> Option<u64> {
    let quotas = snapshot.cgroups.iter().filter_map(|cgroup| {
        let period_us = cgroup.last.period_us;
        cgroup.last.quota_us?.saturating_mul(NS_PER_S).checked_div(period_us)
    });
    quotas.min()
}

/// Those that serve also accept: by who called accept, or by where requests waited, if nobody did.
fn is_shared(seen: &[&Seen], trace: &Trace, snapshot: &Snapshot) -> bool {
    let serving: HashSet<Tid> = seen.iter().map(|request| request.tid).collect();
    let fronts = snapshot.processes.iter().filter(|process| process.role == FRONT_END);
    let fronts: HashSet<Tid> =
        fronts.flat_map(|process| process.threads.iter().map(|thread| thread.tid)).collect();
    let sum = |counts: &dyn Fn(&Tid) -> bool| {
        let counted = trace.accepts.iter().filter(|(tid, _)| counts(tid)).map(|(_, count)| *count);
        counted.fold(0, u64::saturating_add)
    };
    // A front end accepts for itself.
    let all = sum(&|tid| !fronts.contains(tid));
    if all > 0 {
        let own = sum(&|tid| serving.contains(tid));
        return own.saturating_mul(2) >= all;
    }
    let waited =
        |phase: Phase| seen.iter().map(|request| request.phases.get(phase)).fold(0, u64::saturating_add);
    waited(Phase::AcceptQueue) >= waited(Phase::PoolWait).saturating_add(waited(Phase::LoopWait))
}

/// Which process takes the next connection.
fn wakes(snapshot: &Snapshot) -> Wakes {
    match kind_named(&snapshot.server.name).accept_order(&snapshot.server) {
        AcceptOrder::Any => Wakes::Random,
        AcceptOrder::FirstOfTwo => Wakes::FirstOfTwo,
        AcceptOrder::InTurn => Wakes::InTurn,
    }
}

/// Whether most requests come on connections that are kept for several.
fn kept(seen: &[&Seen]) -> bool {
    let connections: HashSet<u64> = seen.iter().map(|request| request.connection).collect();
    seen.len() >= connections.len().saturating_mul(KEPT) && !seen.is_empty()
}

/// CPU time of the serving processes that is in no request's phases.
fn costs(snapshot: &Snapshot, seen: &[&Seen]) -> Costs {
    let serving: HashSet<Tid> = seen.iter().map(|request| request.tid).collect();
    let (mut of_slots_ns, mut of_others_ns) = (0_u64, 0_u64);
    let serves = |process: &&Process| process.requests > 0 && process.role != FRONT_END;
    for process in snapshot.processes.iter().filter(serves) {
        for thread in &process.threads {
            let sum_ns = if serving.contains(&thread.tid) { &mut of_slots_ns } else { &mut of_others_ns };
            *sum_ns = sum_ns.saturating_add(thread.cpu_ns);
        }
    }
    let in_requests = seen.iter().flat_map(|request| ON_CPU.iter().map(|phase| request.phases.get(*phase)));
    let in_requests_ns = in_requests.fold(0, u64::saturating_add);
    let count = u64::try_from(seen.len()).unwrap_or(u64::MAX).max(1);
    Costs { dispatch_ns: of_others_ns / count, after_ns: of_slots_ns.saturating_sub(in_requests_ns) / count }
}

/// The process that each thread is of.
fn processes(snapshot: &Snapshot) -> HashMap<Tid, u32> {
    let of = |process: &Process| {
        process.threads.iter().map(|thread| (thread.tid, process.tgid)).collect::<Vec<_>>()
    };
    snapshot.processes.iter().flat_map(of).collect()
}

/// What the dispatching thread does; where its rounds do not show, half of its CPU time before a request and
/// half of it after.
fn errands_of(
    (trace, wanted): (&Trace, Wanted<'_>),
    (seen, process_of): (&[&Seen], &HashMap<Tid, u32>),
    costs: &Costs,
    usual_ns: u64,
) -> Errands {
    let handover_ns = wanted.handovers_ns.get(wanted.handovers_ns.len() / 2).copied().unwrap_or(0);
    let shown = errands(trace, seen, process_of, (costs.dispatch_ns, handover_ns), wanted);
    shown.unwrap_or_else(|| {
        let before_ns = (costs.dispatch_ns / 2).min(usual_ns);
        let python = |duration_ns| vec![Segment { work: Work::Python, duration_ns }];
        Errands {
            before: python(before_ns),
            accept_at: 1,
            then: Vec::new(),
            after: python(costs.dispatch_ns.saturating_sub(before_ns)),
        }
    })
}

/// How long it takes a free slot to pick a request up: as long as those waited that found the server empty.
struct Pickups {
    /// By request; `None`: others were in flight.
    own_ns: Vec<Option<u64>>,
    usual_ns: u64,
}

impl Pickups {
    fn of(seen: &[&Seen]) -> Self {
        let mut last_end_ns = 0;
        let own = seen.iter().map(|request| {
            let is_empty = request.times.start_ns >= last_end_ns;
            last_end_ns = last_end_ns.max(request.times.end_ns);
            (is_empty && is_whole(request)).then(|| slot_wait_ns(request))
        });
        let own_ns: Vec<Option<u64>> = own.collect();
        let mut empty: Vec<u64> = own_ns.iter().copied().flatten().collect();
        if empty.len() >= MIN_EMPTY {
            empty.sort_unstable();
            let usual_ns = empty.get(empty.len() / 2).copied().unwrap_or(0);
            return Self { own_ns, usual_ns };
        }
        // Nearly never empty: other waits hold what the model makes itself. What is not known is nothing.
        Self { own_ns: Vec::new(), usual_ns: 0 }
    }

    fn of_request(&self, number: usize) -> u64 {
        self.own_ns.get(number).copied().flatten().unwrap_or(self.usual_ns)
    }
}

/// Endpoints, numbered as they come.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    numbers: BTreeMap<String, usize>,
}

impl Names {
    fn number(&mut self, request: &Seen) -> usize {
        let http = &request.http;
        let name = match (http.method.as_str(), http.path.as_str()) {
            ("", _) => "head not read".to_owned(),
            (method, path) => format!("{method} {}", path_shape(path)),
        };
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        self.list.push(name.clone());
        self.numbers.insert(name, self.list.len() - 1);
        self.list.len() - 1
    }
}
