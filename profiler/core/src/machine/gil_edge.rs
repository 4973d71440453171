//! Who made whom wait for the interpreter lock.
//!
//! In: parts of waits, each with the thread that held the lock when it began. Out: sums by waiter and holder, where a
//! party is the endpoint that a thread serves just then, or the thread itself while it serves none.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::endpoint::path_shape;
use crate::machine::state::State;
use crate::machine::thread::Thread;
use crate::model::gil::{Edge, Party};

/// Parties told apart; further ones are not known.
const MAX_PARTIES: usize = 2048;
/// Pairs told apart.
const MAX_PAIRS: usize = 8192;
/// Pairs that the report lists.
const MAX_LISTED: usize = 50;
/// Holders of one thread's waits between two other calls.
const MAX_HELD: usize = 16;

/// Number of the party that is not known.
const UNKNOWN: u32 = 0;

/// Sums by waiter and holder.
#[derive(Clone, Debug)]
pub struct Edges {
    parties: Vec<Party>,
    numbers: FxHashMap<Party, u32>,
    sums: FxHashMap<(u32, u32), (u64, u64)>,
}

impl Default for Edges {
    fn default() -> Self {
        Self { parties: vec![Party::Unknown], numbers: FxHashMap::default(), sums: FxHashMap::default() }
    }
}

impl Edges {
    fn number(&mut self, party: Party) -> u32 {
        if party == Party::Unknown {
            return UNKNOWN;
        }
        if let Some(number) = self.numbers.get(&party) {
            return *number;
        }
        let number = u32::try_from(self.parties.len()).unwrap_or(UNKNOWN);
        if self.parties.len() >= MAX_PARTIES || number == UNKNOWN {
            return UNKNOWN;
        }
        self.parties.push(party.clone());
        self.numbers.insert(party, number);
        number
    }

    fn add(&mut self, waiter: u32, holder: u32, wait_ns: u64) {
        let full = self.sums.len() >= MAX_PAIRS && !self.sums.contains_key(&(waiter, holder));
        let pair = if full { (UNKNOWN, UNKNOWN) } else { (waiter, holder) };
        let (sum_ns, waits) = self.sums.entry(pair).or_default();
        *sum_ns = sum_ns.saturating_add(wait_ns);
        *waits = waits.saturating_add(1);
    }

    /// The pairs, costliest first, and the time of those that are not listed.
    #[must_use]
    pub fn finish(self, name: impl Fn(Tid) -> String) -> (Vec<Edge>, u64) {
        let party = |number: u32| {
            let party = usize::try_from(number).ok().and_then(|place| self.parties.get(place));
            match party.cloned().unwrap_or(Party::Unknown) {
                Party::Thread { tgid, tid, .. } => Party::Thread { tgid, tid, comm: name(tid) },
                other => other,
            }
        };
        let mut sums: Vec<((u32, u32), (u64, u64))> =
            self.sums.iter().map(|(pair, sum)| (*pair, *sum)).collect();
        sums.sort_unstable_by_key(|(pair, (sum_ns, _))| (std::cmp::Reverse(*sum_ns), *pair));
        let rest_ns =
            sums.iter().skip(MAX_LISTED).fold(0u64, |all, (_, (sum_ns, _))| all.saturating_add(*sum_ns));
        let listed = sums.iter().take(MAX_LISTED).map(|((waiter, holder), (total_ns, waits))| Edge {
            waiter: party(*waiter),
            holder: party(*holder),
            total_ns: *total_ns,
            waits: *waits,
        });
        (listed.collect(), rest_ns)
    }
}

/// What a thread is to others: the endpoint that it serves, or itself.
fn party(state: &State, serving: Option<(u32, u64)>, tgid: Tid, tid: Tid) -> Party {
    let request = serving.and_then(|(number, id)| {
        let connection = state.connections.get(number)?;
        connection.requests.iter().map(|active| &active.request).find(|request| request.id == id)
    });
    match request {
        Some(request) if request.method.is_empty() => Party::Endpoint(String::new()),
        Some(request) => Party::Endpoint(format!("{} {}", request.method, path_shape(&request.path))),
        None => Party::Thread { tgid, tid, comm: String::new() },
    }
}

/// A thread waited for `wait_ns` while `holder_tid` had the lock.
pub fn held(state: &mut State, thread: &mut Thread, tid: Tid, holder_tid: Tid, wait_ns: u64) {
    // Who finds itself as the last holder let the lock go; who took it since is not known.
    let holder = if holder_tid == 0 || holder_tid == tid {
        Party::Unknown
    } else {
        let other = state.threads.get(&holder_tid).filter(|other| other.tgid == thread.tgid);
        party(state, other.and_then(|other| other.serving), thread.tgid, holder_tid)
    };
    let holder = state.gil.edges.number(holder);
    let place = thread.gil_held.iter().position(|(known, _)| *known == holder);
    if place.is_none() && thread.gil_held.len() < MAX_HELD {
        thread.gil_held.push((holder, wait_ns));
        return;
    }
    let place = place.unwrap_or(MAX_HELD - 1);
    if let Some((_, sum_ns)) = thread.gil_held.get_mut(place) {
        *sum_ns = sum_ns.saturating_add(wait_ns);
    }
}

/// What the thread waited belongs to what it serves now.
pub fn settle(state: &mut State, thread: &mut Thread, tid: Tid) {
    if thread.gil_held.is_empty() {
        return;
    }
    let waiter = party(state, thread.serving, thread.tgid, tid);
    let waiter = state.gil.edges.number(waiter);
    for (holder, wait_ns) in thread.gil_held.drain(..) {
        state.gil.edges.add(waiter, holder, wait_ns);
    }
}
