//! What would not have been waited without a leaf: the same requests once more, through the same lines.
//!
//! In: when each request came, how long it was served, and how much of that it was at which leaf. Out:
//! request time that would not have been, for each leaf or set of leaves, and with more servers.
//!
//! A line is first come, first served, before as many servers as its processes have slots (Kiefer and
//! Wolfowitz, 1955; of one server Lindley, 1952). Where none is known, or its requests would have waited far
//! longer than they did, it has as many as were seen to serve at once. What holds a slot beside requests is
//! in no line: without it at least the time that was held would not have been.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::Tid;
use crate::model::chain::Leaf;
use crate::model::more_slots::MoreSlots;

/// Requests that are replayed. With one more, nothing is.
const MAX_JOBS: usize = 32_768;
/// Times at leaves that are kept of them.
const MAX_CUTS: usize = 131_072;
/// Numbers of slots that are tried.
const MAX_TRIES: usize = 24;
/// Each tried number is so much larger than the one before, or by one slot for each line.
const STEP: usize = 8;
/// So many requests at once for no more than such a part of the time in which any is served are none: a
/// hundredth. Nor is as short a wait one.
const MOMENT_PART: u64 = 100;
/// So many times as long as requests waited is far longer.
const FAR_LONGER: u64 = 2;
/// From this part on what a number prevents is all of it, in hundredths.
const ALL_HUNDREDTHS: u64 = 99;

/// A request in its line.
#[derive(Clone, Copy, Debug)]
struct Job {
    tgid: Tid,
    /// The number of its line, as it is replayed.
    line: usize,
    arrival_ns: u64,
    /// How long it waited to be served.
    waited_ns: u64,
    service_ns: u64,
    /// Where its times at leaves stand.
    cuts: (u32, u32),
}

/// The requests of a window.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Lines {
    jobs: Vec<Job>,
    cuts: Vec<(Leaf, u64)>,
    is_full: bool,
}

/// Where a process takes its requests from, and how many it can serve at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineOf {
    /// What distinguishes the line.
    pub line: u64,
    /// Slots of this process; 0: not known.
    pub slots: usize,
}

/// What a replay came to: request time that would not have been, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Without each set of leaves.
    pub each_ns: Vec<u64>,
    /// Without all of them.
    pub together_ns: u64,
    /// With more slots.
    pub more_slots: MoreSlots,
}

impl Lines {
    /// A request: its process, when it came, how long it waited and was served, and how long of the latter at
    /// which leaf.
    #[inline]
    pub(super) fn add(
        &mut self,
        tgid: Tid,
        arrival_ns: u64,
        (waited_ns, service_ns): (u64, u64),
        at: impl Iterator<Item = (Leaf, u64)>,
    ) {
        if self.jobs.len() >= MAX_JOBS || self.cuts.len() >= MAX_CUTS {
            self.is_full = true;
            return;
        }
        let first = self.cuts.len();
        self.cuts.extend(at);
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let cuts = (place(first), place(self.cuts.len()));
        self.jobs.push(Job { tgid, line: 0, arrival_ns, waited_ns, service_ns, cuts });
    }

    /// Plays them once more. `None`: there were too many.
    pub(super) fn replayed(
        mut self,
        sets: &[BTreeSet<Leaf>],
        line_of: impl Fn(Tid) -> LineOf,
    ) -> Option<Replayed> {
        if self.is_full {
            return None;
        }
        self.jobs.sort_by_key(|job| job.arrival_ns);
        let servers = self.queue_up(line_of);
        let (each_ns, together_ns) = self.without(sets, &servers);
        Some(Replayed { each_ns, together_ns, more_slots: self.more_slots(&servers) })
    }

    /// Request time that would not have been without each of these sets of leaves, and without all of them.
    fn without(&self, sets: &[BTreeSet<Leaf>], servers: &[usize]) -> (Vec<u64>, u64) {
        // Where no request was served at a leaf, nothing differs without it.
        let met: FxHashSet<Leaf> = self.cuts.iter().map(|(leaf, _)| *leaf).collect();
        let asked: BTreeSet<Leaf> =
            sets.iter().flatten().copied().filter(|leaf| met.contains(leaf)).collect();
        if asked.is_empty() {
            return (vec![0; sets.len()], 0);
        }
        let number_of: FxHashMap<Leaf, usize> = asked.iter().copied().zip(0..).collect();
        let of_cut = |(leaf, ns): &(Leaf, u64)| (number_of.get(leaf).copied(), *ns);
        let cuts: Vec<Cut> = self.cuts.iter().map(of_cut).collect();
        let all_ns = self.time_ns(&cuts, servers, &[]);
        let mut known: FxHashMap<Vec<bool>, u64> = FxHashMap::default();
        let mut saved_ns = |set: &BTreeSet<Leaf>| {
            let without: Vec<bool> = asked.iter().map(|leaf| set.contains(leaf)).collect();
            if !without.contains(&true) {
                return 0;
            }
            if let Some(saved_ns) = known.get(&without) {
                return *saved_ns;
            }
            let saved_ns = all_ns.saturating_sub(self.time_ns(&cuts, servers, &without));
            known.insert(without, saved_ns);
            saved_ns
        };
        let each = sets.iter().map(&mut saved_ns).collect();
        (each, saved_ns(&asked))
    }

    /// Gives each request its line. Returns how many servers each line has.
    fn queue_up(&mut self, line_of: impl Fn(Tid) -> LineOf) -> Vec<usize> {
        let mut numbers: FxHashMap<u64, usize> = FxHashMap::default();
        let mut of_process: FxHashMap<Tid, usize> = FxHashMap::default();
        let mut servers: Vec<usize> = Vec::new();
        for job in &mut self.jobs {
            job.line = *of_process.entry(job.tgid).or_insert_with(|| {
                let LineOf { line, slots } = line_of(job.tgid);
                let number = *numbers.entry(line).or_insert(servers.len());
                servers.resize(servers.len().max(number + 1), 0);
                servers.get_mut(number).into_iter().for_each(|count| *count += slots);
                number
            });
        }
        let is_true = self.is_true(&servers);
        if is_true.iter().all(|is_true| *is_true) {
            return servers;
        }
        let seen = self.served_at_once(servers.len());
        let of_line = |((count, seen), is_true): ((&usize, usize), bool)| {
            if is_true { *count } else { seen.max(*count).max(1) }
        };
        servers.iter().zip(seen).zip(is_true).map(of_line).collect()
    }

    /// Whether the requests of each line waited as they would have before so many servers, and no less.
    fn is_true(&self, servers: &[usize]) -> Vec<bool> {
        let mut sums: Vec<(u64, u64, u64)> = vec![(0, 0, 0); servers.len()];
        self.play(&[], servers, &[], |job, end_ns| {
            let Some((replayed_ns, waited_ns, service_ns)) = sums.get_mut(job.line) else { return };
            let wait_ns = end_ns.saturating_sub(job.arrival_ns).saturating_sub(job.service_ns);
            *replayed_ns = replayed_ns.saturating_add(wait_ns);
            *waited_ns = waited_ns.saturating_add(job.waited_ns);
            *service_ns = service_ns.saturating_add(job.service_ns);
        });
        let is_true = |(count, (replayed_ns, waited_ns, service_ns)): (&usize, (u64, u64, u64))| {
            let is_longer = replayed_ns / FAR_LONGER > waited_ns && replayed_ns > service_ns / MOMENT_PART;
            *count > 0 && !is_longer
        };
        servers.iter().zip(sums).map(is_true).collect()
    }

    /// How many requests of each line were served at once, for more than a moment.
    fn served_at_once(&self, lines: usize) -> Vec<usize> {
        let mut length_ns: Vec<Vec<u64>> = vec![Vec::new(); lines];
        let served = self.jobs.iter().map(|job| {
            let from_ns = job.arrival_ns.saturating_add(job.waited_ns);
            (job.line, from_ns, from_ns.saturating_add(job.service_ns))
        });
        sweep(served, lines, |line, number, ns| {
            let Some(of_line) = length_ns.get_mut(line) else { return };
            of_line.resize(of_line.len().max(number + 1), 0);
            of_line.get_mut(number).into_iter().for_each(|sum| *sum = sum.saturating_add(ns));
        });
        let most = |of_line: &Vec<u64>| {
            let any_ns = of_line.iter().skip(1).fold(0, |sum: u64, ns| sum.saturating_add(*ns));
            let mut so_many_ns = 0_u64;
            let at_least = of_line.iter().enumerate().rev().find(|(_, ns)| {
                so_many_ns = so_many_ns.saturating_add(**ns);
                so_many_ns > any_ns / MOMENT_PART
            });
            at_least.map_or(0, |(number, _)| number)
        };
        length_ns.iter().map(most).collect()
    }

    /// What more servers prevent. Of requests that come whenever they come it is what the replay says. Of
    /// those that come once others have been answered, as many are there as were. It is the less of both.
    fn more_slots(&self, servers: &[usize]) -> MoreSlots {
        let mut ends: Vec<u64> = Vec::with_capacity(self.jobs.len());
        self.play(&[], servers, &[], |_, end_ns| ends.push(end_ns));
        let waiting = self.waiting(&ends, servers);
        let waited_ns = waiting.iter().fold(0_u64, |sum, line| sum.saturating_add(line.sum_ns));
        let all = servers.iter().sum::<usize>();
        if waited_ns == 0 {
            return MoreSlots::default();
        }
        let all_ns = self.time_ns(&[], servers, &[]);
        let lines = servers.len().max(1);
        let mut more = MoreSlots { slots: all as u64, waited_ns, with: Vec::new() };
        let (mut tried, mut last) = (all, servers.to_vec());
        for _ in 0..MAX_TRIES {
            tried += (tried / STEP / lines * lines).max(lines);
            let then: Vec<usize> = servers.iter().map(|count| count * tried / all.max(1)).collect();
            if then == last {
                continue;
            }
            let open_ns = all_ns.saturating_sub(self.time_ns(&[], &then, &[]));
            let more_of = then.iter().zip(servers).map(|(then, now)| then - now);
            let less_ns = waiting.iter().zip(more_of).map(|(line, more)| line.less_ns(more));
            let closed_ns = less_ns.fold(0, u64::saturating_add);
            let prevented_ns = open_ns.min(closed_ns);
            more.with.push((tried as u64, prevented_ns));
            if prevented_ns >= waited_ns / 100 * ALL_HUNDREDTHS {
                break;
            }
            last = then;
        }
        more
    }

    /// Of each line: how its requests waited. `ends`: when each was over.
    fn waiting(&self, ends: &[u64], servers: &[usize]) -> Vec<Waiting> {
        let there = self.jobs.iter().zip(ends).map(|(job, end_ns)| (job.line, job.arrival_ns, *end_ns));
        let mut waiting: Vec<Waiting> = vec![Waiting::default(); servers.len()];
        sweep(there, servers.len(), |line, number, length_ns| {
            let (Some(waiting), Some(servers)) = (waiting.get_mut(line), servers.get(line)) else { return };
            let beyond = number.saturating_sub(*servers) as u64;
            waiting.sum_ns = waiting.sum_ns.saturating_add(length_ns.saturating_mul(beyond));
            waiting.any_ns += if beyond > 0 { length_ns } else { 0 };
        });
        waiting
    }

    /// Time that all requests take together, if they are not at these leaves.
    fn time_ns(&self, cuts: &[Cut], servers: &[usize], without: &[bool]) -> u64 {
        let mut sum_ns = 0_u64;
        self.play(cuts, servers, without, |job, end_ns| {
            sum_ns = sum_ns.saturating_add(end_ns.saturating_sub(job.arrival_ns));
        });
        sum_ns
    }

    /// Serves all of them, if they are not at these leaves; tells when each is over.
    fn play(&self, cuts: &[Cut], servers: &[usize], without: &[bool], mut over: impl FnMut(&Job, u64)) {
        let mut free: Vec<BinaryHeap<Reverse<u64>>> =
            servers.iter().map(|count| std::iter::repeat_n(Reverse(0), (*count).max(1)).collect()).collect();
        for job in &self.jobs {
            let Some(mut free) = free.get_mut(job.line).and_then(BinaryHeap::peek_mut) else { continue };
            let cuts = cuts.get(job.cuts.0 as usize..job.cuts.1 as usize).unwrap_or_default();
            let end_ns = free.0.max(job.arrival_ns).saturating_add(job.service_ns(cuts, without));
            *free = Reverse(end_ns);
            over(job, end_ns);
        }
    }
}

/// Tells of intervals of so many lines how many lie over one another, and for how long: a line, a number, a
/// length. One that ends as another begins does not lie over it.
fn sweep(
    intervals: impl Iterator<Item = (usize, u64, u64)>,
    lines: usize,
    mut each: impl FnMut(usize, usize, u64),
) {
    let intervals = intervals.filter(|(_, from_ns, until_ns)| from_ns < until_ns);
    let changes =
        intervals.flat_map(|(line, from_ns, until_ns)| [(from_ns, true, line), (until_ns, false, line)]);
    let mut changes: Vec<(u64, bool, usize)> = changes.collect();
    changes.sort_unstable();
    let mut present: Vec<(usize, u64)> = vec![(0, 0); lines];
    for (at_ns, begins, line) in changes {
        let Some((number, since_ns)) = present.get_mut(line) else { continue };
        each(line, *number, at_ns - *since_ns);
        *number = if begins { *number + 1 } else { number.saturating_sub(1) };
        *since_ns = at_ns;
    }
}

/// How requests of a line waited.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// All of them, in nanoseconds.
    sum_ns: u64,
    /// Time in which any did.
    any_ns: u64,
}

impl Waiting {
    /// What so many more servers prevent if as many ask at any moment as did, in the mean.
    fn less_ns(self, more: usize) -> u64 {
        self.any_ns.saturating_mul(more as u64).min(self.sum_ns)
    }
}

/// Time at a leaf: its number among those asked for (`None`: it is none of them), and how long.
type Cut = (Option<usize>, u64);

impl Job {
    /// How long it is served, if it is not at these leaves.
    fn service_ns(&self, cuts: &[Cut], without: &[bool]) -> u64 {
        let is_cut = |leaf: Option<usize>| leaf.and_then(|number| without.get(number)) == Some(&true);
        let cut_ns =
            cuts.iter().filter(|(leaf, _)| is_cut(*leaf)).fold(0_u64, |sum, (_, ns)| sum.saturating_add(*ns));
        self.service_ns.saturating_sub(cut_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chain::LeafKind;

    const FILE: Leaf = Leaf::of(LeafKind::File);
    const SLEEP: Leaf = Leaf::of(LeafKind::Sleep);
    const MS: u64 = 1_000_000;
    /// A request of which it was not seen when it was served.
    const NOT_SEEN: u64 = u64::MAX;

    fn without(
        lines: Lines,
        sets: &[BTreeSet<Leaf>],
        line_of: impl Fn(Tid) -> LineOf,
    ) -> Option<(Vec<u64>, u64)> {
        lines.replayed(sets, line_of).map(|replayed| (replayed.each_ns, replayed.together_ns))
    }

    fn prevented(lines: Lines, slots: usize) -> Option<(Vec<u64>, u64)> {
        without(lines, &[[FILE].into(), [SLEEP].into()], |_| LineOf { line: 1, slots })
    }

    #[test]
    fn a_stall_of_one_costs_all_that_come_behind_it() {
        // One each 10 ms, served for 7 ms; the tenth stalls for 1.5 s.
        let mut lines = Lines::default();
        for index in 0..200 {
            let stall_ns = if index == 10 { 1_500 * MS } else { 0 };
            let at = (stall_ns > 0).then_some((FILE, stall_ns));
            lines.add(1, index * 10 * MS, (NOT_SEEN, 7 * MS + stall_ns), at.into_iter());
        }
        let all_ns = lines.time_ns(&[], &[1], &[]);
        let (each, together) = prevented(lines, 1).unwrap();
        assert_eq!(each, [all_ns - 200 * 7 * MS, 0]);
        assert_eq!(together, each[0]);
        assert!(each[0] > 50 * 1_500 * MS, "fifty times what it held: {}", each[0]);
    }

    #[test]
    fn one_of_four_servers_that_hangs_holds_little_and_prevents_much() {
        // At 97 % of four servers; the first request never ends.
        let mut lines = Lines::default();
        lines.add(1, 0, (NOT_SEEN, 10_000 * MS), std::iter::once((FILE, 10_000 * MS)));
        for index in 0..1000 {
            lines.add(1, index * 10 * MS, (NOT_SEEN, 38 * MS), std::iter::empty());
        }
        let (each, _) = prevented(lines, 4).unwrap();
        assert!(each[0] > 100 * 10_000 * MS, "{}", each[0]);
    }

    #[test]
    fn without_a_line_nothing_more_than_what_was_held_is_prevented_and_together_is_one_replay() {
        let mut lines = Lines::default();
        for index in 0..10 {
            let at = [(FILE, 3 * MS), (SLEEP, 4 * MS)];
            lines.add(1, index * 100 * MS, (NOT_SEEN, 10 * MS), at.into_iter());
        }
        assert_eq!(prevented(lines, 1), Some((vec![30 * MS, 40 * MS], 70 * MS)));
    }

    #[test]
    fn a_line_whose_slots_are_not_known_has_as_many_as_served_at_once_for_more_than_a_moment() {
        // Two at a time, each for 100 ms; one in ten lies over two others for as long.
        let of = |over_ns: u64| {
            let mut lines = Lines::default();
            for index in 0..20 {
                lines.add(1, index * 50 * MS, (0, 100 * MS), std::iter::once((FILE, 50 * MS)));
            }
            lines.add(1, 20 * MS, (0, over_ns), std::iter::empty());
            lines.jobs.sort_by_key(|job| job.arrival_ns);
            // Whether none is known, or one that cannot have been all.
            let [none, one] = [0, 1].map(|slots| lines.queue_up(|_| LineOf { line: 1, slots }));
            assert_eq!(none, one);
            let (each, _) = lines.without(&[[FILE].into()], &one);
            (one, each[0] / MS)
        };
        assert_eq!(of(MS), (vec![2], 20 * 50), "nobody waits");
        assert_eq!(of(200 * MS), (vec![3], 20 * 50));
    }

    #[test]
    fn a_line_whose_requests_waited_as_replayed_has_the_servers_that_are_known() {
        // Each comes while the one before it is served.
        let mut lines = Lines::default();
        for index in 0..20 {
            lines.add(1, index * 50 * MS, (index * 50 * MS, 100 * MS), std::iter::empty());
        }
        assert_eq!(lines.queue_up(|_| LineOf { line: 1, slots: 1 }), [1]);
    }

    #[test]
    fn leaves_that_are_one_cause_prevent_together_what_neither_does_alone() {
        let mut lines = Lines::default();
        lines.add(1, 0, (NOT_SEEN, 20 * MS), [(FILE, 10 * MS), (SLEEP, 10 * MS)].into_iter());
        lines.add(1, 5 * MS, (NOT_SEEN, MS), std::iter::empty());
        let both: BTreeSet<Leaf> = [FILE, SLEEP].into();
        let (each, together) =
            without(lines, &[[FILE].into(), both], |_| LineOf { line: 1, slots: 1 }).unwrap();
        assert_eq!(each, [20 * MS, 35 * MS], "the second waits 15 ms of these");
        assert_eq!(together, each[1]);
    }

    #[test]
    fn lines_of_processes_are_apart_or_one() {
        let stalled = || {
            let mut lines = Lines::default();
            lines.add(1, 0, (NOT_SEEN, 10 * MS), std::iter::once((FILE, 10 * MS)));
            lines.add(2, MS, (NOT_SEEN, MS), std::iter::empty());
            lines.add(1, MS, (NOT_SEEN, MS), std::iter::empty());
            lines
        };
        let apart = without(stalled(), &[[FILE].into()], |tgid| LineOf { line: tgid.into(), slots: 1 });
        assert_eq!(apart, Some((vec![19 * MS], 19 * MS)), "the second of the first process waits");
        let one = without(stalled(), &[[FILE].into()], |_| LineOf { line: 0, slots: 1 });
        assert_eq!(one, Some((vec![11 * MS], 11 * MS)), "the other server takes both, one after the other");
    }

    fn more_slots(lines: Lines, line_of: impl Fn(Tid) -> LineOf) -> MoreSlots {
        lines.replayed(&[], line_of).unwrap().more_slots
    }

    /// The smallest number that prevents nearly all of it.
    fn enough(more: &MoreSlots) -> u64 {
        more.with.iter().find(|(_, ns)| *ns >= more.waited_ns / 100 * 95).map_or(0, |(slots, _)| *slots)
    }

    #[test]
    fn clients_that_ask_again_at_once_need_as_many_slots_as_they_are() {
        let mut busy = Lines::default();
        for number in 0..400 {
            busy.add(1, number * 100 * MS / 8, (NOT_SEEN, 100 * MS), std::iter::empty());
        }
        assert_eq!(more_slots(busy, |_| LineOf { line: 1, slots: 8 }), MoreSlots::default(), "nobody waits");
        // Sixteen clients before eight slots, of 100 ms each: each waits for 100 ms.
        let mut crowd = Lines::default();
        for round in 0..50 {
            (0..8).for_each(|_| crowd.add(1, round * 100 * MS, (NOT_SEEN, 100 * MS), std::iter::empty()));
        }
        (0..8).for_each(|_| crowd.add(1, 0, (NOT_SEEN, 100 * MS), std::iter::empty()));
        let more = more_slots(crowd, |_| LineOf { line: 1, slots: 8 });
        // Those that were there from the beginning stand in line for all of it.
        assert_eq!((more.slots, more.waited_ns), (8, 50 * 8 * 100 * MS));
        assert_eq!(enough(&more), 16, "{more:?}");
        assert_eq!(more.prevented_ns(8, 8), Some(0));
    }

    #[test]
    fn a_burst_needs_as_many_slots_as_it_is_large_and_no_number_prevents_more_than_was_waited() {
        let mut lines = Lines::default();
        for burst in 0..20 {
            (0..4).for_each(|_| lines.add(1, burst * 1000 * MS, (NOT_SEEN, 100 * MS), std::iter::empty()));
        }
        let more = more_slots(lines, |_| LineOf { line: 1, slots: 1 });
        assert_eq!(more.waited_ns, 20 * (100 + 200 + 300) * MS);
        let prevented: Vec<u64> = (1..=4).map(|slots| more.prevented_ns(1, slots).unwrap() / MS).collect();
        assert_eq!(prevented, [0, 20 * 300, 20 * 500, 20 * 600]);
        assert_eq!(more.most_ns(), more.waited_ns);
    }

    #[test]
    fn lines_of_their_own_get_slots_of_their_own() {
        let mut lines = Lines::default();
        for burst in 0..20 {
            (0..2).for_each(|_| lines.add(1, burst * 1000 * MS, (NOT_SEEN, 100 * MS), std::iter::empty()));
            lines.add(2, burst * 1000 * MS, (NOT_SEEN, 100 * MS), std::iter::empty());
        }
        let more = more_slots(lines, |tgid| LineOf { line: tgid.into(), slots: 1 });
        assert_eq!((more.slots, more.waited_ns), (2, 2000 * MS));
        assert_eq!(
            more.prevented_ns(2, 3),
            Some(0),
            "one of them would have one more, and which is not known"
        );
        assert_eq!(more.prevented_ns(2, 4), Some(2000 * MS));
    }

    #[test]
    fn of_more_requests_than_are_kept_nothing_is_said() {
        let mut lines = Lines::default();
        for index in 0..=MAX_JOBS as u64 {
            lines.add(1, index, (NOT_SEEN, 1), std::iter::empty());
        }
        assert_eq!(prevented(lines, 1), None);
    }
}
