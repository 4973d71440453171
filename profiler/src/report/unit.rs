//! Numbers as people read them.
//!
//! In: nanoseconds, bytes, counts, ratios. Out: three significant digits and a unit, a blank between them.

use crate::report::escape::Charset;

/// Three significant digits: `1.23`, `12.3`, `123`.
fn three_digits(value: f64) -> String {
    // The bounds are where rounding would make a fourth digit.
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// The first unit in which the value stays below its limit.
fn in_units(value: f64, units: &[(&str, f64, f64)]) -> String {
    let fitting = units.iter().find(|(_, size, limit)| value / size < *limit).or(units.last());
    fitting.map_or_else(String::new, |(name, size, _)| format!("{} {name}", three_digits(value / size)))
}

/// Below this, rounding leaves three digits.
const THREE_DIGITS: f64 = 999.5;

/// A duration: `850 ns`, `1.23 ms`, `4.50 s`, `20.0 min`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn duration(duration_ns: u64, charset: Charset) -> String {
    if duration_ns < 1_000 {
        return format!("{duration_ns} ns");
    }
    let microseconds = if charset == Charset::Unicode { "µs" } else { "us" };
    in_units(
        duration_ns as f64,
        &[
            (microseconds, 1e3, THREE_DIGITS),
            ("ms", 1e6, THREE_DIGITS),
            ("s", 1e9, THREE_DIGITS),
            ("min", 60e9, 120.0),
            ("h", 3_600e9, f64::INFINITY),
        ],
    )
}

/// A number of bytes, in powers of 1000: `512 B`, `16.0 MB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    if count < 1_000 {
        return format!("{count} B");
    }
    in_units(
        count as f64,
        &[
            ("kB", 1e3, THREE_DIGITS),
            ("MB", 1e6, THREE_DIGITS),
            ("GB", 1e9, THREE_DIGITS),
            ("TB", 1e12, f64::INFINITY),
        ],
    )
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// How many of a list there are.
pub(in crate::report) fn number(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A count with its noun: `1 request`, `2 requests`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 {
        noun.to_owned()
    } else if let Some(stem) = noun.strip_suffix("ss") {
        format!("{stem}sses")
    } else {
        format!("{noun}s")
    };
    format!("{} {plural}", count(number))
}

/// A ratio as a percentage with one digit: `38.0 %`; a dash where there is none.
pub(crate) fn percent(ratio: Option<f64>) -> String {
    match ratio {
        None => "-".to_owned(),
        Some(ratio) if ratio > 0.0 && ratio < 0.000_5 => "<0.1 %".to_owned(),
        Some(ratio) => format!("{:.1} %", ratio * 100.0),
    }
}

/// A ratio as a percentage without digits: `38 %`.
pub(crate) fn whole_percent(ratio: Option<f64>) -> String {
    format!("{:.0} %", ratio.unwrap_or(0.0) * 100.0)
}

/// A rate: `40.0/s`; a dash where there is none.
pub(crate) fn rate(per_second: Option<f64>) -> String {
    per_second.map_or_else(|| "-".to_owned(), |rate| format!("{}/s", three_digits(rate)))
}

/// Request-seconds as a number of three digits: `530`, `1.25`.
pub(in crate::report) fn request_seconds(duration_ns: u64) -> String {
    let seconds = crate::report::summary::seconds(duration_ns);
    if seconds < THREE_DIGITS { three_digits(seconds) } else { count(whole(seconds)) }
}

/// Units by the end of a name.
#[derive(Clone, Copy)]
enum Unit {
    Ratio,
    Nanoseconds,
    Milliseconds,
    Seconds,
    SecondsPerSecond,
    Bytes,
    PerSecond,
    Plain,
}

/// Ends of names; a longer one stands before one that it ends in.
const UNITS: [(&str, Unit); 8] = [
    ("_ratio", Unit::Ratio),
    ("_ns", Unit::Nanoseconds),
    ("_milliseconds", Unit::Milliseconds),
    ("_seconds_per_second", Unit::SecondsPerSecond),
    ("_seconds", Unit::Seconds),
    ("_bytes", Unit::Bytes),
    ("_per_second", Unit::PerSecond),
    ("_count", Unit::Plain),
];

/// A name without its unit, and the unit.
fn stem(name: &str) -> (&str, Unit) {
    let found = UNITS.iter().find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, *unit)));
    found.unwrap_or((name, Unit::Plain))
}

/// The name of a measured value, as people read it.
pub(in crate::report) fn without_unit(name: &str) -> String {
    stem(name).0.replace('_', " ")
}

/// A measured value by the unit in its name: (name without unit, value with unit).
pub(in crate::report) fn measured(name: &str, value: f64, charset: Charset) -> (String, String) {
    let (_, unit) = stem(name);
    let shown = match unit {
        Unit::Ratio if value >= THREE_DIGITS => format!("{} times", count(whole(value))),
        Unit::Ratio if value > 2.0 => format!("{} times", three_digits(value)),
        Unit::Ratio => percent(Some(value)),
        Unit::Nanoseconds => duration(whole(value), charset),
        Unit::Milliseconds => duration(whole(value * 1e6), charset),
        Unit::Seconds => duration(whole(value * 1e9), charset),
        Unit::SecondsPerSecond => format!("{} per second", duration(whole(value * 1e9), charset)),
        Unit::Bytes => bytes(whole(value)),
        Unit::PerSecond => rate(Some(value)),
        Unit::Plain if value.fract() == 0.0 && value >= 0.0 => count(whole(value)),
        Unit::Plain => three_digits(value),
    };
    (without_unit(name), shown)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, NaN becomes 0"
)]
const fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A moment as `2026-01-31 23:59:59 UTC`, from nanoseconds since 1970.
pub(crate) fn moment(since_epoch_ns: i64) -> String {
    const DAY: i64 = 86_400;
    let seconds = since_epoch_ns.div_euclid(1_000_000_000);
    let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Days since 0000-03-01, so that the leap day ends a year; 400 years are 146,097 days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_never_round_up_to_a_thousand() {
        let shown = |ns| duration(ns, Charset::Unicode);
        assert_eq!(shown(0), "0 ns");
        assert_eq!(shown(999), "999 ns");
        assert_eq!(shown(1_234), "1.23 µs");
        assert_eq!(shown(999_499), "999 µs");
        assert_eq!(shown(999_500), "1.00 ms");
        assert_eq!(shown(9_996_000), "10.0 ms");
        assert_eq!(shown(4_500_000_000), "4.50 s");
        assert_eq!(shown(1_200_000_000_000), "20.0 min");
        assert_eq!(shown(86_400_000_000_000), "24.0 h");
        assert_eq!(duration(1_234, Charset::Ascii), "1.23 us");
    }

    #[test]
    fn bytes_counts_and_ratios_read_well() {
        assert_eq!(bytes(16_000_000), "16.0 MB");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(counted(1_200, "process"), "1,200 processes");
        assert_eq!(percent(Some(0.38)), "38.0 %");
        assert_eq!(percent(Some(0.000_1)), "<0.1 %");
        assert_eq!(percent(None), "-");
        assert_eq!(rate(Some(40.0)), "40.0/s");
    }

    #[test]
    fn the_unit_of_a_measured_value_comes_from_its_name() {
        let shown = |name, value| measured(name, value, Charset::Unicode);
        assert_eq!(shown("slots_busy_ratio", 0.38), ("slots busy".to_owned(), "38.0 %".to_owned()));
        assert_eq!(shown("pool_wait_ns", 1.5e6), ("pool wait".to_owned(), "1.50 ms".to_owned()));
        assert_eq!(shown("requests_count", 1_104.0), ("requests".to_owned(), "1,104".to_owned()));
        assert_eq!(shown("waited_seconds_per_second", 0.5).1, "500 ms per second");
        assert_eq!(shown("long_service_milliseconds", 1.5).1, "1.50 ms");
        assert_eq!(shown("headroom_ratio", 7.5).1, "7.50 times");
        assert_eq!(shown("wait_service_ratio", 1_318.2).1, "1,318 times");
        assert_eq!(shown("odd", f64::NAN).1, "NaN");
    }

    #[test]
    fn moments_are_dates() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(moment(1_767_225_599_999_999_999), "2025-12-31 23:59:59 UTC");
        assert_eq!(moment(-1), "1969-12-31 23:59:59 UTC");
    }
}
