//! What threads of the server do for a request beside it: the one that dispatches, and the one that served it, after the response.
//!
//! In: what these threads did. Out: typical courses, as segments.

use std::collections::HashSet;

use profiler_core::event::Tid;
use profiler_core::model::request::Request as Seen;
use profiler_core::timeline::ThreadState;
use profiler_forecast::load::{Segment, Work};
use profiler_forecast::setting::Errands;

use super::course::{Course, MIN_ALIKE, Part, Scale, Step, on_cpu_ns, segments, typical};
use super::release::Wanted;
use super::trace::{Place, Slice, Trace};

/// A look for what is ready that takes no longer than this has not slept: who sleeps takes as long to wake up alone.
const AT_ONCE_NS: u64 = 20_000;
/// What comes after a response has fewer parts: more are those of the next request.
const MAX_PARTS: usize = 64;

/// What dispatching a request costs: `cpu_ns` in all, `handed_ns` of its own code between accepting a connection and handing it over. `None`: its
/// rounds do not show.
pub(super) fn errands(
    trace: &Trace,
    serving: &HashSet<Tid>,
    (cpu_ns, handed_ns): (u64, u64),
    wanted: Wanted<'_>,
) -> Option<Errands> {
    let rounds: Vec<Course> = dispatching(trace, serving).flat_map(rounds).collect();
    let is_accepting = |round: &Course| round.steps.iter().any(|step| step.part == Part::Accept);
    let accepting = typical(rounds.iter().filter(|round| is_accepting(round)), wanted)?;
    // Where nothing comes after a request, there are no other rounds.
    let other = typical(rounds.iter().filter(|round| !is_accepting(round)), wanted).unwrap_or_default();
    let look = looking(dispatching(trace, serving).flat_map(|(_, slices)| slices));
    let accepting: Vec<Step> = look.into_iter().chain(accepting).collect();
    let other: Vec<Step> = look.filter(|_| !other.is_empty()).into_iter().chain(other).collect();
    let shown_ns = on_cpu_ns(&accepting).saturating_add(on_cpu_ns(&other));
    // It is Python, whether or not it had to wait. What else the account has is of waking up for nothing, and of looking for the lock.
    let scale = Scale { cpu_ns: cpu_ns.min(shown_ns), shown_ns, shows_lock: false };
    let accepted = accepting.iter().position(|step| step.part == Part::Accept)? + 1;
    let (before, then) = accepting.split_at_checked(accepted)?;
    let (mut before, mut then) = (segments(before, scale), segments(then, scale));
    if let Some(first) = then.first_mut().filter(|first| first.work == Work::Python) {
        let handed_ns = scale.cpu_ns(handed_ns).min(first.duration_ns);
        before.push(Segment { work: Work::Python, duration_ns: handed_ns });
        first.duration_ns = first.duration_ns.saturating_sub(handed_ns);
    }
    Some(Errands { before, then, after: segments(&other, scale) })
}

/// The call by which a round begins: the lock is given up there as in any other. Its length is the median of those that did not sleep, also where a round
/// began with a sleep. `None`: too few did not sleep.
fn looking<'a>(slices: impl Iterator<Item = &'a Slice>) -> Option<Step> {
    let lengths = slices
        .filter(|slice| slice.state == ThreadState::Idle && slice.place == Place::Call)
        .map(|slice| slice.end_ns.saturating_sub(slice.start_ns));
    let mut lengths: Vec<u64> = lengths.filter(|length_ns| (1..AT_ONCE_NS).contains(length_ns)).collect();
    lengths.sort_unstable();
    let length_ns = lengths.get(lengths.len() / 2).copied().filter(|_| lengths.len() >= MIN_ALIKE)?;
    Some(Step { part: Part::Call, length_ns, has_waited: false, release: None })
}

/// What each thread that accepts and does not serve did.
fn dispatching<'a>(trace: &'a Trace, serving: &'a HashSet<Tid>) -> impl Iterator<Item = (Tid, &'a [Slice])> {
    trace.threads().filter(|(tid, _)| trace.accepts.contains_key(tid) && !serving.contains(tid))
}

/// From one wait for work to the next.
fn rounds((tid, slices): (Tid, &[Slice])) -> Vec<Course> {
    let mut rounds: Vec<Course> = Vec::new();
    for slice in slices {
        if slice.state == ThreadState::Idle && slice.place != Place::Accept {
            rounds.push(Course::begin(tid));
        } else if let Some(round) = rounds.last_mut() {
            round.add(slice);
        }
    }
    rounds
}

/// What a slot does after a response, until it waits for the next request; `cpu_ns` in the mean at most. `shows_lock`: threads waited for the lock
/// often enough to show where they need it.
pub(super) fn after(
    trace: &Trace,
    seen: &[&Seen],
    (cpu_ns, shows_lock): (u64, bool),
    wanted: Wanted<'_>,
) -> Vec<Segment> {
    let courses: Vec<Course> = seen
        .iter()
        .map(|request| {
            let mut course = Course::begin(request.tid);
            let slices = trace.between(request.tid, request.times.end_ns, u64::MAX);
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

/// From accepting a connection to the moment that the thread that serves it had been woken: the median.
pub(super) fn handed_ns(trace: &Trace, seen: &[&Seen], serving: &HashSet<Tid>) -> Option<u64> {
    let mut accepted: Vec<u64> = dispatching(trace, serving)
        .flat_map(|(_, slices)| slices.iter().filter(|slice| slice.place == Place::Accept))
        .map(|slice| slice.end_ns)
        .collect();
    accepted.sort_unstable();
    let mut found: Vec<u64> = seen
        .iter()
        .filter_map(|request| {
            let begun_ns = request.times.service_start_ns?;
            // It slept until it was woken for this request.
            let woken = trace
                .between(request.tid, request.times.start_ns, begun_ns)
                .filter(|slice| slice.state == ThreadState::Idle && slice.end_ns < begun_ns)
                .last()?;
            let at = accepted.partition_point(|accepted_ns| *accepted_ns <= woken.end_ns);
            let accepted_ns = accepted.get(at.checked_sub(1)?)?;
            (*accepted_ns >= request.times.start_ns).then(|| woken.end_ns.saturating_sub(*accepted_ns))
        })
        .collect();
    found.sort_unstable();
    if found.len() < MIN_ALIKE { None } else { found.get(found.len() / 2).copied() }
}
