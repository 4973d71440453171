//! What the thread that dispatches does for a request: it accepts the connection, may read from it, hands it
//! over, and closes it later.
//!
//! In: what that thread did, and when the thread that served was woken. Out: typical courses, as segments. It
//! looks for what is ready again and again, and between two looks is a *round*. gunicorn's gthread hands a
//! request over in the round that accepts it, Waitress in a later one, which reads it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use profiler_core::event::Tid;
use profiler_core::model::request::Request as Seen;
use profiler_core::timeline::ThreadState;
use profiler_forecast::load::{Segment, Work};
use profiler_forecast::setting::Errands;

use super::course::{Course, MIN_ALIKE, Part, Scale, calls, covering, on_cpu_ns, segments, typical};
use super::release::Wanted;
use super::trace::{Place, Slice, Trace};

/// A look for what is ready that takes no longer than this has not slept: who sleeps takes as long to wake up
/// alone.
const AT_ONCE_NS: u64 = 20_000;
/// Looks from the one that found a connection until it was handed over: with more of them, something else
/// came first.
const MAX_LOOKS: usize = 4;
/// What is done for a request until it is handed over has fewer parts: more are those of others too.
const MAX_PARTS: usize = 64;
/// So many requests show what is usual.
const SAMPLE: usize = 20_000;

/// A thread that accepts and does not serve.
struct Dispatching<'a> {
    tid: Tid,
    slices: &'a [Slice],
    /// The looks by which its rounds begin, by their number among the slices.
    looks: Vec<usize>,
}

/// How a request was handed over.
struct Handed {
    /// The look that found it, until the look after it was handed over: numbers of slices.
    slices: Range<usize>,
    /// What was done meanwhile.
    course: Course,
    /// How much of that was done when it was handed over.
    done_ns: u64,
}

/// What dispatching a request costs: `cpu_ns` in all. A thread that is woken for the lock has it
/// `handover_ns` later, and one that is woken for a request is taken to run as soon. 0: that is not known.
/// `None`: the rounds do not show.
pub(super) fn errands(
    trace: &Trace,
    seen: &[&Seen],
    process_of: &HashMap<Tid, u32>,
    (cpu_ns, handover_ns): (u64, u64),
    wanted: Wanted<'_>,
) -> Option<Errands> {
    let serving: HashSet<Tid> = seen.iter().map(|request| request.tid).collect();
    let seen = seen.get(..SAMPLE).unwrap_or(seen);
    let until_ns = seen.iter().map(|request| request.times.end_ns).max()?;
    let threads = dispatching(trace, &serving, until_ns);
    let look_ns = look_ns(threads.iter().flat_map(|thread| thread.slices));
    let mut handed: Vec<Vec<Handed>> = threads.iter().map(|_| Vec::new()).collect();
    let mut last_end_ns: HashMap<Tid, u64> = HashMap::new();
    for request in seen {
        let before_ns = last_end_ns.insert(request.tid, request.times.end_ns).unwrap_or(0);
        let Some(woken_ns) = woken_ns(trace, request).filter(|woken_ns| *woken_ns >= before_ns) else {
            continue;
        };
        let times_ns = [request.times.start_ns, woken_ns.saturating_sub(handover_ns), woken_ns];
        for (thread, handed) in threads.iter().zip(&mut handed) {
            let process = process_of.get(&thread.tid);
            if process.is_some() && process == process_of.get(&request.tid) {
                handed.extend(thread.handed(times_ns, look_ns));
            }
        }
    }
    let course = typical(handed.iter().flatten().map(|handed| &handed.course), wanted)?;
    let parts: Vec<Part> = course.iter().map(|step| step.part).collect();
    let (step, handed_ns) = handed_at(handed.iter().flatten().filter(|one| one.course.parts() == parts))?;
    // What it does for a request beside that. Where nothing comes after a request, that is nothing.
    let made = calls(threads.iter().flat_map(Dispatching::parts));
    let mut others = others(made, &calls(parts.into_iter()), seen.len());
    // Rounds in which another process was faster are made by the model itself.
    others.remove(&Part::Accept);
    let rounds =
        threads.iter().zip(&handed).flat_map(|(thread, handed)| thread.other_rounds(handed, look_ns));
    let other = covering(rounds.collect::<Vec<Course>>().iter(), others, wanted).concat();
    let shown_ns = on_cpu_ns(&course).saturating_add(on_cpu_ns(&other));
    // It is Python, whether or not it had to wait. What else the account has is of waking up for nothing, and
    // of looking for the lock.
    let scale = Scale { cpu_ns: cpu_ns.min(shown_ns), shown_ns, shows_lock: false };
    let (before, then) = course.split_at_checked(step)?;
    let accepts = before.iter().position(|step| step.part == Part::Accept).unwrap_or(before.len());
    let accept_at = segments(before.get(..accepts)?, scale).len();
    let (mut before, mut then) = (segments(before, scale), segments(then, scale));
    if let Some(first) = then.first_mut().filter(|first| first.work == Work::Python) {
        let handed_ns = scale.cpu_ns(handed_ns).min(first.duration_ns);
        before.push(Segment { work: Work::Python, duration_ns: handed_ns });
        first.duration_ns = first.duration_ns.saturating_sub(handed_ns);
    }
    Some(Errands { before, accept_at, then, after: segments(&other, scale) })
}

/// How often each kind of call is made for a request beside those of its course.
fn others(
    made: BTreeMap<Part, usize>,
    own: &BTreeMap<Part, usize>,
    requests: usize,
) -> BTreeMap<Part, usize> {
    let for_one = |(part, count): (Part, usize)| {
        let usual = count.saturating_add(requests / 2).checked_div(requests)?;
        Some((part, usual.saturating_sub(own.get(&part).copied().unwrap_or(0))))
    };
    made.into_iter().filter_map(for_one).collect()
}

/// What each thread that accepts and does not serve did until this moment.
fn dispatching<'a>(trace: &'a Trace, serving: &HashSet<Tid>, until_ns: u64) -> Vec<Dispatching<'a>> {
    let threads =
        trace.threads().filter(|(tid, _)| trace.accepts.contains_key(tid) && !serving.contains(tid));
    let until = |slices: &'a [Slice]| {
        let count = slices.partition_point(|slice| slice.start_ns < until_ns);
        slices.get(..count).unwrap_or(slices)
    };
    threads.map(|(tid, slices)| Dispatching::of(tid, until(slices))).collect()
}

/// When the thread that served this request was woken last before its head was read, or by that. `None`: it
/// had not slept since the request arrived.
fn woken_ns(trace: &Trace, request: &Seen) -> Option<u64> {
    // Waitress' other thread reads the head, and wakes it then.
    let read_ns = request.times.service_start_ns?;
    let slept = trace
        .between(request.tid, request.times.start_ns, u64::MAX)
        .take_while(|slice| slice.start_ns < read_ns)
        .filter(|slice| slice.state == ThreadState::Idle);
    slept.last().map(|slice| slice.end_ns)
}

/// The call by which a round begins: the lock is given up there as in any other. Its length is the median of
/// those that did not sleep, also where a round began with a sleep. 0: too few did not sleep.
fn look_ns<'a>(slices: impl Iterator<Item = &'a Slice>) -> u64 {
    let lengths = slices
        .filter(|slice| slice.state == ThreadState::Idle && slice.place == Place::Call)
        .map(|slice| slice.end_ns.saturating_sub(slice.start_ns));
    let mut lengths: Vec<u64> = lengths.filter(|length_ns| (1..AT_ONCE_NS).contains(length_ns)).collect();
    if lengths.len() < MIN_ALIKE {
        return 0;
    }
    let at = lengths.len() / 2;
    *lengths.select_nth_unstable(at).1
}

/// The step in which most of these were handed over, and how long that had lasted: the median of all. They
/// have the same parts.
fn handed_at<'a>(handed: impl Iterator<Item = &'a Handed>) -> Option<(usize, u64)> {
    let mut handed: Vec<&Handed> = handed.collect();
    // A wait for a CPU within a step makes all of it longer.
    let calm: Vec<&Handed> = handed.iter().copied().filter(|one| !one.course.has_queued).collect();
    if calm.len() >= MIN_ALIKE {
        handed = calm;
    }
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for one in &handed {
        let begun = one.course.begun_ns().take_while(|begun_ns| *begun_ns <= one.done_ns).count();
        *counts.entry(begun.saturating_sub(1)).or_default() += 1;
    }
    let (step, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    // Who was woken sooner than usual seems to have been handed over before that step.
    let lasted = handed
        .iter()
        .filter_map(|one| Some(i128::from(one.done_ns) - i128::from(one.course.begun_ns().nth(step)?)));
    let mut lasted: Vec<i128> = lasted.collect();
    lasted.sort_unstable();
    let lasted_ns = lasted.get(lasted.len() / 2).copied()?;
    Some((step, u64::try_from(lasted_ns).unwrap_or(0)))
}

/// Whether it looks for what is ready.
fn is_look(slice: &Slice) -> bool {
    slice.state == ThreadState::Idle && slice.place != Place::Accept
}

/// Adds what a dispatching thread did to a course.
fn add(slice: &Slice, look_ns: u64, course: &mut Course) {
    if is_look(slice) {
        course.look(slice, look_ns);
    } else {
        course.add(slice);
        course.has_queued |= slice.place == Place::Gap && slice.state == ThreadState::RunQueue;
    }
}

impl<'a> Dispatching<'a> {
    fn of(tid: Tid, slices: &'a [Slice]) -> Self {
        let looks = slices.iter().enumerate().filter(|(_, slice)| is_look(slice)).map(|(number, _)| number);
        Self { tid, slices, looks: looks.collect() }
    }

    /// How it handed a request over. It arrived, was handed over and had a thread woken at these moments. The
    /// second is a guess. `None`: the thread did not accept its connection meanwhile, or did too much
    /// else.
    fn handed(&self, [arrived_ns, at_ns, woken_ns]: [u64; 3], look_ns: u64) -> Option<Handed> {
        let over_by = |moment_ns: u64| self.slices.partition_point(|slice| slice.end_ns <= moment_ns);
        let before = self.slices.get(..over_by(woken_ns))?.iter().enumerate().rev();
        let mut since = before.take_while(|(_, slice)| slice.end_ns > arrived_ns);
        let (accepted, _) = since.find(|(_, slice)| slice.place == Place::Accept)?;
        // Who was woken sooner than usual was handed over later than it seems.
        let at = over_by(at_ns).max(accepted);
        let first = self.looks.partition_point(|look| *look <= accepted).checked_sub(1)?;
        // In a look nothing is handed over: that came before it.
        let last = self.looks.partition_point(|look| *look < at);
        let begin = self.looks.get(first).copied()?;
        let end = self.looks.get(last).copied().unwrap_or(self.slices.len());
        if last - first > MAX_LOOKS {
            return None;
        }
        let mut course = Course::begin(self.tid);
        let (mut accepted_ns, mut done_ns) = (0, None);
        for number in begin..end {
            let slice = self.slices.get(number)?;
            let before_ns = if number == at { course.length_ns() } else { 0 };
            add(slice, look_ns, &mut course);
            if number == at {
                // A look takes as long as one that does not sleep, and a wait for the lock nothing.
                let added_ns = course.length_ns().saturating_sub(before_ns);
                let passed_ns = at_ns.saturating_sub(slice.start_ns);
                done_ns = Some(before_ns.saturating_add(passed_ns.min(added_ns)));
            }
            if number == accepted {
                accepted_ns = course.length_ns();
            }
            if course.steps.len() > MAX_PARTS {
                return None;
            }
        }
        let done_ns = done_ns.unwrap_or_else(|| course.length_ns()).max(accepted_ns);
        Some(Handed { slices: begin..end, course, done_ns })
    }

    /// All that it did but looks.
    fn parts(&self) -> impl Iterator<Item = Part> {
        self.slices.iter().filter(|slice| !is_look(slice)).filter_map(Part::of)
    }

    /// Its rounds that are of no such request. Rounds without a call are left out.
    fn other_rounds(&self, handed: &[Handed], look_ns: u64) -> Vec<Course> {
        let mut taken: Vec<&Range<usize>> = handed.iter().map(|handed| &handed.slices).collect();
        taken.sort_unstable_by_key(|range| range.start);
        // Until where each of them and those before reach.
        let reached = taken.iter().scan(0, |reached, range| {
            *reached = range.end.max(*reached);
            Some(*reached)
        });
        let reached: Vec<usize> = reached.collect();
        let is_taken = |number: usize| {
            let before = taken.partition_point(|range| range.start <= number);
            before.checked_sub(1).and_then(|last| reached.get(last)).is_some_and(|end| number < *end)
        };
        let ends = self.looks.iter().copied().skip(1).chain([self.slices.len()]);
        let rounds = self.looks.iter().copied().zip(ends).filter(|(begin, _)| !is_taken(*begin));
        let courses = rounds.map(|(begin, end)| {
            let mut course = Course::begin(self.tid);
            let slices = self.slices.get(begin..end).unwrap_or_default();
            slices.iter().for_each(|slice| add(slice, look_ns, &mut course));
            course
        });
        let calls = |course: &Course| !matches!(*course.parts(), [Part::Look] | [Part::Look, Part::Own]);
        courses.filter(calls).collect()
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::phase::Phase;
    use profiler_core::timeline::{Entry, ThreadState as State};
    use profiler_forecast::setting::Dispatch;

    use super::*;
    use crate::session::observer::Observer as _;
    use crate::whatif::model::Model;
    use crate::whatif::tests::{calm_snapshot, machine, python, request, slice};

    /// What a thread does in a request: its number, start and end in microseconds, state, label.
    type Does = (u32, u64, u64, State, &'static str);

    /// The model of six hundred requests, one each 10 ms, for each of which threads do this. Thread 2
    /// dispatches, with 0.4 ms of CPU time for each. Its head is read at `read_us`.
    fn model(read_us: u64, does: impl Fn(u64) -> Vec<Does>) -> Model {
        let mut trace = Trace::default();
        machine(0).iter().for_each(|fact| trace.note(fact));
        for number in 0..600_u64 {
            let at_ns = 1_000_000 + number * 10_000_000;
            for (tid, start_us, end_us, state, label) in does(number) {
                let (start_ns, end_ns) = (at_ns + start_us * 1000, at_ns + end_us * 1000);
                trace.entry(&slice(tid, start_ns, end_ns, state, label));
            }
            let mut request = request(at_ns, &[(Phase::PoolWait, 500_000), (Phase::Cpu, 2_000_000)]);
            request.times.service_start_ns = Some(at_ns + read_us * 1000);
            trace.entry(&Entry::Request(Box::new(request)));
        }
        let mut snapshot = calm_snapshot();
        snapshot.processes[0].threads[0].cpu_ns = 600 * 2_060_000;
        snapshot.processes[0].threads[1].cpu_ns = 600 * 400_000;
        Model::of(&snapshot, &trace, None)
    }

    fn errands_of(model: &Model) -> &Errands {
        let Dispatch::ByProcess(errands) = &model.setting.dispatch else { panic!("{:?}", model.setting) };
        errands
    }

    const fn free(duration_ns: u64) -> Segment {
        Segment { work: Work::Free(Phase::Cpu), duration_ns }
    }

    /// Thread 1 is woken at this moment, computes for 2 ms, and writes a log.
    fn serves(woken_us: u64) -> [Does; 4] {
        [
            (1, 0, woken_us, State::Idle, "futex"),
            (1, woken_us, woken_us + 2000, State::Running, "running"),
            (1, 2500, 2550, State::Running, "running"),
            (1, 2550, 2560, State::File, "write"),
        ]
    }

    /// gthread: after the response it closes the connection in a round of its own. The woken thread runs at
    /// this moment. `has_more`: something is ready at once; then nothing is.
    fn gthread(woken_us: u64, has_more: bool) -> Vec<Does> {
        let slept_us = if has_more { 163 } else { 160 };
        let looks_at_once = has_more.then_some((2, 160, slept_us, State::Idle, "epoll_wait"));
        let accepts = [
            (2, 0, 0, State::Idle, "epoll_wait"),
            (2, 0, 50, State::Running, "running"),
            (2, 50, 60, State::Idle, "accept4"),
            (2, 60, 160, State::Running, "running"),
        ];
        let closes = [
            (2, slept_us, 3000, State::Idle, "epoll_wait"),
            (2, 3000, 3020, State::Running, "running"),
            (2, 3020, 3030, State::Other, "close"),
            (2, 3030, 3040, State::Running, "running"),
        ];
        accepts.into_iter().chain(looks_at_once).chain(closes).chain(serves(woken_us)).collect()
    }

    #[test]
    fn a_request_is_handed_over_in_the_round_that_accepts_it() {
        let model = model(131, |_| gthread(130, true));
        let errands = errands_of(&model);
        assert_eq!(errands.before, [free(3000), python(50_000), free(10_000), python(70_000)]);
        assert_eq!(errands.accept_at, 2);
        assert_eq!(errands.then, [python(30_000)]);
        assert_eq!(errands.after, [free(3000), python(20_000), free(10_000), python(10_000)]);
        assert_eq!(model.load.after, [python(50_000), free(10_000)]);
    }

    #[test]
    fn a_round_in_which_another_process_was_faster_is_no_part_of_a_request() {
        let vain = [
            (2, 3040, 4000, State::Idle, "epoll_wait"),
            (2, 4000, 4020, State::Running, "running"),
            (2, 4020, 4030, State::Idle, "accept4"),
            (2, 4030, 4040, State::Running, "running"),
        ];
        let alone = model(131, |_| gthread(130, false));
        let raced = model(131, |_| gthread(130, false).into_iter().chain(vain).collect());
        assert_eq!(errands_of(&raced), errands_of(&alone));
    }

    /// Waitress: it reads in a second round. After the response it is woken by a pipe, and closes the
    /// connection in a round of its own. `queued_us`: how long it has no CPU once it has handed over.
    fn waitress(queued_us: u64) -> Vec<Does> {
        let has_queued = if queued_us > 0 { State::RunQueue } else { State::Running };
        let dispatches = [
            (2, 0, 0, State::Idle, "pselect6"),
            (2, 0, 30, State::Running, "running"),
            (2, 30, 36, State::Idle, "accept4"),
            (2, 36, 100, State::Running, "running"),
            (2, 100, 102, State::Idle, "pselect6"),
            (2, 102, 107, State::Running, "running"),
            (2, 107, 110, State::ClientIo, "recvfrom"),
            (2, 110, 240 + queued_us, has_queued, "running"),
            (2, 240 + queued_us, 2600, State::Idle, "pselect6"),
            (2, 2600, 2620, State::Running, "running"),
            (2, 2620, 2622, State::LockWait, "read"),
            (2, 2622, 2642, State::Running, "running"),
            (2, 2642, 2644, State::Idle, "pselect6"),
            (2, 2644, 2660, State::Running, "running"),
            (2, 2660, 2690, State::Other, "close"),
            (2, 2690, 2700, State::Running, "running"),
        ];
        dispatches.into_iter().chain(serves(210)).collect()
    }

    #[test]
    fn a_request_is_handed_over_in_a_later_round_that_reads_it() {
        for (what, model) in [
            ("it has a CPU", model(110, |_| waitress(0))),
            ("it often has none", model(110, |number| waitress(if number % 3 == 0 { 0 } else { 1500 }))),
        ] {
            let errands = errands_of(&model);
            let accepts = [free(2000), python(30_000), free(6000), python(64_000)];
            let reads = [free(2000), python(5000), free(3000), python(100_000)];
            assert_eq!(errands.before, [accepts, reads].concat(), "{what}");
            assert_eq!(errands.then, [python(30_000)], "{what}");
            let closes = [free(2000), python(16_000), free(30_000), python(10_000)];
            let wait = Segment { work: Work::Wait(Phase::Unexplained), duration_ns: 2000 };
            let woken = [free(2000), python(20_000), wait, python(20_000)];
            assert_eq!(errands.after, [closes, woken].concat(), "{what}");
        }
    }

    #[test]
    fn a_thread_that_gets_a_cpu_late_or_early_was_handed_its_request_in_the_same_round() {
        for (woken_us, then_ns) in [(200, 0), (70, 90_000), (61, 99_000)] {
            let model = model(woken_us + 1, |_| gthread(woken_us, false));
            let errands = errands_of(&model);
            let python_ns = 100_000 - then_ns;
            assert_eq!(errands.before, [python(50_000), free(10_000), python(python_ns)], "{woken_us}");
            assert_eq!(errands.then, [python(then_ns)], "{woken_us}");
            assert_eq!(errands.after, [python(20_000), free(10_000), python(10_000)], "{woken_us}");
        }
    }

    #[test]
    fn rounds_of_requests_that_found_no_thread_asleep_come_before_those_too() {
        // Of two in three nobody was woken: the thread that serves came from another request.
        let model = model(110, |number| {
            let mut does = waitress(0);
            if number % 3 > 0 {
                does.retain(|(_, _, _, _, label)| *label != "futex");
            }
            does
        });
        let errands = errands_of(&model);
        assert_eq!(errands.before.len(), 8);
        assert_eq!(errands.after.len(), 8, "{:?}", errands.after);
    }
}
