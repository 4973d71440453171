//! How a request came to be served: when it waited, for whom, and which threads worked for it.
//!
//! In: a request that is over. Out: its time in stages; the threads that could have served it.

use crate::event::Tid;
use crate::machine::chain::history::History;
use crate::machine::chain::known::Known;
use crate::machine::chain::settling::{Reached, SHORTEST_NS, Settling};
use crate::machine::time::capacity::Span;
use crate::model::request::Stretch;
use crate::phase::Phase;

/// What a request was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waited for somebody to serve it; the phase of that.
    Waits(Phase),
    /// This thread worked for it.
    On(Tid),
    /// Nobody did, and why is not known.
    Unknown,
}

/// Threads that could serve a request in one of its waits, and those that would have handed it to them.
pub(super) fn who_serves(known: Known<'_>, request: &Settling, phase: Phase) -> (Vec<Tid>, Vec<Tid>) {
    let of_process = known.histories.of_process(request.tgid);
    if phase == Phase::AcceptQueue || request.reached == Reached::Queue {
        return (who_accepts(known, request, of_process), Vec::new());
    }
    let among = |is_one: IsOne| -> Vec<Tid> {
        let mut found = Vec::with_capacity(of_process.len());
        let tids = of_process.iter().copied();
        found.extend(tids.filter(|tid| known.histories.get(*tid).is_some_and(is_one)));
        found
    };
    let dispatchers = among(|history| history.accepts);
    match phase {
        Phase::PoolWait => {
            let mut serving = pool(&among);
            // Light mode does not tell who waits to be accepted: other workers that hang would accept as
            // well.
            if dispatchers.is_empty() && serving.len() == 1 {
                let listener = known.attendance.listener_of_worker(request.tgid);
                let workers = listener.map_or(&[][..], |inode| known.attendance.workers(inode));
                serving.extend(hung(known, workers.iter().copied()));
                serving.sort_unstable();
                serving.dedup();
            }
            (serving, dispatchers)
        }
        _ if dispatchers.is_empty() => (vec![request.tid], Vec::new()),
        _ => (dispatchers, Vec::new()),
    }
}

/// Threads of which one serves a request, or will, where which one is not known: its process hands requests
/// to a pool, and none of the pool is known to have had it. None: its process serves otherwise.
pub(super) fn handed_to(known: Known<'_>, request: &Settling) -> Vec<Tid> {
    let serves = |tid: &Tid| known.histories.get(*tid).is_some_and(History::is_of_pool);
    if !(known.hands_on)(request.tgid) || request.stretches.iter().any(|stretch| serves(&stretch.tid)) {
        return Vec::new();
    }
    known.histories.of_process(request.tgid).iter().copied().filter(serves).collect()
}

/// Threads that could accept a request's connection: those that accept there, and the first thread of each
/// worker that has not begun to, as it still starts or hangs.
fn who_accepts(known: Known<'_>, request: &Settling, of_process: &[Tid]) -> Vec<Tid> {
    let acceptors = match known.attendance.acceptors(request.inode) {
        [] => known.attendance.beside(of_process),
        acceptors => acceptors,
    };
    let tgid_of = |tid: Tid| known.histories.get(tid).map(|history| history.tgid);
    let accepts = |tgid: Tid| acceptors.iter().any(|tid| tgid_of(*tid) == Some(tgid));
    let workers = known.attendance.workers(request.inode).iter().copied();
    let silent = workers.clone().filter(|tgid| tgid_of(*tgid) == Some(*tgid) && !accepts(*tgid));
    let mut tids: Vec<Tid> = acceptors.iter().copied().chain(silent).collect();
    tids.extend(hung(known, workers));
    tids.sort_unstable();
    tids.dedup();
    tids
}

/// Threads that hang since before the trace, and would accept: of processes whose threads serve where they
/// accept.
fn hung(known: Known<'_>, tgids: impl Iterator<Item = Tid>) -> Vec<Tid> {
    let is_one = |tid: &Tid, is: IsOne| known.histories.get(*tid).is_some_and(is);
    let dispatches: IsOne = |history| history.accepts && !history.is_slot;
    let hangs: IsOne = History::hangs_in_request;
    let threads = tgids.map(|tgid| known.histories.of_process(tgid));
    let direct = threads.filter(|tids| !tids.iter().any(|tid| is_one(tid, dispatches)));
    direct.flatten().copied().filter(|tid| is_one(tid, hangs)).collect()
}

/// What distinguishes threads of a process.
type IsOne = fn(&History) -> bool;

/// The threads of a pool: those that serve, and those that hang in a job since before the trace. A reporter
/// or a janitor, which sleeps all the time, is none of them, as far as any is known to serve.
fn pool(among: &impl Fn(IsOne) -> Vec<Tid>) -> Vec<Tid> {
    let mut serving = among(History::serves);
    let hangs: IsOne = if serving.is_empty() {
        |history| history.hangs_since_before().is_some()
    } else {
        |history| {
            let phase = history.hangs_since_before();
            phase.is_some_and(|phase| !matches!(phase, Phase::Sleep | Phase::LockWait | Phase::Unexplained))
        }
    };
    serving.extend(among(hangs));
    serving.sort_unstable();
    serving.dedup();
    serving
}

/// When a request that was accepted waited in this phase: as it is known, or else where it was on no thread.
pub(super) fn unserved(request: &Settling, phase: Phase) -> Vec<Span> {
    let all = unserved_at_all(request);
    let loop_ns = request.phases.get(Phase::LoopWait);
    if loop_ns == 0 || request.phases.get(Phase::PoolWait) == 0 {
        return all;
    }
    // Whoever dispatches comes before those it dispatches to.
    let is_of_loop = phase == Phase::LoopWait;
    let mut left_ns = loop_ns;
    let mut spans = Vec::with_capacity(all.len());
    for (from_ns, until_ns) in all.iter().copied() {
        let cut_ns = until_ns.min(from_ns.saturating_add(left_ns));
        left_ns -= cut_ns.saturating_sub(from_ns).min(left_ns);
        spans.push(if is_of_loop { (from_ns, cut_ns) } else { (cut_ns, until_ns) });
    }
    spans.retain(|(from_ns, until_ns)| until_ns > from_ns);
    if spans.is_empty() { all } else { spans }
}

fn unserved_at_all(request: &Settling) -> Vec<Span> {
    if !request.spans.is_empty() {
        return request.spans.clone();
    }
    let stages = stages(request).into_iter();
    let unserved =
        stages.filter(|(_, stage)| !matches!(stage, Stage::On(_) | Stage::Waits(Phase::AcceptQueue)));
    unserved.map(|(span, _)| span).filter(|(from_ns, until_ns)| until_ns - from_ns >= SHORTEST_NS).collect()
}

/// All of a request's time, in order.
pub(super) fn stages(request: &Settling) -> Vec<(Span, Stage)> {
    let accepted_ns = request.accepted_ns();
    let mut stages = Vec::with_capacity(2 * request.stretches.len() + 2);
    if accepted_ns > request.start_ns {
        stages.push(((request.start_ns, accepted_ns), Stage::Waits(Phase::AcceptQueue)));
    }
    let mut at_ns = accepted_ns;
    // Where it was on no thread it waited, most of all, for this.
    let lasts_ns = |phase| request.phases.get(phase);
    let longest = [Phase::Unexplained, Phase::LoopWait, Phase::PoolWait]
        .into_iter()
        .max_by_key(|phase| lasts_ns(*phase));
    let hole = match longest {
        Some(phase) if phase != Phase::Unexplained && lasts_ns(phase) >= SHORTEST_NS => Stage::Waits(phase),
        _ => Stage::Unknown,
    };
    let mut stretches: Vec<Stretch> = request.stretches.iter().copied().chain(request.found.get()).collect();
    stretches.sort_unstable_by_key(|stretch| stretch.start_ns);
    for stretch in stretches {
        if stretch.start_ns > at_ns {
            stages.push(((at_ns, stretch.start_ns), hole));
        }
        let from_ns = stretch.start_ns.max(at_ns);
        if stretch.end_ns > from_ns {
            stages.push(((from_ns, stretch.end_ns), Stage::On(stretch.tid)));
            at_ns = stretch.end_ns;
        }
    }
    if request.end_ns > at_ns {
        stages.push(((at_ns, request.end_ns), hole));
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requests_time_is_in_stages_without_a_hole() {
        let stretch = |tid, start_ns, end_ns| Stretch { tgid: 1, tid, start_ns, end_ns };
        let mut request = Settling {
            start_ns: 0,
            end_ns: 10_000_000,
            stretches: vec![stretch(2, 4_000_000, 6_000_000), stretch(3, 5_000_000, 8_000_000)],
            ..Settling::default()
        };
        request.phases.add(Phase::AcceptQueue, 1_000_000);
        request.phases.add(Phase::PoolWait, 3_000_000);
        let pool = Stage::Waits(Phase::PoolWait);
        assert_eq!(
            stages(&request),
            [
                ((0, 1_000_000), Stage::Waits(Phase::AcceptQueue)),
                ((1_000_000, 4_000_000), pool),
                ((4_000_000, 6_000_000), Stage::On(2)),
                ((6_000_000, 8_000_000), Stage::On(3)),
                ((8_000_000, 10_000_000), pool),
            ]
        );
        let all = [(1_000_000, 4_000_000), (8_000_000, 10_000_000)];
        assert_eq!(unserved(&request, Phase::PoolWait), all);
        request.spans = vec![(1_000_000, 3_500_000)];
        assert_eq!(unserved(&request, Phase::PoolWait), request.spans, "as it is known");
    }

    #[test]
    fn a_request_waits_for_who_dispatches_it_before_it_waits_for_a_thread() {
        let mut request =
            Settling { spans: vec![(0, 4_000_000), (6_000_000, 9_000_000)], ..Settling::default() };
        request.phases.add(Phase::LoopWait, 5_000_000);
        assert_eq!(unserved(&request, Phase::LoopWait), request.spans, "it waits for nobody else");
        request.phases.add(Phase::PoolWait, 2_000_000);
        assert_eq!(unserved(&request, Phase::LoopWait), [(0, 4_000_000), (6_000_000, 7_000_000)]);
        assert_eq!(unserved(&request, Phase::PoolWait), [(7_000_000, 9_000_000)]);
    }
}
