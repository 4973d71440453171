//! What was left out for its cost, in words.
//!
//! In: [`LeftOut`]. Out: a clause, the same in every output.

use profiler_core::fact::left_out::{LeftOut, Part};

use super::unit;

/// A share as it may have been typed: `0.25 %`.
pub(crate) fn share(ratio: f64) -> String {
    const THOUSANDTHS_OF_A_PERCENT: f64 = 1e5;
    format!("{} %", (ratio * THOUSANDTHS_OF_A_PERCENT).round() / 1e3)
}

/// What, since when or from when to when, and why. `wall_clock_offset_ns`: as in
/// [`profiler_core::fact::SessionStarted`].
pub(crate) fn clause(left_out: &LeftOut, wall_clock_offset_ns: i64) -> String {
    let moment = |time_ns: u64| {
        unit::moment(i64::try_from(time_ns).unwrap_or(i64::MAX).saturating_add(wall_clock_offset_ns))
    };
    let what = match left_out.what {
        Part::Lines => "lines of code and looks at sleeping threads",
        Part::SystemCalls => "system calls (this is light mode)",
        Part::Everything => "everything",
    };
    let when = match left_out.to_ns {
        Some(to_ns) => format!("from {} to {}", moment(left_out.from_ns), moment(to_ns)),
        None => format!("since {}", moment(left_out.from_ns)),
    };
    let [cost, max] = [unit::percent(Some(left_out.cost_ratio)), share(left_out.max_ratio)];
    format!("{what}, {when}: watching took {cost} of all CPUs of this machine, --max-cost is {max}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_said_with_its_time_and_its_reason() {
        let left_out = LeftOut {
            what: Part::SystemCalls,
            from_ns: 1_000_000_000,
            to_ns: None,
            cost_ratio: 0.0234,
            max_ratio: 0.0025,
        };
        assert_eq!(
            clause(&left_out, 0),
            "system calls (this is light mode), since 1970-01-01 00:00:01 UTC: watching took 2.3 % of all CPUs \
             of this machine, --max-cost is 0.25 %"
        );
        let over = LeftOut { what: Part::Everything, to_ns: Some(61_000_000_000), ..left_out };
        assert!(clause(&over, 0).starts_with(
            "everything, from 1970-01-01 00:00:01 UTC to 1970-01-01 00:01:01 UTC: watching took"
        ));
    }
}
