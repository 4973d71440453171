//! How a witness's attempt compares with one of our waits, less what the kernel's own tracer shows to be no
//! part of the wait.
//!
//! In: an attempt with its interrupts and switches, our wait, what the witness's probes cost, the machine's
//! way into an interrupt. Out: the length that our wait should have. Nothing of ours decides it but where our
//! wait begins and ends. What lies between the witness's moments and ours counts as the wait's, unless the
//! tracer shows why it is not.

use crate::gil_witness::{Attempt, HeldUp};
use crate::stops::Way;
use wsgi_trace_test_support::gil_episodes::Wait;

/// By how much two lengths may always differ.
pub const AGREES_NS: u64 = 10_000;

/// Whether the witness saw the thread held up outside of its calls, before our wait or after it.
pub fn is_held_up_beside(attempt: &Attempt, wait: &Wait) -> bool {
    let beside = |of: &HeldUp| of.from_ns < wait.start_ns || of.until_ns > wait.end_ns;
    attempt.held_up.iter().any(|of| is_outside(of, wait) && beside(of))
}

/// Whether a stretch is no part of the calls that make a wait. A call that was over before our wait began did
/// not sleep: it is none of them.
fn is_outside(of: &HeldUp, wait: &Wait) -> bool {
    !of.is_in_call || of.until_ns <= wait.start_ns
}

/// For how long the witness shows the thread held up before our wait, and after it. Each stretch is longer by
/// `way` at its ends.
pub fn held_up_ns(attempt: &Attempt, wait: &Wait, way: Way) -> (u64, u64) {
    // Interrupts nest, and a thread may lose its CPU at the end of one: their union, in order.
    let longer = |of: &HeldUp| {
        let from_ns = of.from_ns.saturating_sub(way.in_ns(of.by));
        (from_ns, of.until_ns.saturating_add(way.out_ns).min(attempt.end_ns))
    };
    let mut stretches: Vec<(u64, u64)> =
        attempt.held_up.iter().filter(|of| is_outside(of, wait)).map(longer).collect();
    stretches.sort_unstable();
    let (mut before_ns, mut after_ns, mut counted_until_ns) = (0, 0, attempt.start_ns);
    for (from_ns, until_ns) in stretches {
        let from_ns = from_ns.max(counted_until_ns);
        counted_until_ns = counted_until_ns.max(until_ns);
        before_ns += until_ns.min(wait.start_ns).saturating_sub(from_ns);
        after_ns += until_ns.saturating_sub(from_ns.max(wait.end_ns));
    }
    (before_ns, after_ns)
}

/// Length of an attempt by the witness without what its own trace shows to be no part of the calls. That is
/// where its thread was ready and did not run, outside of its calls and of our wait; and what the witness's
/// two probes add (`own_ns`). Each stretch that the trace shows is longer by `way` at its ends.
pub fn accounted_ns(attempt: &Attempt, wait: &Wait, own_ns: u64, way: Way) -> u64 {
    let (before_ns, after_ns) = held_up_ns(attempt, wait, way);
    (attempt.end_ns - attempt.start_ns).saturating_sub(before_ns + after_ns).saturating_sub(own_ns)
}

/// Whether two lengths agree within 1 % of the first or 10 µs, whichever is more.
pub fn agree(theirs_ns: u64, ours_ns: u64) -> bool {
    theirs_ns.abs_diff(ours_ns) <= (theirs_ns / 100).max(AGREES_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpftrace::Cause;

    const NO_WAY: Way = Way {
        timer_in_ns: 0,
        other_in_ns: 0,
        out_ns: 0,
        late_wakeup_ratio: 0.0,
        untold_per_s: 0,
        longer_ratio: 0.0,
    };
    const WAY: Way = Way { timer_in_ns: 7000, other_in_ns: 6000, out_ns: 2000, ..NO_WAY };

    fn held_up(from_ns: u64, until_ns: u64, is_in_call: bool) -> HeldUp {
        HeldUp { from_ns, until_ns, is_in_call, by: Cause::Interrupt }
    }

    fn attempt(end_ns: u64, held_up: &[HeldUp]) -> Attempt {
        Attempt { tid: 7, start_ns: 1000, end_ns, is_after_forced: false, held_up: held_up.to_vec() }
    }

    fn wait(end_ns: u64) -> Wait {
        Wait { tid: 7, start_ns: 2000, end_ns, is_after_forced: false }
    }

    #[test]
    fn what_the_witness_accounts_for_is_taken_out_once_and_only_outside_of_calls_and_of_our_wait() {
        let of = attempt(
            9000,
            &[
                held_up(1100, 1500, false),
                // In the one before, and reaching into our wait.
                held_up(1400, 1450, false),
                held_up(1800, 2500, false),
                held_up(4000, 5000, false),
                held_up(8200, 8300, true),
                held_up(7900, 8100, false),
            ],
        );
        assert_eq!(accounted_ns(&of, &wait(8000), 50, NO_WAY), 8000 - 400 - 200 - 100 - 50);
        assert!(is_held_up_beside(&of, &wait(8000)));
        // In a call that did not sleep.
        let before = attempt(9000, &[held_up(1200, 1700, true), held_up(1900, 2100, true)]);
        assert_eq!(accounted_ns(&before, &wait(8000), 0, NO_WAY), 8000 - 500);
        let inside = attempt(9000, &[held_up(3000, 4000, false), held_up(8200, 8300, true)]);
        assert_eq!(accounted_ns(&inside, &wait(8000), 0, NO_WAY), 8000);
        assert!(!is_held_up_beside(&inside, &wait(8000)));
    }

    #[test]
    fn the_way_into_an_interrupt_and_out_of_it_counts_only_beside_our_wait_and_once_where_two_touch() {
        // 10 µs after our end, for 8 µs, with another 1 µs after it: 6 + 8 + 1 + 3 + 2 µs.
        let of = attempt(150_000, &[held_up(110_000, 118_000, false), held_up(119_000, 122_000, false)]);
        assert_eq!(accounted_ns(&of, &wait(100_000), 0, WAY), 149_000 - 20_000);
        // Its way in began within our wait, its way out would end after the attempt.
        let of = attempt(105_000, &[held_up(101_000, 104_000, false)]);
        assert_eq!(accounted_ns(&of, &wait(100_000), 0, WAY), 104_000 - 5000);
        let by_timer = HeldUp { by: Cause::Timer, ..held_up(110_000, 118_000, false) };
        assert_eq!(accounted_ns(&attempt(150_000, &[by_timer]), &wait(100_000), 0, WAY), 149_000 - 17_000);
    }

    #[test]
    fn a_difference_of_which_the_tracer_shows_nothing_stays_outside() {
        let ours_ns = 98_000;
        let within = |of: &Attempt, own_ns| agree(accounted_ns(of, &wait(100_000), own_ns, WAY), ours_ns);
        // 20 µs after our end: nothing; something in the middle of our wait; something in a call.
        for seen in [&[][..], &[held_up(50_000, 70_000, false)], &[held_up(105_000, 115_000, true)]] {
            assert!(!within(&attempt(120_000, seen), 1000), "{seen:?}");
        }
        // An interrupt of 1 µs explains its own 9 µs, and no more.
        assert!(within(&attempt(117_500, &[held_up(110_000, 111_000, false)]), 0));
        assert!(!within(&attempt(121_000, &[held_up(110_000, 111_000, false)]), 0));
    }
}
