//! What makes a full trace begin by itself.
//!
//! In: conditions, what light mode sees now. Out: the condition that is met. Pure functions.

use crate::cli::full::Condition;

/// Of fewer requests the slowest one alone would decide.
const MIN_REQUESTS: usize = 20;

/// The label of what a signal asked for.
pub const SIGNAL: &str = "signal";

/// What light mode sees now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// 99th percentile of the requests that ended a short time ago, in nanoseconds; `None`: too few.
    pub p99_ns: Option<u64>,
    /// Connections that wait for accept, at all listeners; `None`: not read.
    pub queue: Option<u64>,
    /// Findings that are present in the last whole window.
    pub findings: Vec<&'static str>,
}

/// Why there is a full trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Request,
    /// This was met.
    Condition(Condition),
}

impl Cause {
    /// All labels.
    pub const LABELS: [&str; 4] = ["request", "p99", "queue", "finding"];

    /// As the metrics have it.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Condition(Condition::P99(_)) => "p99",
            Self::Condition(Condition::Queue(_)) => "queue",
            Self::Condition(Condition::Finding(_)) => "finding",
        }
    }
}

/// The first condition that is met. What is not known meets none.
pub fn met<'a>(conditions: &'a [Condition], seen: &Seen) -> Option<&'a Condition> {
    conditions.iter().find(|condition| match condition {
        Condition::P99(limit_ns) => seen.p99_ns.is_some_and(|p99_ns| p99_ns > *limit_ns),
        Condition::Queue(number) => seen.queue.is_some_and(|queue| queue >= u64::from(*number)),
        Condition::Finding(id) => seen.findings.contains(id),
    })
}

/// The 99th percentile by nearest rank; `None`: of too few.
pub fn p99_ns(mut durations_ns: Vec<u64>) -> Option<u64> {
    let count = durations_ns.len();
    if count < MIN_REQUESTS {
        return None;
    }
    let place = (count * 99).div_ceil(100).saturating_sub(1);
    let (_, p99_ns, _) = durations_ns.select_nth_unstable(place);
    Some(*p99_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_its_limit_begins_a_trace_and_what_is_not_known_does_not() {
        let p99 = Condition::P99(500);
        let queue = Condition::Queue(10);
        let finding = Condition::Finding("sleeping");
        let all = [p99.clone(), queue.clone(), finding.clone()];
        let seen =
            |p99_ns, queue, findings: &[&'static str]| Seen { p99_ns, queue, findings: findings.to_vec() };
        for (seen, expected) in [
            (Seen::default(), None),
            (seen(Some(500), Some(9), &["cpu-bound"]), None),
            (seen(Some(501), None, &[]), Some(&p99)),
            (seen(None, Some(10), &[]), Some(&queue)),
            (seen(None, None, &["cpu-bound", "sleeping"]), Some(&finding)),
            (seen(Some(501), Some(10), &["sleeping"]), Some(&p99)),
        ] {
            assert_eq!(met(&all, &seen), expected, "{seen:?}");
            assert_eq!(met(&[], &seen), None);
        }
    }

    #[test]
    fn percentile_is_that_of_the_nearest_rank() {
        assert_eq!(p99_ns((1..20).collect()), None);
        assert_eq!(p99_ns((1..=20).rev().collect()), Some(20));
        assert_eq!(p99_ns((1..=100).collect()), Some(99));
        assert_eq!(p99_ns((1..=1000).rev().collect()), Some(990));
    }
}
