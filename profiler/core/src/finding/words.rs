//! Numbers and names as a tired person reads them.
//!
//! In: nanoseconds, shares, counts, names from a traced process. Out: short text; names are bounded and
//! harmless.

use crate::fact::place::short_file;
use crate::model::Endpoint;

/// Seconds beyond which no number of this program is meant seriously.
const MAX_SECONDS: u64 = 10_000_000;

/// A duration: three digits and the unit that fits.
pub(super) fn duration(duration_ns: u64) -> String {
    let ns = duration_ns as f64;
    match duration_ns {
        0..1_000 => format!("{duration_ns} ns"),
        1_000..1_000_000 => format!("{} µs", digits(ns / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", digits(ns / 1e6)),
        _ => format!("{} s", seconds(duration_ns)),
    }
}

/// A sum over requests, always in seconds.
pub(crate) fn request_seconds(duration_ns: u64) -> String {
    let number = seconds(duration_ns);
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} request-second{plural}")
}

/// Nanoseconds as a number of seconds.
fn seconds(duration_ns: u64) -> String {
    match duration_ns / 1_000_000_000 {
        0..1_000 => digits(duration_ns as f64 / 1e9),
        whole @ 1_000..MAX_SECONDS => count(whole),
        _ => format!("over {}", count(MAX_SECONDS)),
    }
}

/// The time of day of a moment, from nanoseconds since 1970.
pub(super) fn time_of_day(since_1970_ns: i64) -> String {
    let seconds = since_1970_ns.div_euclid(1_000_000_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A share, in percent: whole ones from ten on.
pub(super) fn percent(ratio: f64) -> String {
    let value = ratio * 100.0;
    if value > 0.0 && value < 0.1 {
        "under 0.1 %".to_owned()
    } else if (9.95..1_000.0).contains(&value) {
        format!("{value:.0} %")
    } else if value >= 1_000.0 {
        "over 1,000 %".to_owned()
    } else {
        format!("{} %", digits(value))
    }
}

/// A count with separators between thousands.
pub(super) fn count(number: u64) -> String {
    let plain = number.to_string();
    let mut text = String::with_capacity(plain.len() + plain.len() / 3);
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A factor, such as "7.5".
pub(super) fn factor(value: f64) -> String {
    if value > 10_000.0 {
        "over 10,000".to_owned()
    } else if value >= 999.5 {
        count(value.round() as u64)
    } else {
        digits(value)
    }
}

/// Up to three digits: one decimal below ten (two below one), none from a hundred on.
fn digits(value: f64) -> String {
    let text = if value < 0.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A name from outside: printable ASCII without blanks, at most `limit` characters.
pub(super) fn name(hostile: &str, limit: usize) -> String {
    let clean = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    let mut text: String = hostile.chars().take(limit).map(clean).collect();
    if hostile.chars().nth(limit).is_some() {
        text.truncate(limit.saturating_sub(1));
        text.push('…');
    }
    text
}

/// The part of what a sentence speaks of that is an endpoint's.
pub(super) fn of_it_in(part: f64, endpoint: &Endpoint) -> String {
    format!(", {} of it in {}", percent(part), endpoint_name(endpoint))
}

/// Method and path of an endpoint, bounded and harmless.
pub(super) fn endpoint_name(endpoint: &Endpoint) -> String {
    if endpoint.method.is_empty() {
        return "requests without a readable head".to_owned();
    }
    format!("{} {}", name(&endpoint.method, 8), name(&endpoint.path_shape, 32))
}

/// A line as a sentence names it: `render (shop/views.py:88)`. Hostile input; each name has so many
/// characters at most.
pub(super) fn code_line(function: &str, file: &str, line: u32, max_chars: usize) -> String {
    let (function, file) = (name(function, max_chars), name(short_file(file), max_chars));
    format!("{function} ({file}:{line})")
}

/// `part` as a share of `whole`; 0 where there is no whole.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_those_of_any_day() {
        for (since_1970_ns, expected) in [
            (0, "00:00:00 UTC"),
            (-1, "23:59:59 UTC"),
            (951_782_400_000_000_000, "00:00:00 UTC"),
            (1_767_225_599_999_999_999, "23:59:59 UTC"),
            (1_767_189_723_000_000_000, "14:02:03 UTC"),
        ] {
            assert_eq!(time_of_day(since_1970_ns), expected);
        }
    }

    #[test]
    fn durations_take_the_unit_that_fits() {
        assert_eq!(duration(0), "0 ns");
        assert_eq!(duration(40_000), "40 µs");
        assert_eq!(duration(1_200_000), "1.2 ms");
        assert_eq!(duration(310_000_000), "310 ms");
        assert_eq!(duration(12_400_000_000), "12.4 s");
        assert_eq!(request_seconds(12_400_000_000), "12.4 request-seconds");
        assert_eq!(request_seconds(120_000_000), "0.12 request-seconds");
        assert_eq!(request_seconds(1_000_000_000), "1 request-second");
        assert_eq!(request_seconds(3_600_000_000_000), "3,600 request-seconds");
    }

    #[test]
    fn shares_and_counts_read_well() {
        assert_eq!(percent(0.38), "38 %");
        assert_eq!(percent(0.042), "4.2 %");
        assert_eq!(percent(0.545_4), "55 %");
        assert_eq!(percent(0.0999), "10 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.0001), "under 0.1 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(count(7), "7");
        assert_eq!(count(1_240), "1,240");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn names_from_a_traced_process_cannot_move_the_cursor_or_grow() {
        assert_eq!(name("/a\u{1b}[2J\n", 20), "/a?[2J?");
        assert_eq!(name("/abcdefghij", 6), "/abcd…");
        assert_eq!(name("/ü", 6), "/?");
    }
}
