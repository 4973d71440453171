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
pub(super) struct Held {
    shares: Vec<Share>,
    index: FxHashMap<(String, String), usize>,
    pub(super) report: Report,
}

impl Held {
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

    /// The present iteration is over. Returns who had the largest part of it, and whether that part was a long one.
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
                // Nobody's request had the largest part, as far as descriptors tell.
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

    /// A request's first bytes came at `arrival_ns`. The call that reads them was entered at `read_ns`. Records how long they lay there until the loop looked
    /// for what is ready.
    pub(super) fn arrived(&mut self, arrival_ns: u64, read_ns: u64, looks: &Looks) {
        if arrival_ns >= looks.last.exit_ns {
            // Read without another look.
            self.report.lag.record(read_ns.saturating_sub(arrival_ns));
            return;
        }
        let iteration = match looks.iteration_at(arrival_ns) {
            Ok(Some(iteration)) => iteration,
            // It came while the loop waited.
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
