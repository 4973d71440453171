//! What somebody does at a leaf, as the end of a sentence that begins with who it is.
//!
//! In: a cause. Out: `waits for the back end port 5432`.

use profiler_core::model::chain::{Held, LeafKind, LeafTime, TakenBy};
use profiler_core::model::{Endpoint, Snapshot};
use profiler_core::phase::Phase;
use profiler_core::server::kind_named;
use profiler_core::verdict::Cause;

use crate::report::{chain_words, summary, unit};

/// What a slot of this server is called.
pub(super) fn slot(snapshot: &Snapshot) -> &'static str {
    let server = &snapshot.server;
    // Beside event loops, what a request waits for is a thread of a pool.
    if snapshot.slots.are_loops() { "thread" } else { kind_named(&server.name).slot_noun(server) }
}

/// What is done at the leaf of a cause. Hostile input.
pub(super) fn of(snapshot: &Snapshot, cause: &Cause) -> String {
    let chains = &snapshot.chains;
    let time = cause.time(chains);
    let object = chain_words::object_of(chains, cause, chain_words::Length::Short);
    let with = |words: &str| match &object {
        Some(object) => format!("{words} {object}"),
        None => words.to_owned(),
    };
    let or = |words: &str, alone: &str| match &object {
        Some(_) => with(words),
        None => alone.to_owned(),
    };
    let since = time.is_some_and(|time| time.leaf.since_before);
    let mut clause = match cause.kind {
        LeafKind::Computing if time.is_some_and(|time| time.is_collecting) => "collects garbage".to_owned(),
        LeafKind::Computing => match time.and_then(|time| chain_words::system_call(&time.leaf)) {
            Some(call) => format!("computes in {call}"),
            None => "computes".to_owned(),
        },
        LeafKind::Spinning => "spins in calls that return at once".to_owned(),
        LeafKind::Reading => "reads what its client sent".to_owned(),
        LeafKind::Writing => "writes the response".to_owned(),
        LeafKind::BackEnd => or("waits for the back end at", "waits for back ends"),
        LeafKind::NameServer => or("waits for the name server at", "waits for a name server"),
        LeafKind::Client if cause.endpoint == Some(0) => "waits for a client".to_owned(),
        LeafKind::Client => "waits for its client".to_owned(),
        LeafKind::Child => with("waits for a child process"),
        LeafKind::File => or("waits for the file", "waits for files"),
        LeafKind::FileLock => or("waits for the lock on", "waits for a lock on a file"),
        LeafKind::Pipe => or("waits for the other end of", "waits for the other end of a pipe"),
        LeafKind::PageFault => or("waits for memory of", "waits for memory"),
        LeafKind::KernelLock => "waits for a lock inside the kernel".to_owned(),
        LeafKind::Sleep => "sleeps on purpose".to_owned(),
        LeafKind::StoodStill => stood_still(time),
        LeafKind::NotReleased => "waits for a lock".to_owned(),
        LeafKind::CpuTaken => taken(snapshot, cause),
        LeafKind::NoThread => nobody(snapshot),
        LeafKind::Upgraded => "serves a WebSocket or a tunnel".to_owned(),
        LeafKind::Stream => "serves a stream of events".to_owned(),
        LeafKind::FrontEnd => "is in the front end".to_owned(),
        LeafKind::NotFollowed => "does what was not seen".to_owned(),
    };
    if cause.kind == LeafKind::BackEnd
        && let Some(times) = asked_often(snapshot, cause)
    {
        clause.push_str(&format!(", {times} times a request"));
    }
    if time.is_some_and(|time| time.is_shared_connection) {
        clause.push_str(", on one connection that several processes read from");
    }
    // Who computes, or waits for a CPU to do so, has it by nature.
    let needs_it = matches!(cause.kind, LeafKind::Computing | LeafKind::CpuTaken);
    let keeps_gil = !needs_it && cause.path.iter().any(|hop| hop == Phase::GilWait);
    if keeps_gil {
        clause.push_str(" and keeps the GIL meanwhile");
    }
    if since {
        clause.push_str(", since before the trace");
    }
    clause
}

/// Ten questions in a request are seldom ten different ones.
const OFTEN: u64 = 10;

/// How often each request of the endpoint at the leaf asks back ends, where that is often.
fn asked_often(snapshot: &Snapshot, cause: &Cause) -> Option<u64> {
    let name = snapshot.chains.endpoint(cause.endpoint?)?;
    let named = |endpoint: &&Endpoint| {
        name.strip_prefix(endpoint.method.as_str()).and_then(|rest| rest.strip_prefix(' '))
            == Some(endpoint.path_shape.as_str())
    };
    let mut of_it = snapshot.by_endpoint.list.iter().filter(named);
    let most = of_it.next()?;
    let (asked, count) = of_it.fold((most.round_trips.total(), most.count), |(asked, count), other| {
        (asked.saturating_add(other.round_trips.total()), count.saturating_add(other.count))
    });
    asked.checked_div(count).filter(|times| *times >= OFTEN)
}

/// Nobody is there, with what is known of why: workers ended meanwhile, most of them after as many requests
/// as a setting allows.
fn nobody(snapshot: &Snapshot) -> String {
    let lives = &snapshot.capacity.lives;
    let ended = lives.iter().filter(|life| life.ended_ns.is_some()).count() as u64;
    let Some(ended_words) = (ended > 0).then(|| unit::counted(ended, "worker")) else {
        return "nobody is there to serve".to_owned();
    };
    // What the first ones had served before the window is not known.
    let whole = || lives.iter().filter(|life| life.ended_ns.is_some() && life.born_ns.is_some());
    let limit = snapshot.server.settings.iter().find(|setting| setting.name == "max_requests");
    let limit = limit.and_then(|setting| setting.value.parse::<u64>().ok()).filter(|limit| *limit > 0);
    let at_limit = |limit: &u64| {
        let at_limit = whole().filter(|life| life.requests >= *limit).count();
        at_limit > 0 && at_limit * 2 >= whole().count()
    };
    let why = limit
        .filter(at_limit)
        .map(|limit| format!(", each after {} (max_requests)", unit::counted(limit, "request")));
    format!("nobody is there to serve: {ended_words} ended{}", why.unwrap_or_default())
}

fn stood_still(time: Option<&LeafTime>) -> String {
    let held = time.and_then(|time| time.leaf.held).map(|held| match held {
        Held::Stopped => ", stopped by a signal",
        Held::Traced => ", stopped by a tracer",
        Held::Frozen => ", frozen with its cgroup",
        Held::MemoryHigh => ", held by memory.high",
    });
    format!("the process stood still{}", held.unwrap_or_default())
}

fn taken(snapshot: &Snapshot, cause: &Cause) -> String {
    let name = cause.taken_by.and_then(|by| chain_words::taken_by(&snapshot.chains, by));
    match (cause.taken_by, name.filter(|name| !name.is_empty())) {
        (Some(TakenBy::Quota), _) => "its CPU quota was used up".to_owned(),
        (Some(TakenBy::Hypervisor), _) => "the hypervisor gave it to others".to_owned(),
        (Some(TakenBy::Thread), _) => "the server's threads without a request had it".to_owned(),
        (Some(TakenBy::Program { .. }), Some(name)) => format!("the program {name} had it"),
        (Some(TakenBy::Program { .. }), None) => "another program had it".to_owned(),
        _ => {
            let is_known = |time: &LeafTime| matches!(time.leaf.taken_by, Some(TakenBy::Program { .. }));
            let others = cause.time(&snapshot.chains).is_some_and(is_known);
            if others { "other programs had it".to_owned() } else { not_known_by_whom(snapshot) }
        }
    }
}

/// Waits of less than a millisecond have no name. How many CPUs the server itself used says whether it may
/// have been that.
fn not_known_by_whom(snapshot: &Snapshot) -> String {
    let threads = snapshot.processes.iter().flat_map(|process| &process.threads);
    let used_ns = threads.fold(0_u64, |sum, thread| sum.saturating_add(thread.cpu_ns));
    let cpus = u64::from(snapshot.session.cpu_count);
    match summary::ratio(used_ns, snapshot.window.length_ns()) {
        Some(used) if cpus > 0 => {
            let cpus = unit::counted(cpus, "CPU");
            format!("who had it is not known; the server itself used {used:.1} of {cpus}")
        }
        _ => "who had it is not known".to_owned(),
    }
}
