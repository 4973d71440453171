//! What requests waited for, by the clocks of the application, of its clients and of who stands outside: the
//! reference that knows nothing of wsgi-trace.
//!
//! In: notes, what clients sent, the window. Out: [`Truth`]. At each moment each request is in one state. Who
//! waits at a hop waits for the leaf while somebody of its process is there. Who waits for a slot waits, in
//! equal shares, for all who have one.

use std::collections::BTreeMap;
use std::ops::Range;

use wsgi_trace_test_support::notes::{
    BASE_CPU, ENDLESS, INNER, LEAF, MAIN, Mark, NOBODY_S, Note, OUTSIDE, REQUEST,
};

/// Hops that a path has at most.
pub(crate) const HOPS: usize = 3;

/// What is to be known of the incident.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About {
    /// Any process may take a request that waits.
    pub(crate) has_shared_queue: bool,
    /// The leaf computes: then what the base work computes counts as well.
    pub(crate) computes: bool,
    /// What is outside stops all processes.
    pub(crate) stops: bool,
    /// Who is at the leaf stops its process.
    pub(crate) stops_its_process: bool,
    /// The leaf is that nobody is there.
    pub(crate) is_absence: bool,
    /// The hop that is a request to itself.
    pub(crate) itself: Option<usize>,
    /// Hops that all processes share.
    pub(crate) shared_hops: [bool; HOPS],
}

/// Sums over all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Truth {
    /// From their arrival to their end, within the window.
    pub(crate) request_ns: f64,
    /// What of it the leaf held.
    pub(crate) leaf_ns: f64,
    /// What of that was waited at each hop.
    pub(crate) hop_ns: [f64; HOPS],
    /// Requests.
    pub(crate) requests: usize,
}

impl Truth {
    /// The share of all request time that the leaf held.
    pub(crate) fn share(&self) -> f64 {
        self.leaf_ns / self.request_ns.max(1.0)
    }
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not yet there, or over.
    Absent,
    /// Sent, and not yet served.
    Waiting,
    /// Served; it has so many hops behind it, and is neither at a hop nor at the leaf.
    Served(usize),
    /// At this hop.
    Hop(usize),
    Leaf,
}

impl State {
    /// Whether it has got this hop: who is still there waits for it.
    const fn is_beyond(self, hop: usize) -> bool {
        match self {
            Self::Absent | Self::Waiting => false,
            Self::Served(behind) => behind > hop,
            Self::Hop(at) => at > hop,
            Self::Leaf => true,
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Change {
    To(usize, State),
    Stops,
    GoesOn,
}

/// Computes it within a window, in ns of `CLOCK_MONOTONIC`. `sent`: number and time of each request.
pub(crate) fn truth(notes: &[Note], sent: &[(u64, u64)], window: &Range<u64>, about: About) -> Truth {
    let mut schedule = Schedule::default();
    schedule.read(notes, sent, about);
    let Schedule { mut changes, requests, .. } = schedule;
    changes.sort_by_key(|(at_ns, _)| *at_ns);
    let ended = requests.iter().filter(|(number, _)| is_request(*number)).count();
    let (mut now, mut is_stopped) = (Vec::<Present>::new(), false);
    let (mut truth, mut now_ns) = (Truth { requests: ended, ..Truth::default() }, window.start);
    for (at_ns, change) in changes.into_iter().chain([(window.end, Change::GoesOn)]) {
        let until_ns = at_ns.clamp(window.start, window.end);
        if until_ns > now_ns {
            truth.go_on(&mut now, (until_ns - now_ns) as f64, (is_stopped, about));
            now_ns = until_ns;
        }
        match change {
            Change::Stops => is_stopped = true,
            Change::GoesOn => is_stopped = false,
            Change::To(index, state) => {
                now.retain(|one| one.index != index);
                if let (Some((number, process)), true) = (requests.get(index), state != State::Absent) {
                    now.push(Present { index, number: *number, process: *process, state, held: 0.0 });
                }
            }
        }
    }
    truth
}

/// Whether a number is that of a request that ends, and of nobody else.
pub(crate) const fn is_request(number: u64) -> bool {
    number & (ENDLESS | NOBODY_S) == 0
}

/// A request, or who meets the leaf beside all requests, that is there.
#[derive(Clone, Copy, Debug)]
struct Present {
    index: usize,
    number: u64,
    /// 0: nobody will serve it.
    process: u32,
    state: State,
    /// How much of it the leaf holds at this moment.
    held: f64,
}

/// Who waits for whom is looked at so often: a request to itself is two requests.
const ROUNDS: usize = 6;

impl Truth {
    /// So much time goes by.
    fn go_on(&mut self, now: &mut [Present], length_ns: f64, (is_stopped, about): (bool, About)) {
        for one in now.iter_mut() {
            one.held = if is_stopped || one.state == State::Leaf { 1.0 } else { 0.0 };
        }
        for _ in 0..if is_stopped { 0 } else { ROUNDS } {
            let before = now.to_vec();
            let has_leaf =
                |process: u32| before.iter().any(|one| one.state == State::Leaf && one.process == process);
            for one in now.iter_mut() {
                let is_stopped = about.stops_its_process && has_leaf(one.process);
                one.held = if is_stopped { 1.0 } else { held(one, &before, about) };
            }
        }
        // Those that do not end have slots, and nobody waits for an answer of theirs.
        for one in now.iter().filter(|one| is_request(one.number)) {
            self.request_ns += length_ns;
            self.leaf_ns += one.held * length_ns;
            let hop = if let (State::Hop(hop), false) = (one.state, is_stopped) { Some(hop) } else { None };
            if let Some(sum) = hop.and_then(|hop| self.hop_ns.get_mut(hop)) {
                *sum += one.held * length_ns;
            }
        }
    }
}

/// How much of a request the leaf holds, where it holds so much of the others.
fn held(one: &Present, all: &[Present], about: About) -> f64 {
    let is_here =
        |other: &&Present, is_shared: bool| is_shared || one.process == 0 || other.process == one.process;
    match one.state {
        State::Leaf => 1.0,
        State::Absent | State::Served(_) => 0.0,
        State::Hop(hop) if about.itself == Some(hop) => {
            all.iter().find(|other| other.number == one.number | INNER).map_or(0.0, |inner| inner.held)
        }
        State::Hop(hop) => {
            let is_shared = about.shared_hops.get(hop).is_some_and(|is_shared| *is_shared);
            mean(all.iter().filter(|other| other.state.is_beyond(hop) && is_here(other, is_shared)))
        }
        State::Waiting => {
            // Who accepts lets nobody in meanwhile; where he serves as well, he is one of those.
            let is_main = |other: &&Present| other.number & MAIN != 0 && is_here(other, false);
            if let (false, Some(main)) = (about.has_shared_queue, all.iter().find(is_main)) {
                return main.held;
            }
            let is_beside = |other: &Present| other.number & NOBODY_S != 0 && other.number & MAIN == 0;
            let has_slot = |other: &&Present| {
                !matches!(other.state, State::Absent | State::Waiting) && !is_beside(other)
            };
            if about.is_absence {
                return if all.iter().any(|other| has_slot(&other)) { 0.0 } else { 1.0 };
            }
            mean(all.iter().filter(|other| has_slot(other) && is_here(other, about.has_shared_queue)))
        }
    }
}

fn mean<'a>(of: impl Iterator<Item = &'a Present>) -> f64 {
    let (count, sum) = of.fold((0_u32, 0.0), |(count, sum), one| (count + 1, sum + one.held));
    sum / f64::from(count.max(1))
}

/// What happens to all requests.
#[derive(Debug, Default)]
struct Schedule {
    changes: Vec<(u64, Change)>,
    /// Number and process of each request.
    requests: Vec<(u64, u32)>,
    indexes: BTreeMap<u64, usize>,
    /// Steps that each request is in, and whether it has got what it entered for.
    open: BTreeMap<u64, Vec<(u8, bool)>>,
}

impl Schedule {
    fn read(&mut self, notes: &[Note], sent: &[(u64, u64)], about: About) {
        let is_begin = |note: &&Note| note.step == REQUEST && note.mark == Mark::Enter && note.request > 0;
        for note in notes.iter().filter(is_begin) {
            self.index(note.request, note.pid);
        }
        for (number, sent_ns) in sent.iter().filter(|(_, sent_ns)| *sent_ns > 0) {
            // Whom nobody serves is in no process.
            let index = self.index(*number, 0);
            self.changes.push((*sent_ns, Change::To(index, State::Waiting)));
        }
        for note in notes {
            match (note.step, note.request) {
                (OUTSIDE, _) if about.stops => {
                    let change = if note.mark == Mark::Enter { Change::Stops } else { Change::GoesOn };
                    self.changes.push((note.at_ns, change));
                }
                (_, 0) => {}
                _ => self.take(note, about),
            }
        }
    }

    fn index(&mut self, request: u64, process: u32) -> usize {
        *self.indexes.entry(request).or_insert_with(|| {
            self.requests.push((request, process));
            self.requests.len() - 1
        })
    }

    fn take(&mut self, note: &Note, about: About) {
        let index = self.index(note.request, note.pid);
        let steps = self.open.entry(note.request).or_default();
        let place = steps.iter().rposition(|step| step.0 == note.step);
        match (note.mark, place) {
            (Mark::Enter, _) => steps.push((note.step, false)),
            (Mark::Got, Some(place)) => {
                if let Some(step) = steps.get_mut(place) {
                    step.1 = true;
                }
            }
            (Mark::Leave, Some(place)) => steps.truncate(place),
            (Mark::Got | Mark::Leave, None) => {}
        }
        let is_hop = |step: &&(u8, bool)| usize::from(step.0) < HOPS && step.1;
        let behind = steps.iter().rfind(is_hop).map_or(0, |step| usize::from(step.0) + 1);
        let state = match steps.last() {
            None => State::Absent,
            Some((LEAF, _)) => State::Leaf,
            Some((BASE_CPU, _)) if about.computes => State::Leaf,
            Some((hop, false)) if usize::from(*hop) < HOPS => State::Hop(usize::from(*hop)),
            Some(_) => State::Served(behind),
        };
        self.changes.push((note.at_ns, Change::To(index, state)));
        // What it sends to itself waits from then on.
        let inner = note.request | INNER;
        if note.mark == Mark::Enter && about.itself == Some(usize::from(note.step)) && inner != note.request {
            let index = self.index(inner, 0);
            self.changes.push((note.at_ns, Change::To(index, State::Waiting)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(at_ns: u64, request: u64, pid: u32, step: u8, mark: Mark) -> Note {
        Note { at_ns, request, pid, tid: pid, step, mark }
    }

    /// A request that is served from 10 to 100, at its hop from 20, at the leaf from 40 to 90.
    fn one(request: u64, pid: u32) -> Vec<Note> {
        vec![
            note(10, request, pid, REQUEST, Mark::Enter),
            note(20, request, pid, 0, Mark::Enter),
            note(40, request, pid, 0, Mark::Got),
            note(40, request, pid, LEAF, Mark::Enter),
            note(90, request, pid, LEAF, Mark::Leave),
            note(90, request, pid, 0, Mark::Leave),
            note(100, request, pid, REQUEST, Mark::Leave),
        ]
    }

    #[test]
    fn a_hop_is_the_leaf_s_while_somebody_of_its_process_is_there() {
        let of = |other: u32| {
            let mut notes = one(1, 7);
            notes.extend([note(0, 2, other, REQUEST, Mark::Enter), note(30, 2, other, 0, Mark::Enter)]);
            notes.sort_by_key(|note| note.at_ns);
            truth(&notes, &[], &(0..120), About::default())
        };
        // 90 and 120; at the leaf 50, and the other's 50 at its hop.
        let expected = Truth { request_ns: 210.0, leaf_ns: 100.0, hop_ns: [50.0, 0.0, 0.0], requests: 2 };
        assert_eq!(of(7), expected);
        assert_eq!(of(8), Truth { leaf_ns: 50.0, hop_ns: [0.0; HOPS], ..expected });
    }

    #[test]
    fn who_waits_for_a_slot_waits_for_all_who_have_one_in_equal_shares() {
        let mut notes = one(1, 7);
        // Beside it one that is served all the time, in another process.
        notes.insert(0, note(0, 2, 8, REQUEST, Mark::Enter));
        let waits = [(1, 10), (3, 50)];
        let shared = About { has_shared_queue: true, ..About::default() };
        let found = truth(&notes, &waits, &(0..100), shared);
        // The third from 50 to 100, half of it up to 90.
        let expected = Truth { request_ns: 240.0, leaf_ns: 50.0 + 20.0, hop_ns: [0.0; HOPS], requests: 3 };
        assert_eq!(found, expected);
        // Only in the process that will serve it.
        notes.push(note(100, 3, 8, REQUEST, Mark::Enter));
        assert_eq!(truth(&notes, &waits, &(0..100), About::default()).leaf_ns, 50.0);
    }

    #[test]
    fn a_request_that_does_not_end_is_waited_for_and_is_none_itself() {
        let endless = |at_ns, step, mark| note(at_ns, ENDLESS | 1, 7, step, mark);
        let mut notes = vec![endless(0, REQUEST, Mark::Enter), endless(0, LEAF, Mark::Enter)];
        notes.extend([endless(60, REQUEST, Mark::Leave), note(60, 2, 7, REQUEST, Mark::Enter)]);
        let found = truth(&notes, &[(2, 20)], &(0..80), About::default());
        assert_eq!((found.request_ns, found.leaf_ns, found.requests), (60.0, 40.0, 1));
    }

    #[test]
    fn who_is_no_request_is_waited_for_and_has_a_slot_only_where_he_accepts() {
        let of = |number: u64, waits: &[(u64, u64)]| {
            let beside = |at_ns, step, mark| note(at_ns, NOBODY_S | number, 7, step, mark);
            let mut notes = vec![beside(0, REQUEST, Mark::Enter), beside(0, 0, Mark::Enter)];
            notes.extend([beside(0, 0, Mark::Got), beside(0, LEAF, Mark::Enter)]);
            notes.extend([beside(60, REQUEST, Mark::Leave), note(60, 2, 7, REQUEST, Mark::Enter)]);
            // At the hop that he has.
            notes.extend([note(10, 3, 7, REQUEST, Mark::Enter), note(10, 3, 7, 0, Mark::Enter)]);
            notes.sort_by_key(|note| note.at_ns);
            truth(&notes, waits, &(0..80), About::default())
        };
        let background = of(1, &[(2, 20)]);
        // 70 and 60; at the leaf as long as he is there, the other through the first alone.
        assert_eq!((background.request_ns, background.leaf_ns, background.requests), (130.0, 50.0 + 40.0, 2));
        let alone = of(MAIN, &[(2, 20)]);
        assert_eq!((alone.leaf_ns, alone.hop_ns), (90.0, [50.0, 0.0, 0.0]));
    }

    #[test]
    fn who_is_stopped_waits_for_that_alone() {
        let mut notes = one(1, 7);
        notes.extend([note(30, 0, 9, OUTSIDE, Mark::Enter), note(60, 0, 9, OUTSIDE, Mark::Leave)]);
        notes.sort_by_key(|note| note.at_ns);
        let stops = About { stops: true, ..About::default() };
        let is_stopped = truth(&notes, &[(2, 1)], &(0..60), stops);
        // Both from 30 to 60, and nothing before: the leaf was not there yet.
        assert_eq!(is_stopped.leaf_ns, 60.0);
        // Who holds a lock stops nobody: half of the second's time, from 40 on.
        let holds = truth(&notes, &[(2, 1)], &(0..60), About::default());
        assert_eq!(holds.leaf_ns, 20.0 + 20.0);
    }

    #[test]
    fn a_request_to_itself_waits_from_when_it_is_sent() {
        let mut notes = vec![note(10, 1, 7, REQUEST, Mark::Enter), note(20, 1, 7, 0, Mark::Enter)];
        notes.extend([
            note(30, INNER | 1, 7, REQUEST, Mark::Enter),
            note(40, INNER | 1, 7, LEAF, Mark::Enter),
        ]);
        let about = About { itself: Some(0), ..About::default() };
        let found = truth(&notes, &[], &(0..100), about);
        // 90 and 80; from 40 on both.
        assert_eq!((found.request_ns, found.leaf_ns, found.requests), (170.0, 120.0, 2));
    }

    #[test]
    fn the_base_work_s_computing_is_the_leaf_s_where_that_computes() {
        let notes = [
            note(10, 1, 7, REQUEST, Mark::Enter),
            note(20, 1, 7, BASE_CPU, Mark::Enter),
            note(50, 1, 7, BASE_CPU, Mark::Leave),
        ];
        let of = |computes| truth(&notes, &[], &(0..100), About { computes, ..About::default() }).leaf_ns;
        assert_eq!((of(true), of(false)), (30.0, 0.0));
    }
}
