//! Who made whom wait for the interpreter lock.
//!
//! In: shares of waits, each with its holder (`gil_party`). Out: sums by waiter and holder, by party and by thread. A party is the endpoint that a thread
//! serves just then, or the thread itself while it serves none.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::lock::gil_held::Share;
use crate::machine::lock::gil_stack::cut;
use crate::model::gil::{Edge, Holder, Party, ThreadEdge};

/// Parties distinguished; further ones count as unknown.
const MAX_PARTIES: usize = 2048;
/// Windows after which an unused party is forgotten: longer than requests last.
const KEPT_WINDOWS: u32 = 3;
/// Pairs distinguished.
const MAX_PAIRS: usize = 8192;
/// Pairs that the report lists.
const MAX_LISTED: usize = 50;

/// Number of the unknown party.
pub(in crate::machine) const UNKNOWN: u32 = 0;

/// Sums of one pair.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    wait_ns: u64,
    waits: u64,
    not_honoured_ns: u64,
}

impl Sum {
    const fn add(&mut self, share: &Share) {
        self.wait_ns = self.wait_ns.saturating_add(share.wait_ns);
        self.waits = self.waits.saturating_add(share.waits);
        self.not_honoured_ns = self.not_honoured_ns.saturating_add(share.not_honoured_ns);
    }
}

/// Sums by waiter and holder.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    /// By number: the party, and the window in which it was last used.
    parties: FxHashMap<u32, (Party, u32)>,
    numbers: FxHashMap<Party, u32>,
    last_number: u32,
    window: u32,
    sums: FxHashMap<(u32, u32), Sum>,
    /// By process, waiter and holder.
    threads: FxHashMap<(Tid, Tid, Tid), Sum>,
}

impl Edges {
    pub(in crate::machine) fn number(&mut self, party: Party) -> u32 {
        if party == Party::Unknown {
            return UNKNOWN;
        }
        if let Some(number) = self.numbers.get(&party).copied() {
            self.use_again(number);
            return number;
        }
        if self.parties.len() >= MAX_PARTIES || self.last_number == u32::MAX {
            return UNKNOWN;
        }
        self.last_number += 1;
        self.parties.insert(self.last_number, (party.clone(), self.window));
        self.numbers.insert(party, self.last_number);
        self.last_number
    }

    pub(in crate::machine) fn use_again(&mut self, number: u32) {
        if let Some((_, window)) = self.parties.get_mut(&number) {
            *window = self.window;
        }
    }

    /// The next window begins: sums start at zero. Requests in flight know parties by their numbers, which stay.
    pub fn roll(&mut self) {
        self.window = self.window.wrapping_add(1);
        let window = self.window;
        self.parties.retain(|_, (_, last)| window.wrapping_sub(*last) <= KEPT_WINDOWS);
        let parties = &self.parties;
        self.numbers.retain(|_, number| parties.contains_key(number));
        self.sums.clear();
        self.threads.clear();
    }

    pub(in crate::machine) fn add(&mut self, waiter: u32, (tgid, tid): (Tid, Tid), share: &Share) {
        let pair = (waiter, share.by.party);
        let full = self.sums.len() >= MAX_PAIRS && !self.sums.contains_key(&pair);
        self.sums.entry(if full { (UNKNOWN, UNKNOWN) } else { pair }).or_default().add(share);
        let pair = (tgid, tid, share.by.tid);
        let full = self.threads.len() >= MAX_PAIRS && !self.threads.contains_key(&pair);
        self.threads.entry(if full { (0, 0, 0) } else { pair }).or_default().add(share);
    }

    /// The party of a number; `name` gives the names of threads.
    pub(in crate::machine) fn party(&self, number: u32, name: impl Fn(Tid) -> String) -> Party {
        match self.parties.get(&number).map(|(party, _)| party) {
            Some(Party::Thread { tgid, tid, .. }) => {
                Party::Thread { tgid: *tgid, tid: *tid, comm: name(*tid) }
            }
            Some(other) => other.clone(),
            None => Party::Unknown,
        }
    }

    /// The pairs of parties, costliest first, and the time of those that are not listed.
    #[must_use]
    pub fn finish(&self, name: impl Fn(Tid) -> String) -> (Vec<Edge>, u64) {
        let (listed, rest_ns) = costliest(&self.sums);
        let edges = listed.into_iter().map(|((waiter, holder), sum)| Edge {
            waiter: self.party(waiter, &name),
            holder: self.party(holder, &name),
            total_ns: sum.wait_ns,
            waits: sum.waits,
            not_honoured_ns: sum.not_honoured_ns,
        });
        (edges.collect(), rest_ns)
    }

    /// The pairs of threads, costliest first, and the time of those that are not listed.
    #[must_use]
    pub fn finish_threads(&self, name: impl Fn(Tid) -> String) -> (Vec<ThreadEdge>, u64) {
        let (listed, rest_ns) = costliest(&self.threads);
        let named = |tid: Tid| (tid, if tid == 0 { String::new() } else { name(tid) });
        let edges = listed.into_iter().map(|((tgid, waiter, holder), sum)| ThreadEdge {
            tgid,
            waiter: named(waiter),
            holder: named(holder),
            total_ns: sum.wait_ns,
            waits: sum.waits,
        });
        (edges.collect(), rest_ns)
    }
}

/// The pairs that are listed, costliest first, and the time of the others.
fn costliest<K: Copy + Ord>(sums: &FxHashMap<K, Sum>) -> (Vec<(K, Sum)>, u64) {
    let mut all: Vec<(K, Sum)> = sums.iter().map(|(pair, sum)| (*pair, *sum)).collect();
    all.sort_unstable_by_key(|(pair, sum)| (std::cmp::Reverse(sum.wait_ns), *pair));
    let rest_ns = cut(&mut all, MAX_LISTED, |(_, sum)| sum.wait_ns);
    (all, rest_ns)
}

/// Makes the holders of a request add up to its wait. The missing rest goes to an unknown holder.
pub fn complete(holders: &mut Vec<Holder>, gil_wait_ns: u64) {
    let known_ns = holders.iter().fold(0u64, |sum, holder| sum.saturating_add(holder.wait_ns));
    if known_ns > gil_wait_ns {
        // A part of the request was cut off; whose it was is not known.
        holders.clear();
    }
    let known_ns = if holders.is_empty() { 0 } else { known_ns };
    holders.sort_by_key(|holder| (std::cmp::Reverse(holder.wait_ns), holder.tid));
    if gil_wait_ns > known_ns {
        holders.push(Holder { party: Party::Unknown, tid: 0, wait_ns: gil_wait_ns - known_ns });
    }
}
