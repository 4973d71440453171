//! How much of the waiting for one another would not have been without the leaf: the reference's own replay.
//!
//! In: notes, what clients sent, the window. Out: [`Prevented`]. Who came first is served first, at a slot
//! and at each hop; what requests do themselves takes as long as it took. The same arrivals are replayed with
//! the leaf and without it.

use std::collections::BTreeMap;
use std::ops::Range;

use wsgi_trace_test_support::notes::{INNER, LEAF, Mark, Note, REQUEST};

use crate::truth::{HOPS, is_request};

/// What is served at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Slots of one process, or of all, where they share a queue.
    pub(crate) slots: usize,
    pub(crate) has_shared_queue: bool,
    /// Of each hop; `None`: no limit.
    pub(crate) hops: [Option<usize>; HOPS],
    /// Whether all processes share it.
    pub(crate) shared_hops: [bool; HOPS],
}

/// Waiting for a slot and at hops, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Prevented {
    pub(crate) with_leaf_ns: u64,
    pub(crate) without_ns: u64,
}

impl Prevented {
    /// The part of it that would not have been without the leaf.
    pub(crate) fn share(self) -> f64 {
        let prevented_ns = self.with_leaf_ns.saturating_sub(self.without_ns);
        prevented_ns as f64 / self.with_leaf_ns.max(1) as f64
    }
}

/// One thing that a request does.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Something of its own, for so long.
    Works(u64),
    /// The same at the leaf.
    Leaf(u64),
    Takes(usize),
    Gives(usize),
}

/// One request, or who comes beside all requests.
#[derive(Clone, Debug, Default)]
struct Course {
    number: u64,
    came_ns: u64,
    process: u32,
    steps: Vec<Step>,
}

/// Replays what came within the window.
pub(crate) fn prevented(notes: &[Note], sent: &[(u64, u64)], window: &Range<u64>, room: Room) -> Prevented {
    let mut courses = courses(notes, sent);
    courses.retain(|course| window.contains(&course.came_ns));
    courses.sort_by_key(|course| course.came_ns);
    let replayed = |has_leaf| Replay { room, ..Replay::default() }.waited_ns(&courses, has_leaf);
    Prevented { with_leaf_ns: replayed(true), without_ns: replayed(false) }
}

/// What each did between its begin and its end. Of what did not end nothing is known.
fn courses(notes: &[Note], sent: &[(u64, u64)]) -> Vec<Course> {
    let came: BTreeMap<u64, u64> = sent.iter().copied().filter(|(_, sent_ns)| *sent_ns > 0).collect();
    let mut open: BTreeMap<u64, (Course, u64)> = BTreeMap::new();
    let mut done = Vec::new();
    // What a request asks of its own server is a part of that request.
    for note in notes.iter().filter(|note| note.request > 0 && note.request & INNER == 0) {
        if (note.step, note.mark) == (REQUEST, Mark::Enter) {
            let came_ns = came.get(&note.request).copied().unwrap_or(note.at_ns);
            let course = Course { number: note.request, came_ns, process: note.pid, steps: Vec::new() };
            open.insert(note.request, (course, note.at_ns));
            continue;
        }
        let Some((course, last_ns)) = open.get_mut(&note.request) else { continue };
        let length_ns = note.at_ns.saturating_sub(*last_ns);
        let hop = usize::from(note.step);
        match (note.step, note.mark) {
            (LEAF, Mark::Leave) => course.steps.push(Step::Leaf(length_ns)),
            // What lies before is waiting.
            (_, Mark::Got) if hop < HOPS => course.steps.push(Step::Takes(hop)),
            (_, Mark::Leave) if hop < HOPS => course.steps.extend([Step::Works(length_ns), Step::Gives(hop)]),
            _ => course.steps.push(Step::Works(length_ns)),
        }
        *last_ns = note.at_ns;
        if (note.step, note.mark) == (REQUEST, Mark::Leave)
            && let Some((course, _)) = open.remove(&note.request)
        {
            done.push(course);
        }
    }
    done
}

/// When what is taken is free again, by what it is and the process that it is of.
#[derive(Debug)]
struct Replay {
    room: Room,
    slots: BTreeMap<u32, Vec<u64>>,
    hops: BTreeMap<(usize, u32), Vec<u64>>,
}

impl Default for Replay {
    fn default() -> Self {
        let room = Room { slots: 1, has_shared_queue: false, hops: [None; HOPS], shared_hops: [false; HOPS] };
        Self { room, slots: BTreeMap::new(), hops: BTreeMap::new() }
    }
}

impl Replay {
    fn waited_ns(mut self, courses: &[Course], has_leaf: bool) -> u64 {
        courses.iter().fold(0, |sum, course| sum + self.one(course, has_leaf))
    }

    /// How long one waits; what it takes is taken until it gives it back.
    fn one(&mut self, course: &Course, has_leaf: bool) -> u64 {
        let (mut now_ns, mut waited_ns) = (course.came_ns, 0);
        let of = if self.room.has_shared_queue { 0 } else { course.process };
        let is_served = is_request(course.number);
        let slots = self.slots.entry(of).or_insert_with(|| vec![0; self.room.slots.max(1)]);
        let slot = earliest(slots);
        if is_served {
            let free_ns = slots.get(slot).copied().unwrap_or(0);
            waited_ns += free_ns.saturating_sub(now_ns);
            now_ns = now_ns.max(free_ns);
        }
        let mut taken: Vec<((usize, u32), usize)> = Vec::new();
        for step in &course.steps {
            match *step {
                Step::Works(ns) => now_ns += ns,
                Step::Leaf(ns) => now_ns += if has_leaf { ns } else { 0 },
                Step::Takes(hop) => {
                    let Some(count) = self.room.hops.get(hop).copied().flatten() else { continue };
                    let is_shared = self.room.shared_hops.get(hop).is_some_and(|is_shared| *is_shared);
                    let key = (hop, if is_shared { 0 } else { course.process });
                    let places = self.hops.entry(key).or_insert_with(|| vec![0; count.max(1)]);
                    let place = earliest(places);
                    let free_ns = places.get(place).copied().unwrap_or(0);
                    waited_ns += free_ns.saturating_sub(now_ns);
                    now_ns = now_ns.max(free_ns);
                    taken.push((key, place));
                }
                Step::Gives(hop) => {
                    let Some(at) = taken.iter().rposition(|((of, _), _)| *of == hop) else { continue };
                    let (key, place) = taken.remove(at);
                    if let Some(free_ns) = self.hops.get_mut(&key).and_then(|places| places.get_mut(place)) {
                        *free_ns = now_ns;
                    }
                }
            }
        }
        if let (true, Some(free_ns)) = (is_served, self.slots.get_mut(&of).and_then(|all| all.get_mut(slot)))
        {
            *free_ns = now_ns;
        }
        if is_served { waited_ns } else { 0 }
    }
}

/// Which of them is free first.
fn earliest(places: &[u64]) -> usize {
    let first = places.iter().enumerate().min_by_key(|(_, free_ns)| **free_ns);
    first.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(at_ns: u64, request: u64, step: u8, mark: Mark) -> Note {
        Note { at_ns, request, pid: 7, tid: 7, step, mark }
    }

    /// Served from `at_ns` on for 10, then under the hop with the leaf for `leaf_ns`, and 10 more.
    fn one(request: u64, at_ns: u64, leaf_ns: u64) -> Vec<Note> {
        vec![
            note(at_ns, request, REQUEST, Mark::Enter),
            note(at_ns + 10, request, 0, Mark::Enter),
            note(at_ns + 10, request, 0, Mark::Got),
            note(at_ns + 10, request, LEAF, Mark::Enter),
            note(at_ns + 10 + leaf_ns, request, LEAF, Mark::Leave),
            note(at_ns + 10 + leaf_ns, request, 0, Mark::Leave),
            note(at_ns + 20 + leaf_ns, request, REQUEST, Mark::Leave),
        ]
    }

    #[test]
    fn without_the_leaf_nobody_waits_at_its_hop_and_some_still_for_a_slot() {
        let room = |slots| Room {
            slots,
            has_shared_queue: false,
            hops: [Some(1), None, None],
            shared_hops: [false; HOPS],
        };
        let notes = [one(1, 0, 100), one(2, 110, 100)].concat();
        let of = |slots| prevented(&notes, &[(1, 0), (2, 5)], &(0..1000), room(slots));
        // The second comes 5 after the first: it waits at the hop, or for the slot.
        assert_eq!(of(2), Prevented { with_leaf_ns: 95, without_ns: 0 });
        assert_eq!(of(1), Prevented { with_leaf_ns: 115, without_ns: 15 });
        assert_eq!(prevented(&notes, &[], &(500..1000), room(1)), Prevented::default());
    }
}
