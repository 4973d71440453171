//! What docs/gil-truth.md claims of a line of its table, as bounds: on the errors as they are measured, not alone on what is left of them.
//!
//! In: a comparison with the witness, its load; the report's own figures and the waits from which they are counted. Out: each claim that does not hold,
//! a sentence each.

use profiler_core::model::Snapshot;
use wsgi_trace_tests::gil_episodes::{Comparison, Told, quantile_us};

use super::server::Kind;

/// Bounds on one line.
struct Claims {
    /// Least share of waits that agree as measured within 1 % or 10 µs; and with the machine's ways into interrupts left out.
    within: f64,
    within_with_ways: f64,
    /// Greatest error of all time as measured; and without what the witness accounts for.
    total: f64,
    total_accounted: f64,
    /// How late a wait begins and how early it ends, in µs: at the median, and of 99 %.
    median_us: f64,
    most_us: f64,
}

/// Servers, and threads that compute.
const USUAL: Claims = Claims {
    within: 0.985,
    within_with_ways: 0.995,
    total: 0.0125,
    total_accounted: 0.01,
    median_us: 4.0,
    most_us: 25.0,
};
/// Four threads that do nothing but give the lock up for a microsecond: no server.
const SHORT_CALLS: Claims = Claims {
    within: 0.96,
    within_with_ways: 0.995,
    total: 0.02,
    total_accounted: 0.01,
    median_us: 4.0,
    most_us: 60.0,
};
/// Least share of waits that are one for one attempt, and the greatest share of waits without an attempt.
const ONE_TO_ONE: f64 = 0.999;
const EXTRA: f64 = 0.001;

/// What does not hold of a line.
pub(crate) fn broken(of: &Comparison, kind: Kind) -> Vec<String> {
    let claims = if matches!(kind, Kind::Calls) { SHORT_CALLS } else { USUAL };
    let least = [
        ("one to one", of.matched_share(), ONE_TO_ONE),
        ("each within, raw", of.within_share(), claims.within),
        ("each within, with ways", of.with_ways_share(), claims.within_with_ways),
    ];
    let most = [
        ("extra", of.extra as f64 / of.attempts.max(1) as f64, EXTRA),
        ("all time, raw", of.total_error().abs(), claims.total),
        ("all time, accounted", of.accounted_error().abs(), claims.total_accounted),
        ("begins late, µs at the median", quantile_us(&of.late_ns, 0.5).abs(), claims.median_us),
        ("begins late, µs at 99 %", quantile_us(&of.late_ns, 0.99).abs(), claims.most_us),
        ("ends early, µs at the median", quantile_us(&of.early_ns, 0.5).abs(), claims.median_us),
        ("ends early, µs at 99 %", quantile_us(&of.early_ns, 0.99).abs(), claims.most_us),
    ];
    let too_little = least.into_iter().filter(|(_, is, least)| is < least);
    let too_much = most.into_iter().filter(|(_, is, most)| is > most);
    let said = |(what, is, bound): (&str, f64, f64)| format!("{what}: {is:.4}, not {bound:.4}");
    too_little.chain(too_much).map(said).collect()
}

/// Whether the report counts the waits that are compared here: as many, as long, of the same threads. It counts those that ended in its window, and each from
/// the window's start on.
pub(crate) fn report_differs(report: &Snapshot, told: &Told) -> Option<String> {
    let gil = &report.gil;
    let window_start_ns = report.window.start_ns;
    let in_window =
        told.waits.values().flatten().chain(&told.open).filter(|wait| wait.end_ns > window_start_ns);
    let (mut count, mut sum_ns) = (0_u64, 0_u64);
    for wait in in_window {
        count += 1;
        sum_ns += wait.end_ns - wait.start_ns.max(window_start_ns);
    }
    // A thread that sleeps as the window ends waits until then in the report; no record says so.
    let threads = gil.threads.len() as u64;
    let longest_ns = gil.threads.iter().map(|thread| thread.longest_ns).max().unwrap_or_default();
    let more = gil.waits.count().checked_sub(count);
    let longer_ns = gil.waits.sum_ns().checked_sub(sum_ns);
    let is_same = more.is_some_and(|more| more <= threads)
        && longer_ns.is_some_and(|longer_ns| longer_ns <= threads * longest_ns);
    (!is_same).then(|| {
        format!(
            "the report has {} waits of {} ns, its records {count} of {sum_ns} ns",
            gil.waits.count(),
            gil.waits.sum_ns()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Comparison {
        Comparison {
            attempts: 10_000,
            matched: 10_000,
            theirs_ns: 1_000_000_000,
            ours_ns: 993_000_000,
            all_ns: (1_000_000_000, 993_000_000),
            accounted_ns: 997_000_000,
            within: 9_890,
            within_with_ways: 9_990,
            late_ns: vec![600; 10_000],
            early_ns: vec![1_100; 10_000],
            ..Comparison::default()
        }
    }

    #[test]
    fn each_claim_can_fail_by_itself() {
        assert_eq!(broken(&right(), Kind::Gunicorn), Vec::<String>::new());
        let worse: [fn(&mut Comparison); 8] = [
            |of| of.attempts = 10_050,
            |of| of.within = 9_700,
            |of| of.within_with_ways = 9_900,
            |of| of.extra = 20,
            |of| of.all_ns.1 = 980_000_000,
            |of| of.accounted_ns = 1_010_000_000,
            |of| of.late_ns = vec![30_000; 10_000],
            |of| of.early_ns = vec![9_000; 10_000],
        ];
        for make_worse in worse {
            let mut of = right();
            make_worse(&mut of);
            assert!(!broken(&of, Kind::Gunicorn).is_empty(), "{of:?}");
        }
    }

    #[test]
    fn short_calls_may_differ_more_and_not_without_end() {
        let mut of = right();
        of.within = 9_700;
        assert!(!broken(&of, Kind::Waitress).is_empty());
        assert_eq!(broken(&of, Kind::Calls), Vec::<String>::new());
        of.within = 9_000;
        assert!(!broken(&of, Kind::Calls).is_empty());
    }
}
