//! What a front end does for each request, where it was recorded with its server.
//!
//! In: requests, the CPU time of its processes. Out: [`Front`]. How long it takes is measured on requests
//! that had the server to themselves: the median, where 20 did, otherwise the lower quartile of all. Its CPU
//! time is the mean by accounts, over all that it answered. If that is more than it takes until the response
//! is sent, the rest comes after.

use profiler_core::model::Snapshot;
use profiler_core::model::request::Request as Seen;
use profiler_core::phase::Phase;
use profiler_forecast::load::{Front, Segment, Work};

use super::taken::{done_ns, is_behind_front, is_whole};
use super::trace::Trace;

/// The role of processes that stand in front.
pub(super) const FRONT_END: &str = "front_end";
/// With fewer requests nothing is known of them.
const MIN_ALONE: usize = 20;

/// `seen`: in the order in which they arrived. `None`: no request had a front end, or too few.
pub(super) fn front(snapshot: &Snapshot, trace: &Trace, seen: &[&Seen]) -> Option<Front> {
    let (mut alone, mut all): (Vec<Legs>, Vec<Legs>) = Default::default();
    let mut last_end_ns = 0;
    let nexts = seen.iter().skip(1).map(|next| next.times.start_ns).chain([u64::MAX]);
    for (request, next_ns) in seen.iter().zip(nexts) {
        let is_alone = request.times.start_ns >= last_end_ns && request.times.end_ns <= next_ns;
        last_end_ns = last_end_ns.max(request.times.end_ns);
        if is_behind_front(request) && is_whole(request) {
            let legs = Legs::of(request);
            all.push(legs);
            if is_alone {
                alone.push(legs);
            }
        }
    }
    let (legs, part) = if alone.len() < MIN_ALONE { (&all, 4) } else { (&alone, 2) };
    if legs.len() < MIN_ALONE {
        return None;
    }
    let queue_ns = at(legs.iter().map(|legs| legs.queue_ns), part)?;
    let before_ns = at(legs.iter().map(|legs| legs.before_ns), part)?;
    let after_ns = at(legs.iter().map(|legs| legs.after_ns), part)?;
    let cpu_ns = cpu_ns(snapshot) / u64::try_from(trace.requests.len()).unwrap_or(u64::MAX).max(1);
    let share_ns =
        u128::from(cpu_ns) * u128::from(before_ns) / u128::from(before_ns.saturating_add(after_ns).max(1));
    let before_cpu_ns = u64::try_from(share_ns).unwrap_or(u64::MAX).min(before_ns);
    let after_cpu_ns = (cpu_ns - before_cpu_ns).min(after_ns);
    Some(Front {
        before: queue(queue_ns).into_iter().chain(leg(before_cpu_ns, before_ns - before_cpu_ns)).collect(),
        after: leg(after_cpu_ns, after_ns - after_cpu_ns),
        then: leg(cpu_ns - before_cpu_ns - after_cpu_ns, 0),
    })
}

/// What a front end took of a request.
#[derive(Clone, Copy, Debug)]
struct Legs {
    /// In its accept queue.
    queue_ns: u64,
    before_ns: u64,
    after_ns: u64,
}

impl Legs {
    fn of(request: &Seen) -> Self {
        let all_ns = request.phases.get(Phase::FrontEnd);
        // Its client may take the response slowly meanwhile.
        let stalled_ns = request.phases.get(Phase::ClientWriteStall);
        let after_ns = request.times.end_ns.saturating_sub(done_ns(request)).saturating_sub(stalled_ns);
        let after_ns = after_ns.min(all_ns);
        Self { queue_ns: request.phases.get(Phase::AcceptQueue), before_ns: all_ns - after_ns, after_ns }
    }
}

/// The value below which one of `part` lies.
fn at(values: impl Iterator<Item = u64>, part: usize) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / part).copied()
}

fn queue(wait_ns: u64) -> Option<Segment> {
    (wait_ns > 0).then_some(Segment { work: Work::Wait(Phase::AcceptQueue), duration_ns: wait_ns })
}

fn leg(cpu_ns: u64, wait_ns: u64) -> Vec<Segment> {
    let segment = |work, duration_ns| Segment { work, duration_ns };
    let both = [segment(Work::Free(Phase::FrontEnd), cpu_ns), segment(Work::Wait(Phase::FrontEnd), wait_ns)];
    both.into_iter().filter(|segment| segment.duration_ns > 0).collect()
}

fn cpu_ns(snapshot: &Snapshot) -> u64 {
    let fronts = snapshot.processes.iter().filter(|process| process.role == FRONT_END);
    fronts.flat_map(|process| &process.threads).fold(0, |sum, thread| sum.saturating_add(thread.cpu_ns))
}

#[cfg(test)]
mod tests {
    use profiler_core::model::front_end::FrontEnd;
    use profiler_core::model::request::Stretch;
    use profiler_core::model::{Process, Thread};
    use profiler_core::timeline::{Entry, ThreadState};
    use profiler_forecast::setting::{Dispatch, Wakes};

    use super::*;
    use crate::session::observer::Observer as _;
    use crate::whatif::forecast::{Ask, WhatIf};
    use crate::whatif::model::Model;
    use crate::whatif::refusal::{Refusal, refusals};
    use crate::whatif::tests::{calm_snapshot, machine, python, request, slice};

    /// Apache and its children, which are no workers, and a daemon process, 1. All accept.
    fn snapshot() -> Snapshot {
        let mut snapshot = calm_snapshot();
        (snapshot.server.name, snapshot.server.worker_class) = ("mod_wsgi".to_owned(), "daemon".to_owned());
        snapshot.processes[0].parent_tgid = 9;
        snapshot.processes.push(Process {
            tgid: 5,
            parent_tgid: 9,
            role: FRONT_END.to_owned(),
            requests: 600,
            threads: vec![Thread { tid: 6, cpu_ns: 600 * 200_000, ..Thread::default() }],
            ..Process::default()
        });
        snapshot.front_end = Some(FrontEnd { tgids: vec![5], ..FrontEnd::default() });
        snapshot
    }

    /// Requests of 2 ms, which Apache had for 100 µs before and for 60 µs after.
    fn trace() -> Trace {
        let mut trace = Trace::default();
        machine(0).iter().for_each(|fact| trace.note(fact));
        for number in 0..600_u64 {
            let at_ns = 10_000_000 + number * 10_000_000;
            let phases = [(Phase::FrontEnd, 160_000), (Phase::PoolWait, 30_000), (Phase::Cpu, 2_000_000)];
            let mut request = request(at_ns, &phases);
            let stretch = |tgid, tid, from_us: u64, until_us: u64| Stretch {
                tgid,
                tid,
                start_ns: at_ns + from_us * 1000,
                end_ns: at_ns + until_us * 1000,
            };
            request.stretches = vec![stretch(5, 6, 0, 2190), stretch(1, 1, 130, 2130)];
            for (tgid, tid, from_us, until_us, state, label) in [
                (5, 6, 0, 10, ThreadState::Idle, "accept4"),
                (5, 6, 10, 20, ThreadState::Idle, "accept4"),
                (5, 6, 20, 2190, ThreadState::BackendWait, "poll"),
                (1, 1, 100, 130, ThreadState::Idle, "accept"),
                (1, 1, 130, 2130, ThreadState::Running, "running"),
            ] {
                let (start_ns, end_ns) = (at_ns + from_us * 1000, at_ns + until_us * 1000);
                match slice(tid, start_ns, end_ns, state, label) {
                    Entry::Slice {
                        tid, start_ns, end_ns, state, label, fd, open, held_by, sites, ..
                    } => {
                        trace.entry(&Entry::Slice {
                            tgid,
                            tid,
                            start_ns,
                            end_ns,
                            state,
                            label,
                            fd,
                            open,
                            held_by,
                            sites,
                        });
                    }
                    other => trace.entry(&other),
                }
            }
            trace.entry(&Entry::Request(Box::new(request)));
        }
        trace
    }

    #[test]
    fn a_front_end_has_its_part_before_and_after_and_the_slot_only_its_own() {
        let Model { load, setting, .. } = Model::of(&snapshot(), &trace(), None);
        let cpu = |duration_ns| vec![Segment { work: Work::Free(Phase::FrontEnd), duration_ns }];
        // 200 µs by accounts: what does not fit before and after is done later.
        let expected = Front { before: cpu(100_000), after: cpu(60_000), then: cpu(40_000) };
        assert_eq!(load.front, Some(expected));
        assert_eq!(load.requests[7].row.segments, [python(2_000_000)]);
        assert_eq!(setting.dispatch, Dispatch::Shared(Wakes::InTurn), "that Apache accepts does not count");
    }

    #[test]
    fn the_server_s_own_front_end_is_simulated_and_another_refused() {
        let mut snapshot = snapshot();
        assert_eq!(refusals(&snapshot, &trace()), []);
        let answer = WhatIf::of_replay(snapshot.clone(), &trace(), &Ask::default()).unwrap();
        assert!(answer.self_forecast.is_some_and(|itself| itself.holds()));
        snapshot.processes[1].parent_tgid = 2;
        assert_eq!(refusals(&snapshot, &trace()), [Refusal::FrontEnd]);
        snapshot.processes[1].parent_tgid = 9;
        snapshot.server.name = "gunicorn".to_owned();
        assert_eq!(refusals(&snapshot, &trace()), [Refusal::FrontEnd]);
    }
}
