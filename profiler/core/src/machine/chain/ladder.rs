//! Sleeps that are a wait for a file lock: SQLite's busy handler.
//!
//! In: a thread's sleeps, in order. Out: whether they are the handler's.
//!
//! It finds the database locked, sleeps, and tries again, for longer each time (`sqliteDefaultBusyCallback`,
//! src/main.c of SQLite, with `HAVE_USLEEP`).

/// Milliseconds of its sleeps; the last one repeats.
const STEPS_MS: [u64; 12] = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100];
/// So many sleeps in order are no accident.
pub(super) const CERTAIN: u8 = 3;
/// A sleep ends this late at most: the timer's slack, and its interrupt.
const LATE_NS: u64 = 900_000;

/// Whether a sleep of `slept_ns` is the one after so many others. Returns how many they are with it; 0: it is
/// none of them.
pub(super) fn next(before: u8, slept_ns: u64) -> u8 {
    let is_step = |step: u8| {
        let nominal_ms = STEPS_MS.get(usize::from(step)).or(STEPS_MS.last());
        nominal_ms.is_some_and(|ms| (ms * 1_000_000..ms * 1_000_000 + LATE_NS).contains(&slept_ns))
    };
    match before {
        _ if is_step(before) => before.saturating_add(1),
        _ if is_step(0) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(sleeps_us: &[u64]) -> u8 {
        sleeps_us.iter().fold(0, |before, us| next(before, us * 1000))
    }

    #[test]
    fn sleeps_in_the_handlers_order_are_counted_and_others_are_not() {
        assert_eq!(count(&[1_060, 2_080, 5_100]), 3);
        assert_eq!(count(&[1_060, 2_080, 5_100, 10_060, 15_060, 20_060, 25_060, 25_060, 25_060]), 9);
        assert_eq!(count(&[1_060, 2_080, 5_100, 5_100]), 0, "an application that sleeps");
        assert_eq!(count(&[1_060, 2_080, 1_060, 2_080, 5_100]), 3, "it got the lock, and met another");
        assert_eq!(count(&[5_100, 10_060, 15_060]), 0, "it begins at the beginning");
        let long = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100, 100, 100].map(|ms| ms * 1000 + 60);
        assert_eq!(count(&long), 14);
    }
}
