//! Waits of both kinds, made up: what is said of them.

use super::*;

const MS: u64 = 1_000_000;
/// A request that is longer than what is looked at.
const ALWAYS: (u64, u64) = (0, u64::MAX);

/// When threads come to ask, and how each is served.
#[derive(Clone, Copy, Debug)]
enum Serves {
    /// Each by itself.
    Each,
    /// One at a time, in order.
    InOrder,
    /// All at once, each the slower.
    InTurns,
}

/// A load of `slots` threads, each of which asks again after a pause.
#[derive(Clone, Copy, Debug)]
struct Load {
    slots: usize,
    /// What one takes alone, in the mean, and by how many percent that differs.
    alone_ns: u64,
    differs_percent: u64,
    /// In the mean from an answer to the next question.
    pause_ns: u64,
    seed: u64,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }
}

/// Waits of 400 questions, in steps of a tenth of a millisecond.
fn played(load: Load, serves: Serves) -> Vec<(u64, u64)> {
    const STEP_NS: u64 = MS / 10;
    let mut random = Random(load.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    // Of each thread: when it asks next, or since when, and what is left.
    let mut asks_ns: Vec<u64> = (0..load.slots).map(|_| random.below(load.pause_ns * 2)).collect();
    let mut asked: Vec<Option<(u64, u64)>> = vec![None; load.slots];
    let mut line: Vec<usize> = Vec::new();
    let (mut now_ns, mut waits) = (0, Vec::new());
    while waits.len() < 400 {
        for thread in 0..load.slots {
            if asked[thread].is_none() && asks_ns[thread] <= now_ns {
                let differs_ns = load.alone_ns * load.differs_percent / 100;
                let takes_ns = load.alone_ns - differs_ns + random.below(2 * differs_ns + 1);
                asked[thread] = Some((now_ns, takes_ns * 1000));
                line.push(thread);
            }
        }
        let served: Vec<usize> = match serves {
            Serves::InOrder => line.first().copied().into_iter().collect(),
            Serves::Each | Serves::InTurns => line.clone(),
        };
        let share = match serves {
            Serves::InTurns => 1000 / served.len().max(1) as u64,
            Serves::Each | Serves::InOrder => 1000,
        };
        now_ns += STEP_NS;
        for thread in served {
            let Some((since_ns, left)) = &mut asked[thread] else { continue };
            *left = left.saturating_sub(STEP_NS * share);
            if *left == 0 {
                waits.push((*since_ns, now_ns));
                asked[thread] = None;
                line.retain(|other| *other != thread);
                asks_ns[thread] = now_ns + random.below(load.pause_ns * 2);
            }
        }
    }
    waits
}

fn said_of(kind: LeafKind, waits: &[(u64, u64)]) -> Independence {
    let object = Object::Peer { port: 5432 };
    let mut all = OutsideWaits::default();
    for (start_ns, end_ns) in waits.iter().map(|(start_ns, end_ns)| (start_ns + 1, end_ns + 1)) {
        all.add((3, ALWAYS.0, ALWAYS.1), &[OutsideWait { kind, object, start_ns, end_ns, is_whole: true }]);
    }
    all.measured().of(&Leaf { object, endpoint: 3, ..Leaf::of(kind) })
}

fn of_back_end(load: Load, serves: Serves) -> Independence {
    said_of(LeafKind::BackEnd, &played(load, serves))
}

/// Loads of all sorts, always the same.
fn loads() -> impl Iterator<Item = Load> {
    let mut random = Random(0x5DEE_CE66_D1CE);
    (0..150).map(move |seed| Load {
        slots: 2 + random.below(10) as usize,
        alone_ns: (2 + random.below(98)) * MS,
        differs_percent: random.below(90),
        pause_ns: (1 + random.below(199)) * MS,
        seed,
    })
}

/// How many of them are said to be so.
fn said(serves: Serves, independence: Independence) -> usize {
    loads().filter(|load| of_back_end(*load, serves) == independence).count()
}

/// Three standard errors leave one of 740 (of 20,000 loads it was 27).
#[test]
fn who_answers_each_by_itself_is_called_shared_by_chance_alone() {
    assert!(said(Serves::Each, Independence::Shared) <= 1);
    assert!(said(Serves::Each, Independence::Independent) > 50);
}

#[test]
fn who_answers_one_at_a_time_is_never_called_independent() {
    assert_eq!(said(Serves::InOrder, Independence::Independent), 0);
    assert!(said(Serves::InOrder, Independence::Shared) > 50);
}

#[test]
fn who_answers_all_in_turns_is_never_called_independent() {
    assert_eq!(said(Serves::InTurns, Independence::Independent), 0);
    assert!(said(Serves::InTurns, Independence::Shared) > 50);
}

/// Four threads that ask for 50 ms, for a third of their time.
const BUSY: Load = Load { slots: 4, alone_ns: 50 * MS, differs_percent: 10, pause_ns: 100 * MS, seed: 1 };

#[test]
fn where_few_and_many_ask_it_shows_whether_they_wait_for_one_another() {
    for seed in 1..40 {
        let load = Load { seed, ..BUSY };
        assert_eq!(of_back_end(load, Serves::Each), Independence::Independent, "{seed}");
        assert_eq!(of_back_end(load, Serves::InOrder), Independence::Shared, "{seed}");
        assert_eq!(of_back_end(load, Serves::InTurns), Independence::Shared, "{seed}");
    }
}

#[test]
fn where_always_as_many_ask_nothing_is_known() {
    // Four threads, each of which asks again at once.
    let each = 50 * MS;
    let waits: Vec<(u64, u64)> =
        (0..200).map(|number| (number * each / 4, number * each / 4 + each)).collect();
    assert_eq!(said_of(LeafKind::BackEnd, &waits), Independence::Unknown);
    assert_eq!(said_of(LeafKind::BackEnd, &waits[..19]), Independence::Unknown, "and too few");
}

/// Bursts of four at once, which end when `ends` says.
fn bursts(ends: impl Fn(u64) -> u64) -> Vec<(u64, u64)> {
    let burst = |number: u64| (0..4).map(move |place| (number * 1000 * MS + place, place));
    (0..30).flat_map(burst).map(|(start_ns, place)| (start_ns, start_ns + ends(place))).collect()
}

#[test]
fn bursts_alone_show_an_order_and_nothing_else() {
    let in_order = bursts(|place| (place + 1) * 50 * MS);
    assert_eq!(said_of(LeafKind::BackEnd, &in_order), Independence::Shared);
    let at_once = bursts(|_| 50 * MS);
    assert_eq!(said_of(LeafKind::BackEnd, &at_once), Independence::Unknown, "or in turns, 12.5 ms each");
}

#[test]
fn of_sleeps_what_they_began_with_decides() {
    let at_once = bursts(|_| 50 * MS);
    assert_eq!(said_of(LeafKind::Sleep, &at_once), Independence::Independent);
    let limited = bursts(|place| (place + 1) * 50 * MS);
    assert_eq!(said_of(LeafKind::Sleep, &limited), Independence::Shared, "each sleeps until it may go on");
}

/// Four threads that always sleep, each for as long as `length_ns` says of when it begins and of its turn.
fn always_four(length_ns: impl Fn(u64, u64) -> u64) -> Vec<(u64, u64)> {
    let mut random = Random(7);
    let mut free_ns: Vec<u64> = (0..4).map(|thread| thread * 75 * MS).collect();
    let mut waits = Vec::new();
    for turn in 0..120 {
        let thread = (0..4).min_by_key(|thread| free_ns[*thread]).unwrap();
        // From its answer to the next request it takes a millisecond or two.
        let start_ns = free_ns[thread] + MS + random.below(MS);
        // A timer is late by some microseconds.
        let end_ns = start_ns + length_ns(start_ns, turn) + 50_000 + random.below(40_000);
        waits.push((start_ns, end_ns));
        free_ns[thread] = end_ns;
    }
    waits
}

#[test]
fn where_always_as_many_sleep_who_begins_later_sleeps_for_less_if_it_is_for_a_turn() {
    let each = always_four(|_, _| 300 * MS);
    assert_eq!(said_of(LeafKind::Sleep, &each), Independence::Independent);
    assert_eq!(said_of(LeafKind::BackEnd, &each), Independence::Unknown, "a back end may serve in turns");
    let limited = always_four(|start_ns, turn| (300 * MS + turn * 80 * MS).saturating_sub(start_ns));
    assert_eq!(said_of(LeafKind::Sleep, &limited), Independence::Shared);
    // Of different lengths it does not show.
    let mixed = always_four(|_, turn| (turn * 7 % 5 + 1) * 100 * MS);
    assert_ne!(said_of(LeafKind::Sleep, &mixed), Independence::Shared);
}

#[test]
fn sleeps_of_one_request_are_one_wait_until_it_may_go_on() {
    let mut all = OutsideWaits::default();
    for burst in 0..30 {
        for place in 0..4 {
            // Each looks again every 50 ms, and one of them gets what it waits for.
            let start_ns = burst * 1000 * MS + place;
            let sleeps: Vec<OutsideWait> = (0..=place)
                .map(|look| start_ns + look * 52 * MS)
                .map(|start_ns| OutsideWait {
                    kind: LeafKind::Sleep,
                    object: Object::Unknown,
                    start_ns,
                    end_ns: start_ns + 50 * MS,
                    is_whole: true,
                })
                .collect();
            all.add((1, ALWAYS.0, ALWAYS.1), &sleeps);
        }
    }
    let leaf = Leaf { endpoint: 1, ..Leaf::of(LeafKind::Sleep) };
    assert_eq!(all.measured().of(&leaf), Independence::Shared);
}

#[test]
fn waits_that_began_or_ended_with_their_request_were_cut_off() {
    let (kind, object) = (LeafKind::BackEnd, Object::Unknown);
    for (before_ns, after_ns, expected) in
        [(0, 1, Independence::Unknown), (1, 0, Independence::Unknown), (1, 1, Independence::Independent)]
    {
        let mut all = OutsideWaits::default();
        for (start_ns, end_ns) in played(BUSY, Serves::Each) {
            let (start_ns, end_ns) = (start_ns + 10, end_ns + 10);
            let of_request = (1, start_ns - before_ns, end_ns + after_ns);
            all.add(of_request, &[OutsideWait { kind, object, start_ns, end_ns, is_whole: true }]);
        }
        let leaf = Leaf { endpoint: 1, ..Leaf::of(kind) };
        assert_eq!(all.measured().of(&leaf), expected, "{before_ns} {after_ns}");
    }
}

#[test]
fn waits_that_did_not_end_are_company_and_no_measure() {
    let mut all = OutsideWaits::default();
    for (start_ns, end_ns) in played(BUSY, Serves::Each) {
        let (kind, object) = (LeafKind::BackEnd, Object::Unknown);
        all.add((1, ALWAYS.0, ALWAYS.1), &[OutsideWait { kind, object, start_ns, end_ns, is_whole: false }]);
    }
    let leaf = Leaf { endpoint: 1, ..Leaf::of(LeafKind::BackEnd) };
    assert_eq!(all.measured().of(&leaf), Independence::Unknown);
}

#[test]
fn endpoints_that_take_longer_are_not_taken_for_a_crowd() {
    // One that takes ten times as long comes in company; of each endpoint all take as long.
    let mut all = OutsideWaits::default();
    let (kind, object) = (LeafKind::BackEnd, Object::Peer { port: 80 });
    let mut add = |endpoint, start_ns, length_ns| {
        let end_ns = start_ns + length_ns;
        all.add(
            (endpoint, ALWAYS.0, ALWAYS.1),
            &[OutsideWait { kind, object, start_ns, end_ns, is_whole: true }],
        );
    };
    for number in 0..100 {
        let at_ns = number * 1000 * MS;
        add(1, at_ns, 10 * MS);
        for place in 0..number % 4 {
            add(2, at_ns + 100 * MS + place * 10 * MS, 100 * MS);
        }
        if number % 2 == 0 {
            add(1, at_ns + 150 * MS, 10 * MS);
        }
    }
    let of =
        |measured: &MeasuredIndependence, endpoint| measured.of(&Leaf { object, endpoint, ..Leaf::of(kind) });
    let measured = all.measured();
    assert_eq!([1, 2].map(|endpoint| of(&measured, endpoint)), [Independence::Independent; 2]);
    assert_eq!(of(&measured, 3), Independence::Unknown);
}

#[test]
fn of_more_waits_than_are_kept_nothing_is_said() {
    let mut all = OutsideWaits::default();
    let (kind, object) = (LeafKind::BackEnd, Object::Unknown);
    for number in 0..=MAX_WAITS as u64 {
        let (start_ns, end_ns) = (number * MS, number * MS + 2 * MS + number % 3 * MS / 2);
        all.add((1, ALWAYS.0, ALWAYS.1), &[OutsideWait { kind, object, start_ns, end_ns, is_whole: true }]);
    }
    assert_eq!(all.count, MAX_WAITS);
    assert!(all.measured().0.is_empty());
}

#[test]
fn nothing_is_measured_of_what_is_not_outside() {
    assert_eq!(Thing::of(LeafKind::Computing, Object::Unknown), None);
    assert_eq!(Thing::of(LeafKind::NotReleased, Object::Unknown), None);
}
