//! Leaves of a window: what all its requests came to.
//!
//! In: the leaves of each request. Out: [`Chains`]. What has no room is added up as one.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::chain::follow::{back_end, by_phase, ran};
use crate::machine::chain::independence::OutsideWaits;
use crate::machine::chain::leaves::{ChainStep, ChainSteps, LeafKey, LeafShare};
use crate::machine::chain::prevented;
use crate::machine::chain::replay::{LineOf, Lines};
use crate::machine::chain::settle::{Settled, unfollowed};
use crate::machine::chain::settling::{SHORTEST_NS, Settling, TO_BE_SERVED, is_work, waited_and_served};
use crate::machine::chain::short_requests::{ShortRequests, ShortSum};
use crate::model::chain::{
    ChainExample, Chains, ExampleHop, Hops, Leaf, LeafKind, LeafTime, Object, RequestWait,
};
use crate::model::independence::Independence;
use crate::model::request::Request;
use crate::phase::Phase;

/// Leaves kept apart, by endpoint and way.
const MAX_CELLS: usize = 4096;
/// Leaves listed.
const MAX_LISTED: usize = 128;
/// Values kept of one endpoint at one leaf. Of more, every second one stays, then every fourth, and so on.
const MAX_VALUES: usize = 1024;
/// Requests of which it is kept what they waited for longest.
const MAX_OF_REQUESTS: usize = 128;
/// Endpoints and leaves of which values are kept.
const MAX_SPREADS: usize = 1024;

/// An endpoint's time at one leaf, by one way.
#[derive(Clone, Debug, Default)]
struct Cell {
    ns: u64,
    requests: u64,
    longest_ns: u64,
    is_shared: bool,
    seen: Option<(u64, u32)>,
    place: Option<(u64, u32)>,
    waited_at: Option<(u64, u32)>,
    longest: Option<LongestChain>,
}

/// A leaf by one way, over all endpoints.
#[derive(Debug)]
struct Row {
    time: LeafTime,
    longest: Option<LongestChain>,
    seen: Option<(u64, u32)>,
    place: Option<(u64, u32)>,
    waited_at: Option<(u64, u32)>,
    /// The endpoint whose requests have most of it, and how much.
    victim: (u64, u32),
}

/// The longest single chain of a cell.
#[derive(Clone, Debug)]
struct LongestChain {
    request: u64,
    endpoint: u32,
    ns: u64,
    steps: Vec<ChainStep>,
    candidates: Vec<ChainStep>,
}

/// How an endpoint's requests differ at one leaf.
#[derive(Clone, Debug, Default)]
struct LeafSpread {
    values_ns: Vec<u64>,
    /// One of so many is kept.
    stride: u64,
    seen: u64,
    /// Requests of which only the sum is known, and that sum: each counts as their mean.
    short: (u64, u64),
}

impl LeafSpread {
    fn add(&mut self, ns: u64) {
        self.stride = self.stride.max(1);
        if self.seen.is_multiple_of(self.stride) {
            self.values_ns.push(ns);
        }
        self.seen = self.seen.saturating_add(1);
        if self.values_ns.len() >= MAX_VALUES {
            let mut place = 0_u64;
            self.values_ns.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride = self.stride.saturating_mul(2);
        }
    }

    fn add_short(&mut self, ns: u64, requests: u64) {
        // One request may be in several of the sums.
        self.short.0 = self.short.0.max(requests);
        self.short.1 = self.short.1.saturating_add(ns);
    }

    /// Which part of its time exceeds the median over all of an endpoint's requests, in thousandths.
    fn unusual(&self, requests: u64) -> u64 {
        let (short, short_ns) = self.short;
        let stride = self.stride.max(1);
        let mean_ns = short_ns.checked_div(short).unwrap_or(0);
        // Requests that have nothing there.
        let without = requests.saturating_sub(self.seen).saturating_sub(short) / stride;
        let mut values: Vec<(u64, u64)> = self.values_ns.iter().map(|ns| (*ns, 1)).collect();
        values.extend([(0, without), (mean_ns, short / stride)]);
        values.sort_unstable();
        let middle = values.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count)) / 2;
        let mut before = 0_u64;
        let median_ns = values.iter().find_map(|(ns, count)| {
            before = before.saturating_add(*count);
            (before > middle).then_some(*ns)
        });
        let median_ns = median_ns.unwrap_or(0);
        let sum_of = |of: &dyn Fn(u64) -> u64| -> u128 {
            values.iter().map(|(ns, count)| u128::from(of(*ns)) * u128::from(*count)).sum()
        };
        let (sum, above) = (sum_of(&|ns| ns), sum_of(&|ns| ns.saturating_sub(median_ns)));
        u64::try_from((above * 1000).checked_div(sum).unwrap_or(0)).unwrap_or(1000)
    }
}

/// All leaves of a window.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Sums {
    request_ns: u64,
    other_ns: u64,
    broken: u64,
    cells: BoundedMap<(u32, Leaf, Hops), Cell, MAX_CELLS>,
    /// What the longest requests waited for: length, number, and that.
    longest: BTreeMap<(u64, u64), RequestWait>,
    spreads: BoundedMap<(u32, Leaf), LeafSpread, MAX_SPREADS>,
    /// Requests by endpoint.
    requests: FxHashMap<u32, u64>,
    lines: Lines,
    outside: OutsideWaits,
    /// Requests without a wait that is followed, by endpoint.
    short: Vec<ShortRequests>,
}

impl Sums {
    /// Adds a request without a wait that is followed. `has_wait`: it has one that is no mere moment.
    /// `holders`: who had the interpreter lock while it waited for that.
    #[inline]
    pub(super) fn add_short(
        &mut self,
        (endpoint, has_wait): (u32, bool),
        request: &Request,
        holders: impl Iterator<Item = (Option<u32>, u64)>,
    ) {
        let place = endpoint as usize;
        if self.short.len() <= place {
            self.short.resize_with(place + 1, ShortRequests::default);
        }
        let Some(short) = self.short.get_mut(place) else { return };
        short.add(request, holders);
        self.broken += u64::from(request.phases.total_ns() != request.total_ns());
        if has_wait {
            return self.add_to_line(endpoint, request);
        }
        let lengths = waited_and_served(&request.phases);
        self.lines.add(request.tgid, request.times.start_ns, lengths, std::iter::empty());
    }

    /// Adds such a request to its line, with the leaves that it met for longer than a moment.
    #[inline(never)]
    fn add_to_line(&mut self, endpoint: u32, request: &Request) {
        let phases = &request.phases;
        let met = phases.iter().filter(|(_, ns)| *ns >= SHORTEST_NS);
        let met = met.filter_map(|of_phase| Some((met_alone(endpoint, request, of_phase)?, of_phase.1)));
        self.lines.add(request.tgid, request.times.start_ns, waited_and_served(phases), met);
    }

    /// What was short is added to what was followed.
    fn join_short(&mut self) {
        for (endpoint, short) in (0_u32..).zip(std::mem::take(&mut self.short)) {
            if short.requests > 0 {
                *self.requests.entry(endpoint).or_default() += short.requests;
            }
            for phase in Phase::ALL {
                self.join(&Settling { endpoint, ..Settling::default() }, phase, short.rest(phase));
            }
            for (port, sum) in short.by_port {
                let back_ends = vec![(port, sum.ns)];
                let of_port = Settling { endpoint, back_ends, ..Settling::default() };
                self.join(&of_port, Phase::BackendWait, sum);
            }
            for (holder, sum) in short.by_holder {
                let holders = vec![(holder, sum.ns)];
                let of_holder = Settling { endpoint, holders, ..Settling::default() };
                self.join(&of_holder, Phase::GilWait, sum);
            }
        }
    }

    /// Adds the time of several requests in a phase that were like this one.
    fn join(&mut self, like: &Settling, phase: Phase, sum: ShortSum) {
        self.request_ns = self.request_ns.saturating_add(sum.ns);
        for ((_, leaf, hops), ns) in unfollowed(like, (phase, sum.ns)) {
            if let Some(spread) = self.spreads.get_mut(&(like.endpoint, leaf)) {
                spread.add_short(ns, sum.requests);
            }
            match self.cells.get_or_default((like.endpoint, leaf, hops)) {
                Some(cell) => {
                    cell.ns = cell.ns.saturating_add(ns);
                    cell.requests += sum.requests;
                    cell.longest_ns = cell.longest_ns.max(sum.longest_ns);
                }
                None => self.other_ns = self.other_ns.saturating_add(ns),
            }
        }
    }

    /// Adds a request.
    pub(in crate::machine) fn add(&mut self, request: &Settling, settled: Settled) {
        let total_ns = request.phases.total_ns();
        let leaves_ns = settled.shares.iter().fold(0_u64, |sum, (_, share)| sum.saturating_add(share.ns));
        self.request_ns = self.request_ns.saturating_add(total_ns);
        self.broken +=
            u64::from(leaves_ns != total_ns || total_ns != request.end_ns.saturating_sub(request.start_ns));
        *self.requests.entry(request.endpoint).or_default() += 1;
        let in_service = settled.shares.iter().filter(|((phase, _, _), _)| !TO_BE_SERVED.contains(phase));
        let in_service = in_service.map(|((_, leaf, _), share)| (*leaf, share.ns));
        let lengths = waited_and_served(&request.phases);
        self.lines.add(request.tgid, request.start_ns, lengths, in_service);
        self.outside.add((request.endpoint, request.start_ns, request.end_ns), &settled.outside);
        self.note_longest(request, total_ns, &settled);
        let of_share = |((_, leaf, _), share): &(LeafKey, LeafShare)| (*leaf, share.ns);
        let mut by_leaf: Vec<(Leaf, u64)> = settled.shares.iter().map(of_share).collect();
        by_leaf.sort_unstable();
        by_leaf.dedup_by(|(leaf, ns), (before, sum_ns)| {
            let is_same = leaf == before;
            *sum_ns = sum_ns.saturating_add(if is_same { *ns } else { 0 });
            is_same
        });
        for ((_, leaf, hops), share) in settled.shares {
            self.add_share(request, (leaf, hops), share, &settled.steps);
        }
        for (leaf, ns) in by_leaf {
            if let Some(spread) = self.spreads.get_or_default((request.endpoint, leaf)) {
                spread.add(ns);
            }
        }
    }

    /// Keeps what a request waited for longest, if it is one of the longest.
    fn note_longest(&mut self, request: &Settling, total_ns: u64, settled: &Settled) {
        let is_full = self.longest.len() >= MAX_OF_REQUESTS;
        if is_full && self.longest.first_key_value().is_some_and(|((least_ns, _), _)| *least_ns >= total_ns) {
            return;
        }
        let times = settled.shares.iter().map(|((_, leaf, hops), share)| LeafTime {
            held_ns: share.ns,
            longest_ns: share.longest_ns,
            requests: 1,
            is_shared_connection: share.is_shared,
            seen: share.seen.map(|(_, number)| number),
            place: share.place.map(|(_, number)| number),
            waited_at: share.waited_at.map(|(_, number)| number),
            ..LeafTime::new(*leaf, *hops)
        });
        let Some(time) = times.filter(|time| !time.is_own_work()).max_by_key(|time| time.held_ns) else {
            return;
        };
        self.longest.insert((total_ns, request.id), RequestWait { request: request.id, time });
        if is_full {
            self.longest.pop_first();
        }
    }

    fn add_share(
        &mut self,
        request: &Settling,
        (leaf, hops): (Leaf, Hops),
        share: LeafShare,
        all_steps: &ChainSteps,
    ) {
        let Some(cell) = self.cells.get_or_default((request.endpoint, leaf, hops)) else {
            self.other_ns = self.other_ns.saturating_add(share.ns);
            return;
        };
        cell.ns = cell.ns.saturating_add(share.ns);
        cell.requests += 1;
        cell.longest_ns = cell.longest_ns.max(share.ns);
        cell.is_shared |= share.is_shared;
        cell.seen = cell.seen.max(share.seen);
        cell.place = cell.place.max(share.place);
        cell.waited_at = cell.waited_at.max(share.waited_at);
        let steps = all_steps.of(&share);
        if !steps.is_empty() && cell.longest.as_ref().is_none_or(|known| known.ns < share.longest_ns) {
            let LeafShare { longest_ns: ns, candidates, .. } = share;
            let (request, endpoint) = (request.id, request.endpoint);
            cell.longest = Some(LongestChain { request, endpoint, ns, steps: steps.to_vec(), candidates });
        }
    }

    /// All of it as one part of the report. `endpoint_of`: the endpoint of a request, by its number plus 1.
    /// `line_of`: where a process takes its requests from.
    pub(super) fn finish(
        mut self,
        endpoints: Vec<String>,
        endpoint_of: &dyn Fn(u64) -> u32,
        name_of: &dyn Fn(Tid) -> String,
        line_of: impl Fn(Tid) -> LineOf,
    ) -> Chains {
        self.join_short();
        let mut rows: FxHashMap<(Leaf, Hops), Row> = FxHashMap::default();
        for ((endpoint, leaf, hops), cell) in self.cells.into_map() {
            let requests = self.requests.get(&endpoint).copied().unwrap_or(0);
            let thousandths =
                self.spreads.get(&(endpoint, leaf)).map_or(0, |spread| spread.unusual(requests));
            let unusual_ns = u128::from(cell.ns) * u128::from(thousandths) / 1000;
            let Row { time: row, longest, seen, place, waited_at, victim } =
                rows.entry((leaf, hops)).or_insert_with(|| Row {
                    time: LeafTime::new(leaf, hops),
                    longest: None,
                    seen: None,
                    place: None,
                    waited_at: None,
                    victim: (0, 0),
                });
            *victim = (*victim).max((cell.ns, endpoint));
            *seen = (*seen).max(cell.seen);
            *place = (*place).max(cell.place);
            *waited_at = (*waited_at).max(cell.waited_at);
            row.held_ns = row.held_ns.saturating_add(cell.ns);
            row.unusual_ns = row.unusual_ns.saturating_add(u64::try_from(unusual_ns).unwrap_or(cell.ns));
            row.requests += cell.requests;
            row.longest_ns = row.longest_ns.max(cell.longest_ns);
            row.is_shared_connection |= cell.is_shared;
            // Of two that are as long, the older.
            let is_longer = |one: &LongestChain| {
                longest.as_ref().is_none_or(|known| (known.ns, one.request) < (one.ns, known.request))
            };
            if let Some(one) = cell.longest.filter(is_longer) {
                *longest = Some(one);
            }
        }
        let measured = self.outside.measured();
        let shown = |Row { time, longest, seen, place, waited_at, victim }: Row| LeafTime {
            measured: measured.of(&time.leaf),
            victim: Some(victim.1).filter(|endpoint| *endpoint > 0 && victim.0 >= time.held_ns / 2),
            example: longest.map(|one| example(one, endpoint_of, name_of)),
            seen: seen.map(|(_, number)| number),
            place: place.map(|(_, number)| number),
            waited_at: waited_at.map(|(_, number)| number),
            ..time
        };
        let mut leaves: Vec<LeafTime> = rows.into_values().map(shown).collect();
        leaves.sort_unstable_by(|a, b| {
            b.held_ns.cmp(&a.held_ns).then_with(|| (a.leaf, a.hops).cmp(&(b.leaf, b.hops)))
        });
        let unlisted = leaves.split_off(leaves.len().min(MAX_LISTED));
        let other_ns = unlisted.iter().fold(self.other_ns, |sum, row| sum.saturating_add(row.held_ns));
        let mut of_requests: Vec<RequestWait> = self.longest.into_values().collect();
        of_requests.sort_unstable_by_key(|wait| wait.request);
        let replayed = prevented::note(self.lines, &mut leaves, line_of);
        let prevented_together_ns = replayed.as_ref().map(|replayed| replayed.together_ns);
        let (groups, more_slots) =
            replayed.map(|replayed| (replayed.groups, replayed.more_slots)).unwrap_or_default();
        Chains {
            request_ns: self.request_ns,
            broken: self.broken,
            leaves,
            other_ns,
            groups,
            prevented_together_ns,
            more_slots,
            objects: Vec::new(),
            places: Vec::new(),
            own: Vec::new(),
            of_requests,
            programs: Vec::new(),
            computed: Vec::new(),
            waited: Vec::new(),
            whereabouts: Vec::new(),
            endpoints,
        }
    }

    /// What found no place of its own.
    pub(in crate::machine) const fn evicted(&self) -> u64 {
        self.cells.evicted()
    }
}

/// The leaf of a phase in which a request was served, as far as it is known without following it.
fn met_alone(endpoint: u32, request: &Request, (phase, ns): (Phase, u64)) -> Option<Leaf> {
    let kind = if is_work(phase) { ran(phase) } else { by_phase(phase) };
    let leaf = Leaf { endpoint, ..Leaf::of(kind) };
    match phase {
        Phase::BackendWait => {
            let port = request.round_trips.ports().find(|to| to.waited_ns >= ns - ns / 4)?.port;
            Some(Leaf { kind: back_end(port), object: Object::Peer { port }, ..leaf })
        }
        _ => (kind != LeafKind::NotFollowed).then_some(leaf),
    }
}

impl LeafTime {
    /// No time yet.
    const fn new(leaf: Leaf, hops: Hops) -> Self {
        Self {
            leaf,
            hops,
            held_ns: 0,
            unusual_ns: 0,
            prevented_ns: None,
            requests: 0,
            longest_ns: 0,
            is_shared_connection: false,
            is_collecting: false,
            measured: Independence::Unknown,
            victim: None,
            seen: None,
            place: None,
            waited_at: None,
            example: None,
        }
    }
}

fn example(
    LongestChain { request, endpoint, ns: wait_ns, steps, candidates }: LongestChain,
    endpoint_of: &dyn Fn(u64) -> u32,
    name_of: &dyn Fn(Tid) -> String,
) -> ChainExample {
    let start_ns = steps.first().map_or(0, |step| step.start_ns);
    let hop = |step: ChainStep| ExampleHop {
        tgid: step.tgid,
        tid: step.tid,
        comm: if step.tid > 0 { name_of(step.tid) } else { String::new() },
        endpoint: if step.request > 0 { endpoint_of(step.request) } else { 0 },
        phase: step.phase,
        start_ns: step.start_ns,
        end_ns: step.end_ns,
        place: step.place,
    };
    let hops = steps.into_iter().map(hop).collect();
    let candidates = candidates.into_iter().map(hop).collect();
    ChainExample { request, endpoint, start_ns, wait_ns, hops, candidates }
}
