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
    /// It looks for what is ready.
    Look,
    /// It accepts a connection.
    Accept,
    /// It reads from a client or writes to one.
    Client,
    /// A call that is on a CPU.
    Call,
    /// A call that waits.
    Wait,
}

impl Part {
    /// What a slice is that is no look. `None`: a wait for the lock, which is none.
    pub(super) const fn of(slice: &Slice) -> Option<Self> {
        Some(match (slice.place, slice.state) {
            (Place::Accept, _) => Self::Accept,
            (_, ThreadState::GilWait) => return None,
            (Place::Gap, _) => Self::Own,
            (_, ThreadState::ClientIo) => Self::Client,
            (_, ThreadState::Other | ThreadState::Running | ThreadState::File) => Self::Call,
            _ => Self::Wait,
        })
    }
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
    /// It waited for a CPU in its own code. The caller sets this. It is not set for what comes after a
    /// response.
    pub(super) has_queued: bool,
}

impl Course {
    /// Of this thread, as it begins.
    pub(super) const fn begin(tid: Tid) -> Self {
        Self { tid, steps: Vec::new(), given: Vec::new(), has_waited: false, has_queued: false }
    }

    /// Adds a look for what is ready, as long as it takes if it does not sleep. Several in a row are one.
    pub(super) fn look(&mut self, slice: &Slice, length_ns: u64) {
        self.has_waited = false;
        if self.steps.last().is_none_or(|last| last.part != Part::Look) {
            self.steps.push(Step { part: Part::Look, length_ns, has_waited: false, release: None });
            self.given.push(Given::begin(slice));
        }
    }

    /// How long all its steps are.
    pub(super) fn length_ns(&self) -> u64 {
        self.steps.iter().map(|step| step.length_ns).fold(0, u64::saturating_add)
    }

    /// How much comes before each of its steps.
    pub(super) fn begun_ns(&self) -> impl Iterator<Item = u64> + '_ {
        self.steps.iter().scan(0_u64, |before_ns, step| {
            let begun_ns = *before_ns;
            *before_ns = before_ns.saturating_add(step.length_ns);
            Some(begun_ns)
        })
    }

    /// Its parts, in order.
    pub(super) fn parts(&self) -> Vec<Part> {
        self.steps.iter().map(|step| step.part).collect()
    }

    /// Adds a slice. Waits for the lock are none of the course: the model makes them itself.
    pub(super) fn add(&mut self, slice: &Slice) {
        let Some(part) = Part::of(slice) else {
            self.has_waited = true;
            return;
        };
        let length_ns = slice.end_ns.saturating_sub(slice.start_ns);
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
    let by_parts = by_parts(courses);
    let (parts, alike) = by_parts.into_iter().max_by_key(|(_, alike)| alike.len())?;
    (alike.len() >= MIN_ALIKE).then(|| mean(parts, &alike, wanted))
}

/// Courses that have each kind of call as often as is wanted, together, and no other calls. Those that most
/// of these have come first. Where much is to be done at once, several of them become one. So it does not
/// matter how often a course is there.
pub(super) fn covering<'a>(
    courses: impl Iterator<Item = &'a Course>,
    mut wanted_calls: BTreeMap<Part, usize>,
    wanted: Wanted<'_>,
) -> Vec<Vec<Step>> {
    let mut found: Vec<(Vec<Part>, Vec<&Course>)> = by_parts(courses).into_iter().collect();
    found.retain(|(_, alike)| alike.len() >= MIN_ALIKE);
    // The sort is stable: of equally many the order of their parts decides.
    found.sort_by_key(|(_, alike)| std::cmp::Reverse(alike.len()));
    let mut covering: Vec<Vec<Step>> = Vec::new();
    for (parts, alike) in found {
        let calls = calls(parts.iter().copied());
        let left = |part: &Part| wanted_calls.get(part).copied().unwrap_or(0);
        // The first may have more of a kind than there is in the mean.
        let fits =
            |(part, count): (&Part, &usize)| *count <= left(part) || covering.is_empty() && left(part) > 0;
        if calls.is_empty() || !calls.iter().all(fits) {
            continue;
        }
        for (part, count) in calls {
            wanted_calls.entry(part).and_modify(|left| *left = left.saturating_sub(count));
        }
        covering.push(mean(parts, &alike, wanted));
    }
    covering
}

/// How often each kind of call is made in these parts.
pub(super) fn calls(parts: impl Iterator<Item = Part>) -> BTreeMap<Part, usize> {
    let mut calls = BTreeMap::new();
    for part in parts.filter(|part| !matches!(part, Part::Own | Part::Look)) {
        *calls.entry(part).or_default() += 1;
    }
    calls
}

fn by_parts<'a>(courses: impl Iterator<Item = &'a Course>) -> BTreeMap<Vec<Part>, Vec<&'a Course>> {
    let mut by_parts: BTreeMap<Vec<Part>, Vec<&Course>> = BTreeMap::new();
    for course in courses.filter(|course| !course.steps.is_empty()) {
        by_parts.entry(course.parts()).or_default().push(course);
    }
    by_parts
}

/// Of courses with the same parts: the mean length of each.
fn mean(parts: Vec<Part>, alike: &[&Course], wanted: Wanted<'_>) -> Vec<Step> {
    // Who waits for the lock looks for it again and again. That is no part of the work, as little as a wait
    // for a CPU.
    let without = |is_calm: &dyn Fn(&Course) -> bool| {
        alike.iter().copied().filter(|course| is_calm(course)).collect::<Vec<&Course>>()
    };
    let has_waited = |course: &Course| course.steps.iter().any(|step| step.has_waited);
    let mut calm = without(&|course| !course.has_queued && !has_waited(course));
    if calm.len() < MIN_ALIKE {
        calm = without(&|course| !has_waited(course));
    }
    let step = |(at, part)| {
        let at_this = |course: &&Course| course.steps.get(at).copied();
        let measured = if part == Part::Own && calm.len() >= MIN_ALIKE { &calm } else { alike };
        let count = u64::try_from(measured.len()).unwrap_or(u64::MAX).max(1);
        let length_ns =
            measured.iter().filter_map(at_this).map(|step: Step| step.length_ns).fold(0, u64::saturating_add)
                / count;
        let given = alike.iter().filter_map(|course| Some((course.tid, *course.given.get(at)?)));
        Step {
            part,
            length_ns,
            has_waited: alike.iter().filter_map(at_this).any(|step: Step| step.has_waited),
            release: if part == Part::Own { release(given, wanted) } else { None },
        }
    };
    parts.into_iter().enumerate().map(step).collect()
}

/// How long it is on a CPU, as far as a timeline tells.
pub(super) fn on_cpu_ns(course: &[Step]) -> u64 {
    course
        .iter()
        .filter(|step| step.part != Part::Wait)
        .map(|step| step.length_ns)
        .fold(0, u64::saturating_add)
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
            // How long looks take is not known.
            Part::Look if step.length_ns == 0 => {}
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
            Part::Look | Part::Accept | Part::Client | Part::Call => {
                segments.push(free(scale.cpu_ns(step.length_ns)));
            }
            Part::Wait => {
                segments.push(Segment { work: Work::Wait(Phase::Unexplained), duration_ns: step.length_ns });
            }
        }
    }
    segments
}
