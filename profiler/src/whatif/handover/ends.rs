//! Wakeups for the lock, measured by the ends of waits: where calls are also made without the lock, or keep
//! it, in servers that are written in C.
//!
//! In: what threads did. Out: such times, as measured; they are those of quick wakeups more than of slow
//! ones. Who gives the lock up enters a call at that moment. Where only one call of the process began shortly
//! before a wait for the lock ended, that call gave it up.

use std::collections::HashMap;

use profiler_core::event::Tid;
use profiler_core::timeline::ThreadState;

use super::Handovers;
use crate::whatif::trace::{Place, Trace};

/// Waits at least this long: shorter ones are of threads that give the lock to one another in turn.
const MIN_WAIT_NS: u64 = 500_000;
/// No other call of the process began within this time before the end of the wait.
const ALONE_NS: u64 = 400_000;
/// With fewer waits nothing is known.
const MIN_WAITS: usize = 20;
/// So many are kept, spread over all.
const MAX_KEPT: usize = 1000;

/// None: too few waits show it.
pub(in crate::whatif) fn by_ends(trace: &Trace, process_of: &HashMap<Tid, u32>) -> Handovers {
    Handovers::of(Vec::new(), ended_ns(trace, process_of))
}

fn ended_ns(trace: &Trace, process_of: &HashMap<Tid, u32>) -> Vec<u64> {
    let mut begun: HashMap<u32, Vec<(u64, Tid)>> = HashMap::new();
    for (tid, slices) in trace.threads() {
        let Some(tgid) = process_of.get(&tid) else { continue };
        let calls = slices.iter().filter(|slice| slice.place != Place::Gap);
        begun.entry(*tgid).or_default().extend(calls.map(|slice| (slice.start_ns, tid)));
    }
    begun.values_mut().for_each(|calls| calls.sort_unstable());
    let mut found: Vec<u64> = Vec::new();
    for (tid, slices) in trace.threads() {
        let Some(calls) = process_of.get(&tid).and_then(|tgid| begun.get(tgid)) else { continue };
        let waits = slices.iter().filter(|slice| {
            slice.state == ThreadState::GilWait && slice.end_ns.saturating_sub(slice.start_ns) >= MIN_WAIT_NS
        });
        found.extend(waits.filter_map(|wait| {
            let from = calls.partition_point(|(at_ns, _)| *at_ns < wait.end_ns.saturating_sub(ALONE_NS));
            let until = calls.partition_point(|(at_ns, _)| *at_ns < wait.end_ns);
            let mut before = calls.get(from..until)?.iter().filter(|(_, other)| *other != tid);
            let (at_ns, _) = before.next()?;
            before.next().is_none().then(|| wait.end_ns.saturating_sub(*at_ns))
        }));
    }
    found.sort_unstable();
    if found.len() < MIN_WAITS {
        return Vec::new();
    }
    let kept = found.len().min(MAX_KEPT);
    (0..kept).filter_map(|at| found.get(at * found.len() / kept).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::observer::Observer as _;
    use crate::whatif::tests::slice;

    #[test]
    fn a_wait_ends_so_long_after_the_only_call_that_can_have_given_the_lock_up() {
        let mut trace = Trace::default();
        let mut note = |tid, start_ns, end_ns, state, label| {
            trace.entry(&slice(tid, start_ns, end_ns, state, label));
        };
        for number in 0..30_u64 {
            let at = number * 10_000_000;
            // The first gives the lock up by writing; the second ran 10 to 39 us later.
            note(1, at, at + 900_000, ThreadState::Running, "running");
            note(1, at + 900_000, at + 905_000, ThreadState::ClientIo, "sendto");
            note(2, at + 100_000, at + 910_000 + number * 1000, ThreadState::GilWait, "futex");
            // Of another process: it has a lock of its own.
            note(3, at + 890_000, at + 891_000, ThreadState::Other, "close");
            // A short wait shows nothing.
            note(2, at + 2_000_000, at + 2_100_000, ThreadState::GilWait, "futex");
        }
        let processes = HashMap::from([(1, 7), (2, 7), (3, 8)]);
        let found = ended_ns(&trace, &processes);
        assert_eq!((found.len(), found.first(), found.last()), (30, Some(&10_000), Some(&39_000)));
        assert!(ended_ns(&trace, &HashMap::new()).is_empty());
    }
}
