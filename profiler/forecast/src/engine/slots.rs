//! Which slot serves which request: queues, free slots and the rule between them.
//!
//! In: requests that arrive or are handed over, slots that get free. Out: pairs of both.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::setting::{Dispatch, Setting, Wakes};

/// So many connections of so many one of two uWSGI processes with threads takes, if both have a free one. In
/// four recordings it was 80 to 94 % of those that found the server empty, and 61 to 85 % of those that found
/// one request there. With three and four processes no such order shows.
const FIRST_OF: (usize, usize) = (4, 5);

/// A queue of requests and the free slots that serve it: one for the server, or one for each process.
#[derive(Clone, Debug, Default)]
struct Pool {
    queue: VecDeque<usize>,
    /// In the order in which they got free.
    free: VecDeque<usize>,
}

/// All queues.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    pools: Vec<Pool>,
    /// By slot: its process and its pool.
    places: Vec<(usize, usize)>,
    /// Processes of the first server; those after them are of the second.
    first: usize,
    processes: usize,
    wakes: Wakes,
    /// There are two processes, with several threads each.
    is_pair: bool,
    /// By process: since when it waits for connections, as a number that grows.
    waiting_since: Vec<u64>,
    turns: u64,
    /// The process that accepted a kept connection, by server.
    accepted_by: HashMap<(u64, bool), usize>,
}

impl Slots {
    pub(super) fn new(setting: &Setting) -> Self {
        let (is_shared, wakes) = match &setting.dispatch {
            Dispatch::Shared(wakes) => (true, *wakes),
            // Threads of one pool are alike.
            Dispatch::ByProcess(_) => (false, Wakes::LongestFree),
        };
        let first = setting.processes as usize;
        let own = setting.own.as_ref().map_or((0, 0), |own| (own.processes as usize, own.threads as usize));
        let threads_of = |process: usize| if process < first { setting.threads as usize } else { own.1 };
        let processes = first + own.0;
        let pool_of = |process: usize| if is_shared { usize::from(process >= first) } else { process };
        let places: Vec<(usize, usize)> = (0..processes)
            .flat_map(|process| (0..threads_of(process)).map(move |_| process))
            .map(|process| (process, pool_of(process)))
            .collect();
        let mut pools = vec![Pool::default(); processes.max(2)];
        for (slot, (_, pool)) in places.iter().enumerate() {
            if let Some(pool) = pools.get_mut(*pool) {
                pool.free.push_back(slot);
            }
        }
        let is_pair = setting.own.is_none() && first == 2 && setting.threads > 1;
        Self {
            pools,
            places,
            first,
            processes,
            wakes,
            is_pair,
            waiting_since: vec![0; processes],
            turns: 0,
            accepted_by: HashMap::new(),
        }
    }

    /// The process that a slot is of.
    pub(super) fn process(&self, slot: usize) -> usize {
        self.places.get(slot).map_or(0, |place| place.0)
    }

    fn pool_of(&self, slot: usize) -> usize {
        self.places.get(slot).map_or(0, |place| place.1)
    }

    /// The processes of the first server, or of the second.
    pub(super) const fn of_server(&self, is_own: bool) -> Range<usize> {
        if is_own { self.first..self.processes } else { 0..self.first }
    }

    /// A request waits for a slot of this pool: the slot that takes it at once, if one is free.
    pub(super) fn arrive(
        &mut self,
        request: usize,
        pool: usize,
        random: &mut fastrand::Rng,
    ) -> Option<usize> {
        let wakes = self.wakes;
        let pool = self.pools.get_mut(pool)?;
        let process_of = |slot: usize| self.places.get(slot).map_or(0, |place| place.0);
        let slot = match wakes {
            Wakes::LongestFree => pool.free.pop_front(),
            Wakes::LastFirst => pool.free.pop_back(),
            Wakes::Random => any(&mut pool.free, (process_of, false), random),
            Wakes::FirstOfTwo => any(&mut pool.free, (process_of, self.is_pair), random),
            Wakes::InTurn => {
                let since = |slot: usize| self.waiting_since.get(process_of(slot)).copied();
                let longest = pool.free.iter().enumerate().min_by_key(|(_, slot)| since(**slot));
                longest.map(|(at, _)| at).and_then(|at| pool.free.remove(at))
            }
        };
        match slot {
            // Another of its threads waits behind all others.
            Some(slot) => self.wait_again(self.process(slot)),
            None => pool.queue.push_back(request),
        }
        slot
    }

    /// From now on a process waits for a connection.
    fn wait_again(&mut self, process: usize) {
        self.turns += 1;
        if let Some(since) = self.waiting_since.get_mut(process) {
            *since = self.turns;
        }
    }

    /// A slot has done its work: the request that it takes next, if one waits.
    pub(super) fn free(&mut self, slot: usize) -> Option<usize> {
        let at = self.pool_of(slot);
        let pool = self.pools.get_mut(at)?;
        let next = pool.queue.pop_front();
        if next.is_some() {
            return next;
        }
        let process = self.places.get(slot).map_or(0, |place| place.0);
        let is_of_it = |other: &usize| self.places.get(*other).is_some_and(|place| place.0 == process);
        let has_waited = self.wakes == Wakes::InTurn && pool.free.iter().any(is_of_it);
        pool.free.push_back(slot);
        if !has_waited {
            self.wait_again(process);
        }
        None
    }

    /// Whether a process is of the second server.
    pub(super) const fn is_own(&self, process: usize) -> bool {
        process >= self.first
    }

    /// The process that accepted this connection, if that is known.
    pub(super) fn kept_by(&self, connection: (u64, bool)) -> Option<usize> {
        self.accepted_by.get(&connection).copied()
    }

    /// A process accepted this connection: its later requests go there too.
    pub(super) fn keep(&mut self, connection: (u64, bool), process: usize) {
        self.accepted_by.insert(connection, process);
    }
}

/// A free slot of any process that has one. Of each process one thread waits for connections and the others
/// for their turn: so uWSGI's threads do, in a mutex. Only that one races with those of other processes.
fn any(
    free: &mut VecDeque<usize>,
    (process_of, is_pair): (impl Fn(usize) -> usize, bool),
    random: &mut fastrand::Rng,
) -> Option<usize> {
    let mut processes: Vec<usize> = free.iter().map(|slot| process_of(*slot)).collect();
    processes.sort_unstable();
    processes.dedup();
    let chosen = match processes[..] {
        // The first is woken first.
        [first, last] if is_pair => {
            if random.usize(..FIRST_OF.1) < FIRST_OF.0 {
                first
            } else {
                last
            }
        }
        _ => *processes.get(random.usize(..processes.len().max(1)))?,
    };
    let at = free.iter().position(|slot| process_of(*slot) == chosen)?;
    free.remove(at)
}

/// Weight of the process that is woken first, beside the others.
const FIRST_WOKEN: f64 = 2.0;

/// Processes in the order in which they get to accept a connection for which all are woken. Who went to sleep
/// last wakes up soonest: of `n` it has the weight `n`, the one before it `n - 1`. In 9,715 connections to
/// two processes of gunicorn's gthread that all slept it was 0.65 of them, and in 1,653 to four 0.42, 0.28,
/// 0.19 and 0.11. The `first` of them is woken first, and counts twice. `asleep`: each with when it went to
/// sleep.
pub(super) fn woken(mut asleep: Vec<(usize, u64)>, first: usize, random: &mut fastrand::Rng) -> Vec<usize> {
    asleep.sort_by_key(|(_, since_ns)| *since_ns);
    // Exponential times with these weights as rates, in order: Efraimidis and Spirakis, Weighted random
    // sampling (2006).
    let mut drawn: Vec<(f64, usize)> = asleep
        .into_iter()
        .zip(1_u32..)
        .map(|((process, _), place)| {
            let weight = f64::from(place) * if process == first { FIRST_WOKEN } else { 1.0 };
            (-random.f64().max(f64::MIN_POSITIVE).ln() / weight, process)
        })
        .collect();
    drawn.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    drawn.into_iter().map(|(_, process)| process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_processes_with_threads_one_gets_most_and_of_others_any() {
        for (processes, threads, expected) in
            [(2, 2, [0.8, 0.2, 0.0]), (2, 1, [0.5, 0.5, 0.0]), (3, 2, [0.3; 3])]
        {
            let dispatch = Dispatch::Shared(Wakes::FirstOfTwo);
            let setting = Setting { processes, threads, dispatch, ..Setting::default() };
            let (mut slots, mut random) = (Slots::new(&setting), fastrand::Rng::with_seed(1));
            let mut counts = [0_u32; 3];
            for request in 0..10_000 {
                let slot = slots.arrive(request, 0, &mut random).unwrap();
                counts[slots.process(slot)] += 1;
                assert_eq!(slots.free(slot), None);
            }
            let found = counts.map(|count| (f64::from(count) / 1000.0).round() / 10.0);
            assert_eq!(found, expected, "{processes} processes of {threads} threads");
        }
        // Where the one has none free the other takes it.
        let dispatch = Dispatch::Shared(Wakes::FirstOfTwo);
        let setting = Setting { processes: 2, threads: 2, dispatch, ..Setting::default() };
        let (mut slots, mut random) = (Slots::new(&setting), fastrand::Rng::with_seed(1));
        let taken: Vec<usize> =
            (0..4).map(|request| slots.arrive(request, 0, &mut random).unwrap()).collect();
        assert_eq!(taken.iter().map(|slot| slots.process(*slot)).sum::<usize>(), 2, "{taken:?}");
        assert_eq!(slots.arrive(4, 0, &mut random), None);
    }

    #[test]
    fn processes_that_take_turns_wait_behind_those_that_have_waited() {
        let dispatch = Dispatch::Shared(Wakes::InTurn);
        let setting = Setting { processes: 3, threads: 2, dispatch, ..Setting::default() };
        let (mut slots, mut random) = (Slots::new(&setting), fastrand::Rng::with_seed(1));
        let mut take = |slots: &mut Slots| {
            let slot = slots.arrive(0, 0, &mut random).unwrap();
            (slot, slots.process(slot))
        };
        let taken: Vec<(usize, usize)> = (0..5).map(|_| take(&mut slots)).collect();
        let processes: Vec<usize> = taken.iter().map(|(_, process)| *process).collect();
        assert_eq!(processes, [0, 1, 2, 0, 1], "0 and 1 are full");
        for slot in [taken[0].0, taken[1].0] {
            assert_eq!(slots.free(slot), None);
        }
        // 2 has waited all the time, 0 began before 1.
        let processes: Vec<usize> = (0..3).map(|_| take(&mut slots).1).collect();
        assert_eq!(processes, [2, 0, 1]);
    }

    #[test]
    fn of_several_that_race_for_a_connection_the_one_that_was_awake_last_gets_it_most() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut count = |asleep: &[(usize, u64)], place: usize| {
            let mut counts = [0_u32; 6];
            for _ in 0..10_000 {
                counts[woken(asleep.to_vec(), 0, &mut random)[place]] += 1;
            }
            counts.map(|count| (f64::from(count) / 1000.0).round() / 10.0)
        };
        assert_eq!(count(&[(2, 90), (3, 70), (4, 80), (5, 60)], 0), [0.0, 0.0, 0.4, 0.2, 0.3, 0.1]);
        assert_eq!(count(&[(2, 90), (3, 70), (4, 80), (5, 60)], 3), [0.0, 0.0, 0.1, 0.2, 0.1, 0.5]);
        assert_eq!(count(&[(0, 50), (1, 60)], 0), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0], "woken first");
        assert_eq!(count(&[(0, 60), (1, 50)], 0), [0.8, 0.2, 0.0, 0.0, 0.0, 0.0], "both");
        assert!(woken(Vec::new(), 0, &mut random).is_empty());
    }
}
