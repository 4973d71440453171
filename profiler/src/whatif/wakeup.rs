//! How long a thread that has waited takes to run again, on a machine that has a core free.
//!
//! In: requests and their rows. Out: that time, as measured: of requests that had the server to themselves,
//! what they spent in a run queue, for each time that they woke up. The median: now and then another program
//! has the core, and the simulation has these already. Where the server is hardly ever empty, the lower
//! quartile of all requests: most of them also waited for one another. What takes longer than a slice is no
//! cost of waking up: a thread that can run does not wait longer than that for one that is asleep.

use profiler_core::model::request::Request as Seen;
use profiler_core::phase::Phase;
use profiler_forecast::load::Request;

/// With fewer requests nothing is known of them.
const MIN_ALONE: usize = 20;

/// In nanoseconds; 0: too few requests show it. Both are of the same requests, in the order in which they
/// arrived. `slice_ns`: how long a thread runs before one that wakes up takes its core.
pub(super) fn wakeup_ns(seen: &[&Seen], requests: &[Request], slice_ns: u64) -> u64 {
    let mut last_end_ns = 0;
    let (mut alone, mut all): (Vec<u64>, Vec<u64>) = Default::default();
    let nexts = seen.iter().skip(1).map(|next| next.times.start_ns).chain([u64::MAX]);
    for ((request, model), next_ns) in seen.iter().zip(requests).zip(nexts) {
        let is_alone = request.times.start_ns >= last_end_ns && request.times.end_ns <= next_ns;
        last_end_ns = last_end_ns.max(request.times.end_ns);
        // Who waits for the interpreter lock is woken once more: that has a time of its own.
        let has_lock_waits = request.phases.get(Phase::GilWait) > 0;
        if model.is_counted && !has_lock_waits {
            let wakeups = u64::try_from(model.row.wakeups()).unwrap_or(u64::MAX);
            let wakeup_ns = request.phases.get(Phase::RunQueue).checked_div(wakeups);
            let wakeup_ns = wakeup_ns.filter(|wakeup_ns| *wakeup_ns < slice_ns);
            all.extend(wakeup_ns);
            alone.extend(wakeup_ns.filter(|_| is_alone));
        }
    }
    let (mut found, part) = if alone.len() < MIN_ALONE { (all, 4) } else { (alone, 2) };
    if found.len() < MIN_ALONE {
        return 0;
    }
    let at = found.len() / part;
    *found.select_nth_unstable(at).1
}

#[cfg(test)]
mod tests {
    use profiler_forecast::load::{Arrives, Row, Segment, Work};

    use super::*;
    use crate::whatif::tests::request;

    /// A request that sleeps twice.
    fn model() -> Request {
        let works = [Work::Python, Work::Wait(Phase::Sleep), Work::Python, Work::BackEnd(0), Work::Python];
        let segments = works.map(|work| Segment { work, duration_ns: 1000 }).to_vec();
        let row = Row { segments, ..Row::default() };
        Request { endpoint: 0, connection: 0, arrives: Arrives::At(0), is_counted: true, row }
    }

    fn found(seen: &[Seen]) -> u64 {
        let models = vec![model(); seen.len()];
        wakeup_ns(&seen.iter().collect::<Vec<_>>(), &models, 1_400_000)
    }

    #[test]
    fn what_requests_that_were_alone_spent_in_a_run_queue_is_the_cost_of_their_wakeups() {
        let alone = |number: u64| {
            let others = if number.is_multiple_of(10) { 5_000_000 } else { 0 };
            let run_queue_ns = 2 * (30_000 + number * 100) + others;
            request(number * 100_000_000, &[(Phase::Cpu, 3000), (Phase::RunQueue, run_queue_ns)])
        };
        let requests: Vec<Seen> = (0..41).map(alone).collect();
        let cost_ns = found(&requests);
        assert!((32_000..33_000).contains(&cost_ns), "the median, whatever others took: {cost_ns}");
        assert_eq!(found(&requests[..19]), 0, "too few");
    }

    #[test]
    fn where_no_request_is_alone_the_lower_quartile_of_all_says_it() {
        // Each has another beside it, and wakes up twice.
        let pair = |number: u64| {
            let run_queue_ns = 2000 * (number + 1);
            request(number / 2 * 100_000_000, &[(Phase::Cpu, 3000), (Phase::RunQueue, run_queue_ns)])
        };
        assert_eq!(found(&(0..60).map(pair).collect::<Vec<_>>()), 16_000);
    }

    #[test]
    fn who_waited_for_another_program_says_nothing() {
        let queued = (0..60).map(|number: u64| {
            request(number * 100_000_000, &[(Phase::Cpu, 3000), (Phase::RunQueue, 2 * 5_000_000)])
        });
        assert_eq!(found(&queued.collect::<Vec<_>>()), 0);
    }

    #[test]
    fn who_waited_for_the_lock_says_nothing() {
        let locked = (0..60).map(|number: u64| {
            request(number * 100_000_000, &[(Phase::GilWait, 1), (Phase::RunQueue, 80_000)])
        });
        assert_eq!(found(&locked.collect::<Vec<_>>()), 0);
    }
}
