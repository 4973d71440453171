//! Sums of one lock over made-up sleeps.
//!
//! In: scripts. Out: assertions.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn measure() -> Measure {
    Measure::new(1, &InterpreterLock { address: 8, interpreter: 0, interval_us: 5000 })
}

fn sleep(start_ns: u64, length_ns: u64, result: i64, holder: Option<(Tid, u32)>) -> Sleep {
    Sleep { start_ns, end_ns: start_ns + length_ns, result, on_condition: true, holder }
}

/// ```text
/// asked at 5 ms; the lock had not changed hands at 5, 10 and 15 ms; the release at 18 ms wakes the waiter
/// ```
#[test]
fn a_holder_that_keeps_the_lock_when_asked_to_give_it_up_is_told_from_one_that_gives_it_up() {
    let mut measure = measure();
    let mut attempt = Attempt::default();
    let same = Some((7, 100));
    let mut added = Vec::new();
    for (start_ms, length_ms, result) in [(0, 5, -110), (5, 5, -110), (10, 5, -110), (15, 3, 0)] {
        let sleep = sleep(start_ms * MS, length_ms * MS, result, same);
        added.push(measure.sleep(&mut attempt, &sleep, start_ms * MS) / MS);
    }
    assert_eq!(added, [0, 0, 5, 8]);
    measure.end(&attempt, 18 * MS, 0, 18 * MS);
    let lock = measure.finish();
    assert_eq!((lock.asked.not_honoured, lock.asked.not_honoured_ns, lock.asked.timed_out), (1, 13 * MS, 3));
    assert_eq!((lock.held_at_least_ns, lock.overtaken.missed), (18 * MS, 0));

    // The lock changes hands every time that it is asked for: others got it.
    let mut measure = self::measure();
    let mut attempt = Attempt::default();
    for turn in 0..10 {
        let sleep = sleep(u64::from(turn) * 5 * MS, 5 * MS, -110, Some((7, turn)));
        assert_eq!(measure.sleep(&mut attempt, &sleep, 0), 0);
    }
    // Where the count of switches is not known, nothing is claimed.
    let mut attempt = Attempt::default();
    for turn in 10..20 {
        assert_eq!(measure.sleep(&mut attempt, &sleep(turn * 5 * MS, 5 * MS, -110, None), 0), 0);
    }
    assert_eq!(measure.finish().asked.not_honoured_ns, 0);
}

#[test]
fn who_is_woken_and_finds_the_lock_taken_was_passed_over_and_the_depth_counts_that() {
    let mut measure = measure();
    let mut attempt = Attempt::default();
    for start_ms in [0, 2, 4] {
        measure.sleep(&mut attempt, &sleep(start_ms * MS, MS, 0, Some((7, 1))), start_ms * MS);
    }
    measure.end(&attempt, 5 * MS, 0, 5 * MS);
    let lock = measure.finish();
    assert_eq!((lock.overtaken.woken, lock.overtaken.missed, lock.overtaken.deepest), (3, 2, 2));
    assert_eq!(lock.overtaken.missed_ns, 3 * MS, "from where it slept again");
    assert_eq!(lock.overtaken.depths[2], 1);
}

#[test]
fn the_convoy_coefficient_is_that_of_mod_wsgi_telemetry() {
    // Its own code, version 1.1.0, gives these for the same bands.
    let near = |bands: [u64; 5], q: f64, r2: f64| {
        let convoy = convoy(&bands).expect("there is one");
        assert!((convoy.q - q).abs() < 1e-9 && (convoy.r2 - r2).abs() < 1e-9, "{bands:?}: {convoy:?}");
    };
    near([5000, 800, 400, 200, 90], 0.5, 1.0);
    near([900, 350, 60, 25, 4], 0.770_102_771_166_067_5, 0.975_411_247_095_075_3);
    near([900, 10, 260, 90, 40], 0.621_663_549_481_462, 0.994_896_819_971_941_6);
    assert_eq!(convoy(&[1000, 50, 30, 19, 0]), None, "fewer than 100");
    assert_eq!(convoy(&[0, 100, 100, 100, 100]), None, "does not fall");
    let interval_ns = 5 * MS;
    let wait_ns = [0, 3_999_999, 4 * MS, 8_999_999, 9 * MS, 14 * MS, 19 * MS, u64::MAX];
    assert_eq!(wait_ns.map(|wait_ns| cycles(wait_ns, interval_ns)), [0, 0, 1, 1, 2, 3, 4, 4]);
    assert_eq!(cycles(7, 0), 0);
}

proptest! {
    /// The union of stretches equals a simple count, however they overlap.
    #[test]
    fn time_in_which_somebody_waited_is_counted_once(
        stretches in prop::collection::vec((0u64..50, 0u64..30), 1..100),
    ) {
        let mut stretches: Vec<(u64, u64)> =
            stretches.into_iter().map(|(start, length)| (start, start + length)).collect();
        stretches.sort_by_key(|(_, end)| *end);
        let mut measure = measure();
        for (start, end) in &stretches {
            measure.cover(*start, *end);
        }
        let whole = (0..100).filter(|at| stretches.iter().any(|(start, end)| (start..end).contains(&at))).count();
        prop_assert_eq!(measure.finish().held_at_least_ns, whole as u64);
    }

    /// Whatever sleeps come: no more time is kept than was slept, and only a woken thread can miss the lock.
    #[test]
    fn any_sleeps_give_sums_that_fit(
        sleeps in prop::collection::vec((0u64..20, prop::sample::select(vec![0i64, -110, -11, -4]), 0u32..3, 0u32..3), 0..200),
    ) {
        let mut measure = measure();
        let mut attempt = Attempt::default();
        let mut now_ns = 0;
        for (length_ms, result, holder, switches) in sleeps {
            let holder = (holder > 0).then_some((holder, switches));
            measure.sleep(&mut attempt, &sleep(now_ns, length_ms * MS, result, holder), now_ns);
            now_ns += length_ms * MS;
        }
        measure.end(&attempt, now_ns, 0, now_ns);
        let lock = measure.finish();
        prop_assert!(lock.asked.not_honoured_ns <= now_ns);
        prop_assert!(lock.overtaken.missed <= lock.overtaken.woken);
        prop_assert!(lock.overtaken.missed_ns <= now_ns);
        prop_assert_eq!(lock.held_at_least_ns, now_ns);
    }
}
