//! Lengths of time and their differences, as a reader compares them.
//!
//! In: nanoseconds, below 0 as well. Out: text.

/// Three significant digits and a unit.
pub(crate) fn duration(duration_ns: f64) -> String {
    let units = [("ns", 1.0, 999.5), ("µs", 1e3, 999.5e3), ("ms", 1e6, 999.5e6), ("s", 1e9, f64::INFINITY)];
    let (unit, size) = units
        .iter()
        .find(|(_, _, limit)| duration_ns.abs() < *limit)
        .map_or(("s", 1e9), |(unit, size, _)| (*unit, *size));
    let value = duration_ns / size;
    let digits = match value.abs() {
        below if unit == "ns" || below >= 99.95 => 0,
        below if below >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

/// A duration with its sign.
pub(super) fn signed(duration_ns: f64) -> String {
    let sign = if duration_ns < 0.0 { '-' } else { '+' };
    format!("{sign}{}", duration(duration_ns.abs()))
}
