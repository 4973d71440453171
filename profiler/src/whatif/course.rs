//! The typical course of what a thread does again and again: its own code and its calls, in their order.
//!
//! In: slices. Out: [`Step`]s, those that most courses have, with the mean length of each.

use std::collections::BTreeMap;

use profiler_core::event::Tid;
use profiler_core::phase::Phase;
use profiler_core::timeline::ThreadState;
use profiler_forecast::load::{Segment, Work};

use super::release::{Given, Release, Wanted, release};
use super::trace::{Place, Slice};

/// So many of the same course make it typical.
pub(super) const MIN_ALIKE: usize = 20;

/// A part of a course.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Its own code.
    Own,
    /// It accepts a connection.
    Accept,
    /// A call that is on a CPU.
    Call,
    /// A call that waits.
    Wait,
}

/// A part of a course, and how long it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) part: Part,
    pub(super) length_ns: u64,
    /// The thread waited for the interpreter lock before it or within.
    pub(super) has_waited: bool,
    /// Where it gives the lock up within, by a call that is not observed.
    pub(super) release: Option<Release>,
}

/// What a thread did once.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) tid: Tid,
    /// In order. None of them has a release: that shows in many alone.
    pub(super) steps: Vec<Step>,
    /// By step: what it shows of the lock.
    pub(super) given: Vec<Given>,
    /// The thread has just waited for the lock.
    has_waited: bool,
}

impl Course {
    /// Of this thread, as it begins.
    pub(super) const fn begin(tid: Tid) -> Self {
        Self { tid, steps: Vec::new(), given: Vec::new(), has_waited: false }
    }

    /// Adds a slice. Waits for the lock are none of the course: the model makes them itself.
    pub(super) fn add(&mut self, slice: &Slice) {
        let length_ns = slice.end_ns.saturating_sub(slice.start_ns);
        let part = match (slice.place, slice.state) {
            (Place::Accept, _) => Part::Accept,
            (_, ThreadState::GilWait) => {
                self.has_waited = true;
                return;
            }
            (Place::Gap, _) => Part::Own,
            (_, ThreadState::Other | ThreadState::ClientIo | ThreadState::Running | ThreadState::File) => {
                Part::Call
            }
            _ => Part::Wait,
        };
        let has_waited = std::mem::take(&mut self.has_waited);
        match (self.steps.last_mut(), self.given.last_mut()) {
            (Some(last), Some(given)) if last.part == Part::Own && part == Part::Own => {
                last.length_ns = last.length_ns.saturating_add(length_ns);
                last.has_waited |= has_waited;
                given.goes_on(slice, has_waited);
            }
            _ => {
                self.steps.push(Step { part, length_ns, has_waited, release: None });
                self.given.push(Given::begin(slice));
            }
        }
    }
}

/// The course that most of these have, with the mean length of each part; `None`: too few are alike.
pub(super) fn typical<'a>(
    courses: impl Iterator<Item = &'a Course>,
    wanted: Wanted<'_>,
) -> Option<Vec<Step>> {
    let parts = |course: &Course| course.steps.iter().map(|step| step.part).collect::<Vec<Part>>();
    let mut by_parts: BTreeMap<Vec<Part>, Vec<&Course>> = BTreeMap::new();
    for course in courses.filter(|course| !course.steps.is_empty()) {
        by_parts.entry(parts(course)).or_default().push(course);
    }
    let (parts, alike) = by_parts.into_iter().max_by_key(|(_, alike)| alike.len())?;
    if alike.len() < MIN_ALIKE {
        return None;
    }
    // Who waits for the lock looks for it again and again: that is no part of the work.
    let calm: Vec<&Course> =
        alike.iter().copied().filter(|course| course.steps.iter().all(|step| !step.has_waited)).collect();
    let step = |(at, part)| {
        let at_this = |course: &&Course| course.steps.get(at).copied();
        let measured = if part == Part::Own && calm.len() >= MIN_ALIKE { &calm } else { &alike };
        let count = u64::try_from(measured.len()).unwrap_or(u64::MAX);
        let length_ns =
            measured.iter().filter_map(at_this).map(|step: Step| step.length_ns).sum::<u64>() / count;
        let given = alike.iter().filter_map(|course| Some((course.tid, *course.given.get(at)?)));
        Step {
            part,
            length_ns,
            has_waited: alike.iter().filter_map(at_this).any(|step: Step| step.has_waited),
            release: if part == Part::Own { release(given, wanted) } else { None },
        }
    };
    Some(parts.into_iter().enumerate().map(step).collect())
}

/// How long it is on a CPU, as far as a timeline tells.
pub(super) fn on_cpu_ns(course: &[Step]) -> u64 {
    course.iter().filter(|step| step.part != Part::Wait).map(|step| step.length_ns).sum()
}

/// How what a timeline shows becomes segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// CPU time by accounts.
    pub(super) cpu_ns: u64,
    /// The same as far as the timeline shows it.
    pub(super) shown_ns: u64,
    /// Waits for the lock show which of its own code needs it. Otherwise all does.
    pub(super) shows_lock: bool,
}

impl Scale {
    /// A length of the timeline as CPU time.
    pub(super) fn cpu_ns(&self, length_ns: u64) -> u64 {
        let cpu_ns = u128::from(length_ns) * u128::from(self.cpu_ns) / u128::from(self.shown_ns.max(1));
        u64::try_from(cpu_ns).unwrap_or(u64::MAX)
    }
}

/// A course as segments.
pub(super) fn segments(course: &[Step], scale: Scale) -> Vec<Segment> {
    let python = |duration_ns| Segment { work: Work::Python, duration_ns };
    let free = |duration_ns| Segment { work: Work::Free(Phase::Cpu), duration_ns };
    let mut segments = Vec::with_capacity(course.len());
    for step in course {
        match step.part {
            // Nobody ever waited there: C code, without the lock.
            Part::Own if scale.shows_lock && !step.has_waited => {
                segments.push(free(scale.cpu_ns(step.length_ns)));
            }
            Part::Own => {
                let mut left_ns = scale.cpu_ns(step.length_ns);
                if let Some(Release { after_ns, call_ns }) = step.release {
                    let before_ns = scale.cpu_ns(after_ns).min(left_ns);
                    // The call is part of that code.
                    let call_ns = call_ns.min(left_ns - before_ns);
                    left_ns -= before_ns + call_ns;
                    segments.extend([python(before_ns), free(call_ns)]);
                }
                segments.push(python(left_ns));
            }
            // In a call a thread gives the lock up.
            Part::Accept | Part::Call => segments.push(free(scale.cpu_ns(step.length_ns))),
            Part::Wait => {
                segments.push(Segment { work: Work::Wait(Phase::Unexplained), duration_ns: step.length_ns });
            }
        }
    }
    segments
}
