//! Who kept a loop busy, and whom that made wait.
//!
//! In: what each request had of the present iteration, ends of iterations, arrivals. Out: the loop's figures.

use rustc_hash::FxHashMap;

use super::looks::{Forgotten, Looks};
use crate::model::event_loop::{EventLoop as Report, Holder, LONG_HOLD_NS, LongHolds};
use crate::model::path_shape::path_shape;
use crate::phase::{Phase, Phases};

/// Requests distinguished in one iteration. The time of others counts as nobody's.
const MAX_SHARES: usize = 64;
/// Endpoints distinguished.
const MAX_HOLDERS: usize = 200;
/// Below this length no request is named for an iteration.
const NAMED_NS: u64 = 1_000_000;

/// What one request had of the present iteration.
#[derive(Clone, Debug)]
struct Share {
    request: u64,
    phases: Phases,
    name: Option<(String, String)>,
}

/// The account of one loop.
#[derive(Clone, Debug, Default)]
pub(super) struct LoopHeld {
    shares: Vec<Share>,
    index: FxHashMap<(String, String), usize>,
    pub(super) report: Report,
}

impl LoopHeld {
    /// The loop waited from `enter_ns` to `exit_ns`.
    pub(super) fn waited(&mut self, enter_ns: u64, exit_ns: u64, window_start_ns: u64) {
        self.report.turns = self.report.turns.saturating_add(u64::from(enter_ns >= window_start_ns));
        let waited_ns = exit_ns.saturating_sub(enter_ns.max(window_start_ns));
        self.report.waiting_ns = self.report.waiting_ns.saturating_add(waited_ns);
    }

    /// A request had this part of the present iteration. `name` gives its method and path.
    pub(super) fn share<'a>(
        &mut self,
        request: u64,
        phases: &Phases,
        name: impl FnOnce() -> (&'a str, &'a str),
    ) {
        let index = match self.shares.iter().rposition(|share| share.request == request) {
            Some(index) => index,
            None if self.shares.len() < MAX_SHARES => {
                self.shares.push(Share { request, phases: Phases::default(), name: None });
                self.shares.len() - 1
            }
            None => return,
        };
        let Some(share) = self.shares.get_mut(index) else { return };
        share.phases.add_all(phases);
        if share.name.is_none() && share.phases.total_ns() >= NAMED_NS {
            let (method, path) = name();
            share.name = Some((method.to_owned(), path_shape(path)));
        }
    }

    /// The present iteration is over. Returns who had the largest part of it, and whether that part was a
    /// long one.
    pub(super) fn end_iteration(
        &mut self,
        start_ns: u64,
        end_ns: u64,
        window_start_ns: u64,
    ) -> Option<(usize, bool)> {
        let shares = std::mem::take(&mut self.shares);
        if end_ns <= window_start_ns {
            return None;
        }
        let length_ns = end_ns.saturating_sub(start_ns.max(window_start_ns));
        self.report.busy_ns = self.report.busy_ns.saturating_add(length_ns);
        self.report.longest_turn_ns = self.report.longest_turn_ns.max(length_ns);
        let named_ns = shares.iter().fold(0u64, |sum, share| sum.saturating_add(share.phases.total_ns()));
        let rest_ns = length_ns.saturating_sub(named_ns);
        let top = shares.into_iter().max_by_key(|share| share.phases.total_ns());
        match top {
            Some(Share { request, phases, name: Some(name) }) if phases.total_ns() >= rest_ns => {
                self.hold(name, Some(request), &phases)
            }
            _ if length_ns >= NAMED_NS => {
                // Nobody's request had the largest part, as far as descriptors show.
                let mut phases = Phases::default();
                phases.add(Phase::Unexplained, rest_ns);
                self.hold((String::new(), String::new()), None, &phases)
            }
            _ => None,
        }
    }

    fn hold(
        &mut self,
        name: (String, String),
        request: Option<u64>,
        phases: &Phases,
    ) -> Option<(usize, bool)> {
        let is_full = self.index.len() >= MAX_HOLDERS && !self.index.contains_key(&name);
        let name = if is_full { (String::new(), String::new()) } else { name };
        let next = self.report.holders.len();
        let index = *self.index.entry(name.clone()).or_insert(next);
        if index == next {
            let (method, path_shape) = name;
            self.report.holders.push(Holder { method, path_shape, ..Holder::default() });
        }
        let holder = self.report.holders.get_mut(index)?;
        let held_ns = phases.total_ns();
        holder.turns = holder.turns.saturating_add(1);
        holder.held_ns = holder.held_ns.saturating_add(held_ns);
        if held_ns > holder.longest_ns {
            (holder.longest_ns, holder.longest_request) = (held_ns, request);
        }
        let long = held_ns >= LONG_HOLD_NS;
        if long {
            let LongHolds { count, held_ns: sum_ns, phases: sums, .. } = &mut holder.long;
            *count = count.saturating_add(1);
            *sum_ns = sum_ns.saturating_add(held_ns);
            sums.add_all(phases);
        }
        Some((index, long))
    }

    /// A request's first bytes came at `arrival_ns`. The call that reads them was entered at `read_ns`.
    /// Records how long they lay there until the loop looked for what is ready.
    pub(super) fn arrived(&mut self, arrival_ns: u64, read_ns: u64, looks: &Looks) {
        if arrival_ns >= looks.last.exit_ns {
            // Read without another look.
            self.report.lag.record(read_ns.saturating_sub(arrival_ns));
            return;
        }
        let iteration = match looks.iteration_at(arrival_ns) {
            Ok(Some(iteration)) => iteration,
            // The bytes came while the loop waited.
            Ok(None) => return self.report.lag.record(0),
            Err(Forgotten) => {
                self.report.lag_unknown = self.report.lag_unknown.saturating_add(1);
                return;
            }
        };
        let lag_ns = iteration.end_ns.saturating_sub(arrival_ns);
        self.report.lag.record(lag_ns);
        let Some((index, long)) = iteration.holder else { return };
        let Some(holder) = self.report.holders.get_mut(index) else { return };
        holder.waited = holder.waited.saturating_add(1);
        holder.waited_ns = holder.waited_ns.saturating_add(lag_ns);
        if long {
            holder.long.waited = holder.long.waited.saturating_add(1);
            holder.long.waited_ns = holder.long.waited_ns.saturating_add(lag_ns);
        }
    }

    /// The next window begins.
    pub(super) fn roll(&mut self) {
        self.report = Report::default();
        self.index.clear();
    }

    /// The figures, who made others wait longest first.
    pub(super) fn finish(mut self) -> Report {
        self.report.holders.sort_by(|a, b| {
            (b.long.waited_ns, b.waited_ns, b.held_ns, &a.path_shape, &a.method).cmp(&(
                a.long.waited_ns,
                a.waited_ns,
                a.held_ns,
                &b.path_shape,
                &b.method,
            ))
        });
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Call, Slice};
    use crate::fact::Account;

    const MS: u64 = 1_000_000;

    fn cpu(cpu_ns: u64) -> Phases {
        let mut phases = Phases::default();
        phases.add(Phase::Cpu, cpu_ns);
        phases
    }

    /// A request of that number had so much of the iteration.
    fn share(held: &mut LoopHeld, request: u64, cpu_ns: u64) {
        let path = format!("/p{request}x");
        held.share(request, &cpu(cpu_ns), || ("GET", path.as_str()));
    }

    /// Path, time held and longest of each holder.
    fn holders(report: &Report) -> Vec<(&str, u64, Option<u64>)> {
        report.holders.iter().map(|one| (one.path_shape.as_str(), one.held_ns, one.longest_request)).collect()
    }

    #[test]
    fn an_iteration_was_held_by_the_request_with_the_largest_part_unless_the_rest_is_larger() {
        for (what, shares, length_ns, expected, is_long) in [
            ("one request", &[(1, 8 * MS)][..], 10 * MS, Some(("/p1x", 8 * MS, Some(1))), false),
            ("as much as the rest", &[(1, 5 * MS)], 10 * MS, Some(("/p1x", 5 * MS, Some(1))), false),
            ("less than the rest", &[(1, 5 * MS - 1)], 10 * MS, Some(("", 5 * MS + 1, None)), false),
            (
                "the larger of two",
                &[(1, 3 * MS), (2, 4 * MS)],
                10 * MS,
                Some(("/p2x", 4 * MS, Some(2))),
                false,
            ),
            (
                "in two parts",
                &[(1, MS / 2), (2, MS), (1, MS)],
                3 * MS,
                Some(("/p1x", 3 * MS / 2, Some(1))),
                false,
            ),
            ("long", &[(1, LONG_HOLD_NS)], LONG_HOLD_NS, Some(("/p1x", LONG_HOLD_NS, Some(1))), true),
            (
                "nearly long",
                &[(1, LONG_HOLD_NS - 1)],
                LONG_HOLD_NS,
                Some(("/p1x", LONG_HOLD_NS - 1, Some(1))),
                false,
            ),
            ("by nobody known", &[], LONG_HOLD_NS, Some(("", LONG_HOLD_NS, None)), true),
            ("too short to be named", &[(1, MS - 1)], MS - 1, None, false),
            ("many short ones", &[(1, MS - 1), (2, MS - 1)], 2 * MS, Some(("", 2, None)), false),
            ("by nobody, and short", &[], MS - 1, None, false),
        ] {
            let mut held = LoopHeld::default();
            shares.iter().for_each(|(request, cpu_ns)| share(&mut held, *request, *cpu_ns));
            let told = held.end_iteration(100 * MS, 100 * MS + length_ns, 0);
            assert_eq!(told, expected.map(|_| (0, is_long)), "{what}");
            assert_eq!(holders(&held.report), Vec::from_iter(expected), "{what}");
            assert_eq!((held.report.busy_ns, held.report.longest_turn_ns), (length_ns, length_ns), "{what}");
            assert_eq!(
                held.report.holders.iter().filter(|one| one.long.count > 0).count(),
                usize::from(is_long),
                "{what}"
            );
            assert!(held.shares.is_empty(), "{what}: the next iteration begins without");
        }
    }

    #[test]
    fn what_lies_before_the_window_is_no_part_of_it() {
        for (what, (start, end), waited, expected) in [
            ("before it", (10, 20), (20, 30), (0, 0, 0)),
            ("up to its begin", (90, 100), (100, 110), (0, 10, 1)),
            ("over its begin", (90, 105), (95, 110), (5, 10, 0)),
            ("within it", (100, 105), (105, 110), (5, 5, 1)),
        ] {
            let mut held = LoopHeld::default();
            held.end_iteration(start * MS, end * MS, 100 * MS);
            held.waited(waited.0 * MS, waited.1 * MS, 100 * MS);
            let Report { busy_ns, waiting_ns, turns, .. } = held.report;
            assert_eq!((busy_ns / MS, waiting_ns / MS, turns), expected, "{what}");
        }
    }

    #[test]
    fn a_holder_has_its_longest_hold_and_those_that_are_long_apart() {
        let mut held = LoopHeld::default();
        for (request, cpu_ns) in [(11, 12 * MS), (22, 30 * MS), (33, 2 * MS), (44, 30 * MS)] {
            held.share(request, &cpu(cpu_ns), || ("GET", "/same"));
            held.end_iteration(0, cpu_ns, 0);
        }
        let Holder { turns, held_ns, longest_ns, longest_request, ref long, .. } = held.report.holders[0];
        assert_eq!((turns, held_ns, longest_ns, longest_request), (4, 74 * MS, 30 * MS, Some(22)));
        assert_eq!((long.count, long.held_ns, long.phases), (3, 72 * MS, cpu(72 * MS)));
    }

    #[test]
    fn endpoints_and_requests_beyond_the_bounds_count_for_nobody() {
        let mut held = LoopHeld::default();
        for number in 0..=MAX_HOLDERS {
            share(&mut held, number as u64, 2 * MS);
            assert_eq!(held.end_iteration(0, 2 * MS, 0), Some((number, false)));
        }
        assert_eq!(holders(&held.report).last(), Some(&("", 2 * MS, Some(MAX_HOLDERS as u64))));
        let mut held = LoopHeld::default();
        (0..=MAX_SHARES as u64).for_each(|request| share(&mut held, request, MS));
        assert_eq!(held.shares.len(), MAX_SHARES);
    }

    /// Waits until 200 and 310 ms, with an iteration in between that is held for long by the first holder,
    /// and one up to 400.
    fn looks() -> Looks {
        let mut looks = Looks::default();
        for (enter, exit, holder) in
            [(100, 200, None), (300, 310, Some((0, true))), (400, 410, Some((1, false)))]
        {
            if looks.last.exit_ns > 0 {
                looks.end_iteration(enter * MS, 0, holder);
            }
            let inside = Account { cpu_ns: (exit - enter) * MS, ..Account::default() };
            let (enter_ns, exit_ns) = (enter * MS, exit * MS);
            looks.look(&Slice { enter_ns, exit_ns, inside, ..Slice::blank(Call::Other) });
        }
        looks
    }

    #[test]
    fn an_arrival_waits_for_the_end_of_its_iteration_because_of_whoever_held_it() {
        for (what, arrival, lag, of_first, of_second) in [
            ("as the first iteration begins", 200, 100, (1, 100, 1), (0, 0, 0)),
            ("at its end", 300, 0, (0, 0, 0), (0, 0, 0)),
            ("within it", 250, 50, (1, 50, 1), (0, 0, 0)),
            ("within the second, which is not long", 390, 10, (0, 0, 0), (1, 10, 0)),
            ("while the loop waited", 305, 0, (0, 0, 0), (0, 0, 0)),
            ("before it ever did", 50, 0, (0, 0, 0), (0, 0, 0)),
            ("since its last look", 411, 9, (0, 0, 0), (0, 0, 0)),
            ("with that look", 410, 10, (0, 0, 0), (0, 0, 0)),
        ] {
            let mut held = LoopHeld::default();
            held.report.holders = vec![Holder::default(); 2];
            held.arrived(arrival * MS, 420 * MS, &looks());
            assert_eq!((held.report.lag.count(), held.report.lag.sum_ns()), (1, lag * MS), "{what}");
            let told = |holder: &Holder| (holder.waited, holder.waited_ns / MS, holder.long.waited);
            let told: Vec<_> = held.report.holders.iter().map(told).collect();
            assert_eq!(told, [of_first, of_second], "{what}");
        }
    }

    #[test]
    fn an_arrival_before_all_that_is_remembered_has_no_lag() {
        let mut looks = Looks::default();
        for turn in 0..1000 {
            let (enter_ns, exit_ns) = ((turn * 10 + 5) * MS, (turn * 10 + 10) * MS);
            looks.end_iteration(enter_ns, 0, None);
            looks.look(&Slice { enter_ns, exit_ns, ..Slice::blank(Call::Other) });
        }
        let mut held = LoopHeld::default();
        held.arrived(MS, 10_001 * MS, &looks);
        assert_eq!((held.report.lag_unknown, held.report.lag.count()), (1, 0));
    }

    #[test]
    fn who_made_others_wait_longest_comes_first() {
        let holder = |path: &str, long_ns, waited_ns, held_ns| {
            let long = LongHolds { waited_ns: long_ns, ..LongHolds::default() };
            Holder { path_shape: path.to_owned(), waited_ns, held_ns, long, ..Holder::default() }
        };
        let mut held = LoopHeld::default();
        held.report.holders =
            vec![holder("/d", 0, 5, 9), holder("/b", 0, 9, 1), holder("/c", 0, 5, 9), holder("/a", 1, 1, 0)];
        let report = held.finish();
        let paths: Vec<&str> = report.holders.iter().map(|holder| holder.path_shape.as_str()).collect();
        assert_eq!(paths, ["/a", "/b", "/c", "/d"]);
    }
}
