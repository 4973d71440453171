//! Who made whom wait for the interpreter lock.
//!
//! In: shares of waits, each with its holder (`gil_attribution`). Out: sums by waiter and holder, by
//! contender and by thread. A contender is the endpoint that a thread serves just then, or the thread itself
//! while it serves none.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::lock::gil_held::Share;
use crate::machine::lock::gil_stack::cut;
use crate::model::gil::{Contender, Edge, Holder, ThreadEdge};

/// Contenders distinguished; further ones count as unknown.
const MAX_CONTENDERS: usize = 2048;
/// Windows after which an unused contender is forgotten: longer than requests last.
const KEPT_WINDOWS: u32 = 3;
/// Pairs distinguished.
const MAX_PAIRS: usize = 8192;
/// Pairs that the report lists.
const MAX_LISTED: usize = 50;

/// Number of the unknown contender.
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
    /// By number: the contender, and the window in which it was last used.
    contenders: FxHashMap<u32, (Contender, u32)>,
    numbers: FxHashMap<Contender, u32>,
    last_number: u32,
    window: u32,
    sums: FxHashMap<(u32, u32), Sum>,
    /// By process, waiter and holder.
    threads: FxHashMap<(Tid, Tid, Tid), Sum>,
}

impl Edges {
    pub(in crate::machine) fn number(&mut self, contender: Contender) -> u32 {
        if contender == Contender::Unknown {
            return UNKNOWN;
        }
        if let Some(number) = self.numbers.get(&contender).copied() {
            self.use_again(number);
            return number;
        }
        if self.contenders.len() >= MAX_CONTENDERS || self.last_number == u32::MAX {
            return UNKNOWN;
        }
        self.last_number += 1;
        self.contenders.insert(self.last_number, (contender.clone(), self.window));
        self.numbers.insert(contender, self.last_number);
        self.last_number
    }

    pub(in crate::machine) fn use_again(&mut self, number: u32) {
        if let Some((_, window)) = self.contenders.get_mut(&number) {
            *window = self.window;
        }
    }

    /// The next window begins: sums start at zero. Requests in flight know contenders by their numbers, which
    /// stay.
    pub fn roll(&mut self) {
        self.window = self.window.wrapping_add(1);
        let window = self.window;
        self.contenders.retain(|_, (_, last)| window.wrapping_sub(*last) <= KEPT_WINDOWS);
        let contenders = &self.contenders;
        self.numbers.retain(|_, number| contenders.contains_key(number));
        self.sums.clear();
        self.threads.clear();
    }

    pub(in crate::machine) fn add(&mut self, waiter: u32, (tgid, tid): (Tid, Tid), share: &Share) {
        let pair = (waiter, share.by.contender);
        let full = self.sums.len() >= MAX_PAIRS && !self.sums.contains_key(&pair);
        self.sums.entry(if full { (UNKNOWN, UNKNOWN) } else { pair }).or_default().add(share);
        let pair = (tgid, tid, share.by.tid);
        let full = self.threads.len() >= MAX_PAIRS && !self.threads.contains_key(&pair);
        self.threads.entry(if full { (0, 0, 0) } else { pair }).or_default().add(share);
    }

    /// The contender of a number; `name` gives the names of threads.
    pub(in crate::machine) fn contender(&self, number: u32, name: impl Fn(Tid) -> String) -> Contender {
        match self.contenders.get(&number).map(|(contender, _)| contender) {
            Some(Contender::Thread { tgid, tid, .. }) => {
                Contender::Thread { tgid: *tgid, tid: *tid, comm: name(*tid) }
            }
            Some(other) => other.clone(),
            None => Contender::Unknown,
        }
    }

    /// The pairs of contenders, costliest first, and the time of those that are not listed.
    pub fn finish(&self, name: impl Fn(Tid) -> String) -> (Vec<Edge>, u64) {
        let (listed, rest_ns) = costliest(&self.sums);
        let edges = listed.into_iter().map(|((waiter, holder), sum)| Edge {
            waiter: self.contender(waiter, &name),
            holder: self.contender(holder, &name),
            total_ns: sum.wait_ns,
            waits: sum.waits,
            not_honoured_ns: sum.not_honoured_ns,
        });
        (edges.collect(), rest_ns)
    }

    /// The pairs of threads, costliest first, and the time of those that are not listed.
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
        holders.push(Holder { contender: Contender::Unknown, tid: 0, wait_ns: gil_wait_ns - known_ns });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::lock::gil_holder::HeldBy;

    fn endpoint(name: &str) -> Contender {
        Contender::Endpoint(name.to_owned())
    }

    fn share(contender: u32, tid: Tid, wait_ns: u64) -> Share {
        Share { by: HeldBy { contender, tid }, wait_ns, waits: 1, not_honoured_ns: 2 }
    }

    fn name(tid: Tid) -> String {
        format!("thread {tid}")
    }

    #[test]
    fn each_party_has_a_number_of_its_own_and_the_unknown_one_has_that_of_nobody_else() {
        let mut edges = Edges::default();
        let thread = Contender::Thread { tgid: 1, tid: 5, comm: String::new() };
        for (contender, number) in [
            (endpoint("GET /a"), 1),
            (endpoint("GET /b"), 2),
            (thread.clone(), 3),
            (endpoint("GET /a"), 1),
            (Contender::Unknown, UNKNOWN),
            (thread, 3),
        ] {
            assert_eq!(edges.number(contender.clone()), number, "{contender:?}");
        }
        let named = Contender::Thread { tgid: 1, tid: 5, comm: "thread 5".to_owned() };
        let told = [1, 3, UNKNOWN, 9].map(|number| edges.contender(number, name));
        assert_eq!(told, [endpoint("GET /a"), named, Contender::Unknown, Contender::Unknown]);
    }

    #[test]
    fn a_party_is_forgotten_once_nobody_has_used_it_for_some_windows_and_its_number_is_not_given_again() {
        let mut edges = Edges::default();
        let (unused, used) = (edges.number(endpoint("unused")), edges.number(endpoint("used")));
        for window in 1..=KEPT_WINDOWS + 1 {
            assert_eq!(edges.contender(unused, name), endpoint("unused"), "{window}");
            edges.roll();
            edges.use_again(used);
        }
        assert_eq!(
            (edges.contender(unused, name), edges.contender(used, name)),
            (Contender::Unknown, endpoint("used"))
        );
        assert_eq!((edges.number(endpoint("used")), edges.number(endpoint("unused"))), (used, 3));
    }

    #[test]
    fn beyond_the_bound_a_party_is_unknown_and_those_that_are_known_stay() {
        let mut edges = Edges::default();
        for number in 1..=MAX_CONTENDERS {
            assert_eq!(edges.number(endpoint(&number.to_string())) as usize, number);
        }
        assert_eq!((edges.number(endpoint("more")), edges.number(endpoint("7"))), (UNKNOWN, 7));
    }

    #[test]
    fn waits_are_summed_by_waiter_and_holder_in_that_order() {
        let mut edges = Edges::default();
        let [first, second] = ["first", "second"].map(|one| edges.number(endpoint(one)));
        edges.add(first, (1, 10), &share(second, 20, 30));
        edges.add(first, (1, 10), &share(second, 20, 40));
        edges.add(second, (1, 20), &share(first, 10, 50));
        edges.add(second, (1, 20), &share(UNKNOWN, 0, 50));
        let (listed, rest_ns) = edges.finish(name);
        let told: Vec<_> =
            listed.into_iter().map(|edge| (edge.waiter, edge.holder, edge.total_ns, edge.waits)).collect();
        let (first, second) = (endpoint("first"), endpoint("second"));
        let expected = [
            (first.clone(), second.clone(), 70, 2),
            (second.clone(), Contender::Unknown, 50, 1),
            (second, first, 50, 1),
        ];
        assert_eq!((told.as_slice(), rest_ns), (&expected[..], 0));
        let (listed, _) = edges.finish_threads(name);
        let told: Vec<_> =
            listed.iter().map(|edge| (edge.waiter.0, edge.holder.1.as_str(), edge.total_ns)).collect();
        assert_eq!(told, [(10, "thread 20", 70), (20, "", 50), (20, "thread 10", 50)]);
        edges.roll();
        assert!(edges.finish(name).0.is_empty() && edges.finish_threads(name).0.is_empty());
    }

    #[test]
    fn the_costliest_are_listed_and_what_the_others_cost_is_said() {
        let mut edges = Edges::default();
        let count = MAX_LISTED as u64 + 2;
        (1..=count).for_each(|tid| edges.add(1, (1, 1), &share(2, tid as Tid, tid)));
        let (threads, rest_ns) = edges.finish_threads(name);
        assert_eq!((threads.len(), threads[0].total_ns, rest_ns), (MAX_LISTED, count, 1 + 2));
    }

    #[test]
    fn pairs_beyond_the_bound_count_for_unknown_ones_and_nothing_is_lost() {
        let mut edges = Edges::default();
        let pairs = u32::try_from(MAX_PAIRS).unwrap();
        (1..=pairs + 3).for_each(|number| edges.add(number, (1, number), &share(1, 1, 10)));
        edges.add(1, (1, 1), &share(1, 1, 5));
        let told = |sum: Option<&Sum>| sum.map(|sum| (sum.wait_ns, sum.waits, sum.not_honoured_ns));
        assert_eq!(told(edges.sums.get(&(UNKNOWN, UNKNOWN))), Some((30, 3, 6)));
        assert_eq!(told(edges.sums.get(&(1, 1))), Some((15, 2, 4)), "what is known still counts for itself");
        assert_eq!(told(edges.threads.get(&(0, 0, 0))), Some((30, 3, 6)));
    }

    #[test]
    fn holders_of_a_request_add_up_to_its_wait() {
        for (what, known, wait_ns, expected) in [
            ("it did not wait", &[][..], 0, &[][..]),
            ("nobody is known", &[], 10, &[(0, 10)]),
            ("a part is known", &[(1, 4)], 10, &[(1, 4), (0, 6)]),
            ("all is known, the longest comes first", &[(1, 4), (2, 6)], 10, &[(2, 6), (1, 4)]),
            ("of equals the lower number", &[(2, 5), (1, 5)], 10, &[(1, 5), (2, 5)]),
            ("the unknown rest comes last", &[(1, 1)], 10, &[(1, 1), (0, 9)]),
            ("more is known than it waited", &[(1, 4), (2, 7)], 10, &[(0, 10)]),
            ("the same of a request without a wait", &[(1, 4)], 0, &[]),
        ] {
            let holder = |(tid, wait_ns): &(u32, u64)| Holder {
                contender: endpoint("a"),
                tid: *tid,
                wait_ns: *wait_ns,
            };
            let mut holders: Vec<Holder> = known.iter().map(holder).collect();
            complete(&mut holders, wait_ns);
            let told: Vec<_> = holders.iter().map(|holder| (holder.tid, holder.wait_ns)).collect();
            assert_eq!(told, expected, "{what}");
            let is_right = |holder: &Holder| (holder.tid == 0) == (holder.contender == Contender::Unknown);
            assert!(holders.iter().all(is_right), "{what}");
        }
    }
}
