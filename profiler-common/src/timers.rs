//! Timers of asyncio's own loop: where they are, and when one is due.
//!
//! In: nothing. Out: [`TimersWay`], [`due_ns`]. `BaseEventLoop` has its timers in a list that is a heap, each
//! a `TimerHandle` (`asyncio/base_events.py`, `asyncio/events.py`, CPython 3.8 to 3.13).

/// Timers of the heap that are looked at, the first ones: three levels.
pub const MAX_TIMERS: usize = 7;

/// Where a loop's timers are: an element of the map `TIMERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimersWay {
    /// Address of the word with the address of the list (`_scheduled`). The loop makes a new list now and
    /// then.
    pub slot: u64,
    /// Address of the type of lists.
    pub list_type: u64,
    /// Address of the loop: each of its futures names it.
    pub event_loop: u64,
    /// What the state of the loop's thread has at the distance of a thread's number.
    pub thread_mark: u64,
    /// Distance of the moment in a `TimerHandle` (`_when`).
    pub when_at: u64,
    /// Distance of the closure in a function.
    pub closure_at: u64,
}

/// Nanoseconds of a moment in seconds, given as the bits of a `double`: the kernel side has no floating
/// point. 0: it is no moment since the machine began, or too far away.
#[inline(always)]
pub const fn due_ns(bits: u64) -> u64 {
    const FRACTION_BITS: u64 = 52;
    const BIAS: u64 = 1023;
    const NS: u64 = 1_000_000_000;
    let exponent = bits >> FRACTION_BITS;
    // From 1 s to 2^33 s: then whole seconds are below 2^33, and their nanoseconds in range.
    if exponent < BIAS || exponent >= BIAS + 33 {
        return 0;
    }
    let mantissa = bits & ((1 << FRACTION_BITS) - 1) | 1 << FRACTION_BITS;
    let shift = FRACTION_BITS - (exponent - BIAS);
    let fraction = mantissa & ((1 << shift) - 1);
    // At most 34 bits of the fraction, so that the product has room.
    let (fraction, shift_left) = if shift > 34 { (fraction >> (shift - 34), 34) } else { (fraction, shift) };
    (mantissa >> shift) * NS + ((fraction * NS) >> shift_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_in_seconds_has_its_nanoseconds() {
        for seconds in [1.0_f64, 1.5, 2.25, 12_345.678_901_234, 71_100.000_000_001, 5_000_000.25, 4e9] {
            let expected = (seconds * 1e9).round();
            let found = due_ns(seconds.to_bits()) as f64;
            // A double of that size is no more exact.
            let step_ns = (seconds * f64::EPSILON * 1e9).max(1.0);
            assert!((found - expected).abs() <= step_ns, "{seconds}: {found}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for seconds in [0.0, 0.99, -5.0, 1e10, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(due_ns(seconds.to_bits()), 0, "{seconds}");
        }
    }
}
