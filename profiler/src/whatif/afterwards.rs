//! What a thread that serves does after a response, until it waits for the next request.
//!
//! In: what it did. Out: the typical course, as segments.

use profiler_core::model::request::Request as Seen;
use profiler_core::timeline::ThreadState;
use profiler_forecast::load::{Segment, Work};

use super::course::{Course, Scale, on_cpu_ns, segments, typical};
use super::release::Wanted;
use super::trace::Trace;

/// What comes after a response has fewer parts: more are those of the next request.
const MAX_PARTS: usize = 64;

/// What a slot does after a response, until it waits for the next request; `cpu_ns` in the mean at most. `shows_lock`: threads waited for the lock
/// often enough to show where they need it.
pub(super) fn afterwards(
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
