//! What several rules ask before they name a setting: what busy slots do, and whether the CPU is what is
//! short.
//!
//! In: a [`Basis`]. Out: words for sentences, and the case that decides which setting helps.

use super::basis::{Basis, served_ns, sum, waited_ns};
use super::words::ratio;
use crate::model::CgroupWindow;
use crate::model::slot::Holding;
use crate::phase::Phase;

/// What holds slots, so far as the setting to change depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Requests that compute.
    Computing,
    /// Requests that wait for something that more slots would not slow down.
    Waiting,
    /// Clients that send or read slowly.
    Clients,
    /// Connections without a request.
    Connections,
    /// Connections that are no requests any more.
    Lasting,
    /// The server's own work.
    Housekeeping,
}

/// The largest part of busy slot-time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    /// What it is; follows "held by ".
    pub(super) words: &'static str,
    /// Its share of busy slot-time.
    pub(super) share: f64,
    /// What follows from it.
    pub(super) cause: Cause,
    /// The findings that say why, the most particular first.
    pub(super) findings: Findings,
}

/// Ids of findings.
type Findings = &'static [&'static str];

/// Why requests compute, and more of them could not compute at once.
const WHY_COMPUTING: Findings = &["cpu-bound"];

/// Why they wait for the GIL.
const WHY_ON_GIL: Findings =
    &["gil-not-released", "gil-starvation", "gil-convoy", "gil-threads", "gil-contention"];

/// Why they compute one at a time.
const WHY_BY_TURNS: Findings =
    &["gil-not-released", "gil-starvation", "gil-convoy", "gil-threads", "gil-contention", "cpu-bound"];

/// What holds the largest part of busy slot-time: requests by what they mostly do, clients that stall,
/// connections without a request, or the server's own work.
pub(super) fn holder(basis: &Basis<'_>) -> Holder {
    let of_busy = |held_ns: u64| ratio(held_ns, basis.busy_ns());
    let group =
        |kinds: &[(Holding, &'static str)], together: &'static str, cause: Cause, findings: Findings| {
            let sum_ns = kinds.iter().fold(0u64, |sum, (kind, _)| sum.saturating_add(basis.held_ns(*kind)));
            let alone = kinds.iter().find(|(kind, _)| ratio(basis.held_ns(*kind), sum_ns) >= NEARLY_ALL);
            let words = alone.map_or(together, |(_, words)| *words);
            Holder { words, share: of_busy(sum_ns), cause, findings }
        };
    let sending = (Holding::ClientReadStall, "clients that send slowly");
    let reading = (Holding::ClientWriteStall, "clients that read slowly");
    let silent = (Holding::FirstByte, "silent connections");
    let kept = (Holding::KeepaliveIdle, "idle kept-alive connections");
    let lingering = (Holding::Linger, "clients that do not close");
    let upgraded = (Holding::Upgraded, "WebSockets or tunnels");
    let streams = (Holding::Stream, "streams of events");
    let groups = [
        requests(basis, of_busy(basis.held_ns(Holding::Request))),
        group(&[sending, reading], "slow clients", Cause::Clients, &["slow-clients"]),
        group(&[silent, kept, lingering], "idle connections", Cause::Connections, &["idle-connections"]),
        group(&[upgraded, streams], "WebSockets and streams of events", Cause::Lasting, &[]),
        between_requests(basis, of_busy(basis.held_ns(Holding::Housekeeping))),
    ];
    // Of equals the last wins, and requests come first; so look from the end.
    let largest = groups.into_iter().rev().max_by(|one, other| one.share.total_cmp(&other.share));
    largest.unwrap_or(Holder { words: BEING_SERVED, share: 0.0, cause: Cause::Waiting, findings: &[] })
}

/// What is held between requests: threads that do the server's own work, or wait for the interpreter lock to
/// do it. What they wait for is then what requests compute.
fn between_requests(basis: &Basis<'_>, share: f64) -> Holder {
    let in_requests_ns = basis.phases().get(Phase::GilWait);
    let waited_ns = basis.snapshot.gil.waits.sum_ns().saturating_sub(in_requests_ns);
    if share > 0.0 && ratio(waited_ns, basis.held_ns(Holding::Housekeeping)) >= MOSTLY {
        let words = "threads that wait for the GIL between requests";
        return Holder { words, share, cause: Cause::Computing, findings: WHY_ON_GIL };
    }
    Holder { words: "the server's own work", share, cause: Cause::Housekeeping, findings: &[] }
}

/// Share from which one thing is what a time is mostly spent on.
pub(super) const MOSTLY: f64 = 0.5;

/// Share of a group from which one kind gives it its name.
const NEARLY_ALL: f64 = 0.8;

/// Time that requests waited in line for slots, where these ran out for a considerable time; else 0. Behind
/// an event loop it is the wait for a thread of its pool.
pub(super) fn line_ns(basis: &Basis<'_>) -> u64 {
    if basis.snapshot.slots.are_loops() {
        let has_pool = basis.snapshot.event_loops.iter().any(|event_loop| event_loop.pooled > 0);
        return if has_pool { basis.phases().get(Phase::PoolWait) } else { 0 };
    }
    let exhausted = ratio(basis.snapshot.slots.exhausted_ns, basis.window_ns());
    // A server that makes threads as connections come has no line for them.
    let has_line =
        !basis.snapshot.slots.come_and_go && exhausted >= basis.thresholds.exhausted_window_min_ratio;
    if has_line { waited_ns(basis.phases()) } else { 0 }
}

/// Time that requests waited for slots which this part of busy slot-time held: its share of the line.
pub(super) fn waited_behind_ns(basis: &Basis<'_>, held_ns: u64) -> u64 {
    if basis.snapshot.slots.are_loops() {
        return 0;
    }
    let share = ratio(held_ns, basis.busy_ns()).min(1.0);
    (line_ns(basis) as f64 * share) as u64
}

/// What requests do of which nothing more is known.
const BEING_SERVED: &str = "requests being served";

/// What requests do while they hold a slot: the kinds of time, with the phases of each, and the findings that
/// say why.
const DOINGS: [(&[Phase], &str, Cause, Findings); 7] = [
    (&[Phase::Cpu, Phase::RunQueue], "requests that compute", Cause::Computing, WHY_COMPUTING),
    (&[Phase::LockWait, Phase::GilWait], "requests that wait for locks", Cause::Waiting, &["own-locks"]),
    (&[Phase::BackendWait], "requests that wait for a back end", Cause::Waiting, &["back-end"]),
    (&[Phase::Sleep], "requests that sleep", Cause::Waiting, &[]),
    (&[Phase::ChildWait], "requests that wait for child processes", Cause::Waiting, &[]),
    (&[Phase::FileWait, Phase::FaultWait], "requests that wait for files or memory", Cause::Waiting, &[]),
    (&[Phase::ReadBody, Phase::Write, Phase::Unexplained], BEING_SERVED, Cause::Waiting, &[]),
];

/// What slow clients took of the time in which requests were served.
pub(super) fn client_stall_share(basis: &Basis<'_>) -> f64 {
    let phases = basis.phases();
    ratio(sum(phases, &[Phase::ClientReadStall, Phase::ClientWriteStall]), served_ns(phases))
}

/// What requests mostly do while they are served, as a share of that.
pub(super) fn doing(basis: &Basis<'_>) -> Holder {
    requests(basis, 1.0)
}

fn requests(basis: &Basis<'_>, share_of_busy: f64) -> Holder {
    let phases = basis.phases();
    let clients = sum(phases, &[Phase::ClientReadStall, Phase::ClientWriteStall]);
    let doing = DOINGS.iter().rev().max_by_key(|(kinds, ..)| sum(phases, kinds));
    let Some((kinds, words, cause, findings)) = doing else {
        return Holder { words: BEING_SERVED, share: share_of_busy, cause: Cause::Waiting, findings: &[] };
    };
    // Slot-time held by requests leaves out what their clients stalled.
    let of_requests = ratio(sum(phases, kinds), served_ns(phases).saturating_sub(clients));
    let mostly_gil = match basis.not_measured(Phase::GilWait) {
        None => phases.get(Phase::GilWait) > phases.get(Phase::LockWait),
        Some(_) => interpreter_full(basis),
    };
    let by_turns = *words == "requests that wait for locks" && mostly_gil;
    let (words, cause, findings) = if by_turns {
        ("requests that compute one at a time", Cause::Computing, WHY_BY_TURNS)
    } else {
        (*words, *cause, *findings)
    };
    Holder { words, share: (of_requests * share_of_busy).min(1.0), cause, findings }
}

/// What keeps Python from the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CpuShort {
    /// Nothing.
    No,
    /// A quota.
    Quota,
    /// The number of cores.
    Cores,
}

/// Whether, and why, more processes could not compute more.
pub(super) fn cpu_short(basis: &Basis<'_>) -> CpuShort {
    let limits = basis.thresholds;
    let (cpu_ns, waited_ns) = (basis.phases().get(Phase::Cpu), basis.phases().get(Phase::RunQueue));
    let by_quota_ns = run_queue_by_quota_ns(basis);
    let wanted_ns = cpu_ns.saturating_add(waited_ns);
    if ratio(by_quota_ns, wanted_ns) >= limits.run_queue_of_cpu_min_ratio {
        CpuShort::Quota
    } else if ratio(waited_ns, wanted_ns) >= limits.run_queue_of_cpu_min_ratio
        || host_share(basis) >= limits.full_min_ratio
    {
        CpuShort::Cores
    } else {
        CpuShort::No
    }
}

/// CPU time of all processes of the server, in nanoseconds.
pub(super) fn server_cpu_ns(basis: &Basis<'_>) -> u64 {
    let threads = basis.snapshot.processes.iter().flat_map(|process| &process.threads);
    threads.fold(0, |total, thread| total.saturating_add(thread.cpu_ns))
}

/// CPU time of all processes as a share of all cores, while there was something to do.
pub(super) fn host_share(basis: &Basis<'_>) -> f64 {
    let cores = u64::from(basis.snapshot.session.cpu_count);
    ratio(server_cpu_ns(basis), basis.load_ns().saturating_mul(cores)).min(1.0)
}

/// CPU and run-queue time of the busiest process, as a share of the time with something to do.
pub(super) fn busiest_process(basis: &Basis<'_>) -> f64 {
    let wanted = |process: &crate::model::Process| {
        process.threads.iter().fold(0u64, |total, thread| {
            total.saturating_add(thread.cpu_ns).saturating_add(thread.run_queue_ns)
        })
    };
    let busiest = basis.snapshot.processes.iter().map(wanted).max().unwrap_or(0);
    ratio(busiest, basis.load_ns())
}

/// CPU time of the busiest process, as a share of the time with something to do.
pub(super) fn busiest_process_cpu(basis: &Basis<'_>) -> f64 {
    let used = |process: &crate::model::Process| {
        process.threads.iter().fold(0u64, |total, thread| total.saturating_add(thread.cpu_ns))
    };
    ratio(basis.snapshot.processes.iter().map(used).max().unwrap_or(0), basis.load_ns())
}

/// Whether two threads of one process served requests, so that they share an interpreter lock.
pub(super) fn serves_in_parallel(basis: &Basis<'_>) -> bool {
    let serving =
        |process: &crate::model::Process| process.threads.iter().filter(|thread| thread.requests > 0).count();
    basis.snapshot.processes.iter().any(|process| serving(process) > 1)
}

/// Whether an interpreter that several threads share has no time left: their waits for locks are then waits
/// for it.
pub(super) fn interpreter_full(basis: &Basis<'_>) -> bool {
    serves_in_parallel(basis) && busiest_process(basis) >= basis.thresholds.interpreter_full_min_ratio
}

/// The cgroup that was throttled most. Groups may be nested, and a parent counts its children's throttling
/// again.
pub(super) fn worst_cgroup<'a>(basis: &Basis<'a>) -> Option<&'a CgroupWindow> {
    basis.snapshot.cgroups.iter().max_by_key(|cgroup| throttled_ns(cgroup))
}

/// Time throttled within the window, in nanoseconds.
pub(super) const fn throttled_ns(cgroup: &CgroupWindow) -> u64 {
    cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns)
}

/// The quota in cores, where there is one.
pub(super) fn quota_cores(cgroup: &CgroupWindow) -> Option<f64> {
    let quota_us = cgroup.last.quota_us.filter(|_| cgroup.last.period_us > 0)?;
    Some(ratio(quota_us, cgroup.last.period_us))
}

/// CPU time of the server as a share of what the quota allows; 0 without one.
pub(super) fn quota_used(basis: &Basis<'_>, cgroup: &CgroupWindow) -> f64 {
    let Some(quota_us) = cgroup.last.quota_us else { return 0.0 };
    let used = u128::from(server_cpu_ns(basis)) * u128::from(cgroup.last.period_us);
    let allowed = u128::from(basis.load_ns()) * u128::from(quota_us);
    if allowed == 0 { 0.0 } else { used as f64 / allowed as f64 }
}

/// Run-queue time of requests that the quota caused. It is all of it where the server used its whole quota
/// (it would have waited on an idle host too), else as much as it was throttled.
pub(super) fn run_queue_by_quota_ns(basis: &Basis<'_>) -> u64 {
    let waited_ns = basis.phases().get(Phase::RunQueue);
    let Some(cgroup) = worst_cgroup(basis) else { return 0 };
    let stopped_ns = throttled_ns(cgroup);
    if stopped_ns > 0 && quota_used(basis, cgroup) >= basis.thresholds.full_min_ratio {
        waited_ns
    } else {
        stopped_ns.min(waited_ns)
    }
}
