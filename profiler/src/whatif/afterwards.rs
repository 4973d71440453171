//! What a thread that serves does after a response, until it waits for the next request or has it.
//!
//! In: what it did. Out: the typical course, as segments.

use std::collections::HashMap;

use profiler_core::event::Tid;
use profiler_core::model::request::Request as Seen;
use profiler_core::timeline::ThreadState;
use profiler_forecast::load::{Segment, Work};

use super::course::{Course, Scale, on_cpu_ns, segments, typical};
use super::release::Wanted;
use super::taken::{done_ns, taken_ns};
use super::trace::Trace;

/// What comes after a response has fewer parts: more are those of the next request.
const MAX_PARTS: usize = 64;

/// What a slot does after a response, until it waits for the next request or has it; `cpu_ns` in the mean at
/// most. `shows_lock`: threads waited for the lock often enough to show where they need it.
pub(super) fn afterwards(
    trace: &Trace,
    seen: &[&Seen],
    (cpu_ns, shows_lock): (u64, bool),
    wanted: Wanted<'_>,
) -> Vec<Segment> {
    let taken = Taken::of(seen);
    let courses: Vec<Course> = seen
        .iter()
        .map(|request| {
            let mut course = Course::begin(request.tid);
            let slices = trace.between(request.tid, done_ns(request), taken.next_ns(request));
            for slice in slices.take_while(|slice| slice.state != ThreadState::Idle) {
                course.add(&slice);
                if course.steps.len() > MAX_PARTS {
                    return Course::begin(request.tid);
                }
            }
            course
        })
        .collect();
    match typical(courses.iter(), wanted).filter(|typical| on_cpu_ns(typical) > 0) {
        // What else the account has comes while it waits for the next request.
        Some(typical) => {
            let shown_ns = on_cpu_ns(&typical);
            segments(&typical, Scale { cpu_ns: cpu_ns.min(shown_ns), shown_ns, shows_lock })
        }
        None => vec![Segment { work: Work::Python, duration_ns: cpu_ns }],
    }
}

/// When each thread took its requests.
struct Taken(HashMap<Tid, Vec<u64>>);

impl Taken {
    fn of(seen: &[&Seen]) -> Self {
        let mut by_thread: HashMap<Tid, Vec<u64>> = HashMap::new();
        for request in seen {
            by_thread.entry(request.tid).or_default().push(taken_ns(request));
        }
        by_thread.values_mut().for_each(|taken| taken.sort_unstable());
        Self(by_thread)
    }

    /// When its thread took the next one after it; the end of time: there was none.
    fn next_ns(&self, request: &Seen) -> u64 {
        let taken = self.0.get(&request.tid).map_or(&[][..], Vec::as_slice);
        let next = taken.partition_point(|taken_ns| *taken_ns < done_ns(request));
        taken.get(next).copied().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::phase::Phase;
    use profiler_core::timeline::{Entry, ThreadState as State};

    use super::*;
    use crate::session::observer::Observer as _;
    use crate::whatif::model::Model;
    use crate::whatif::tests::{calm_snapshot, machine, python, request, slice};

    #[test]
    fn what_a_thread_does_between_two_requests_is_seen_also_where_it_does_not_sleep() {
        let mut trace = Trace::default();
        machine(0).iter().for_each(|fact| trace.note(fact));
        for number in 0..600_u64 {
            let taken_ns = 10_000_000 + number * 3_000_000;
            let does = [
                (0, 2500, State::Running, "running"),
                (2500, 2510, State::File, "write"),
                (2510, 3000, State::Running, "running"),
            ];
            for (start_us, end_us, state, label) in does {
                let (start_ns, end_ns) = (taken_ns + start_us * 1000, taken_ns + end_us * 1000);
                trace.entry(&slice(1, start_ns, end_ns, state, label));
            }
            // It came long before.
            let phases = [(Phase::PoolWait, 9_000_000), (Phase::Cpu, 2_000_000)];
            trace.entry(&Entry::Request(Box::new(request(taken_ns - 9_000_000, &phases))));
        }
        let mut snapshot = calm_snapshot();
        snapshot.processes[0].threads[0].cpu_ns = 600 * 3_000_000;
        let write = Segment { work: Work::Free(Phase::Cpu), duration_ns: 10_000 };
        let found = Model::of(&snapshot, &trace, None).load.after;
        assert_eq!(found, [python(500_000), write, python(490_000)]);
    }
}
