//! Laws of the chain stage, over schedules of the player.
//!
//! In: numbers of schedules. Out: nothing; a law that does not hold fails with the schedule's number.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::random::Random;
use super::told::{Telling, What};
use super::truth::{Key, Sums};
use super::world::PlayedServer;
use crate::machine::chain::state::Chain;
use crate::model::chain::{Chains, LeafKind};

/// A schedule that has been played.
pub(super) fn played(seed: u64, change: impl Fn(&mut Plan)) -> PlayedServer {
    let mut random = Random::new(seed);
    let mut plan = Plan::random(&mut random);
    change(&mut plan);
    let mut world = PlayedServer::planned(plan, random);
    world.play();
    world
}

/// All of a thread's tellings one after the other, all threads.
pub(super) fn told(world: &PlayedServer) -> Vec<Telling> {
    world.told(false, true).concat()
}

/// What comes of a schedule that is told like this.
pub(super) fn chains(
    world: &PlayedServer,
    told: &[Telling],
    requests: impl Iterator<Item = usize>,
) -> Chains {
    let mut chain = Chain::default();
    for telling in told {
        telling.tell(&mut chain);
    }
    completes(world, &mut chain, requests);
    chain.finish(&|_| String::new(), std::iter::empty(), &[])
}

pub(super) fn completes(world: &PlayedServer, chain: &mut Chain, requests: impl Iterator<Item = usize>) {
    for index in requests {
        if let Some((request, service)) = world.completed(index) {
            chain.served(request.id, service);
            chain.complete(&request, None);
        }
    }
}

/// Request time by leaf and way, as measured.
pub(super) fn sums(chains: &Chains) -> Sums {
    let mut sums = Sums::new();
    for row in &chains.leaves {
        let endpoint = chains.endpoint(row.leaf.endpoint).unwrap_or_default().to_owned();
        let leaf = row.leaf;
        let key: Key = (leaf.kind, leaf.object, endpoint, leaf.unreleased, row.hops.iter().collect());
        *sums.entry(key).or_default() += row.held_ns as f64;
    }
    sums
}

/// The law: all leaves add up.
pub(super) fn assert_law(
    world: &PlayedServer,
    chains: &Chains,
    requests: impl Iterator<Item = usize>,
    seed: u64,
) {
    let lengths = requests.filter_map(|index| world.completed(index)).map(|(request, _)| request.total_ns());
    assert_eq!(chains.request_ns, lengths.sum::<u64>(), "seed {seed}");
    let held_ns: u64 = chains.leaves.iter().map(|row| row.held_ns).sum();
    assert_eq!(held_ns + chains.other_ns, chains.request_ns, "seed {seed}");
    assert_eq!(chains.broken, 0, "seed {seed}");
}

/// Where measured and true differ by more than `tolerance_ns`.
fn differences(truth: &Sums, measured: &Sums, tolerance_ns: f64) -> BTreeMap<Key, (f64, f64)> {
    let keys = truth.keys().chain(measured.keys());
    let both = keys.map(|key| {
        let of = |sums: &Sums| sums.get(key).copied().unwrap_or(0.0);
        (key.clone(), (of(truth), of(measured)))
    });
    both.filter(|(_, (truth, measured))| (truth - measured).abs() > tolerance_ns).collect()
}

pub(super) fn all(world: &PlayedServer) -> std::ops::Range<usize> {
    0..world.requests.len()
}

/// What is not shorter than the histories' granule is told exactly, but for whole nanoseconds: where time is
/// split, each part may be less than one off, and of no request there are more parts than threads did things.
fn rounding_ns(world: &PlayedServer) -> f64 {
    let pasts: usize = world.actors.iter().map(|actor| actor.past.len()).sum();
    (pasts * world.requests.len()) as f64
}

fn assert_true(seed: u64, change: impl Fn(&mut Plan)) -> bool {
    let world = played(seed, change);
    let chains = chains(&world, &told(&world), all(&world));
    assert_law(&world, &chains, all(&world), seed);
    if chains.other_ns > 0 {
        return false;
    }
    let different = differences(&world.truth(all(&world)), &sums(&chains), rounding_ns(&world));
    assert!(different.is_empty(), "seed {seed}: leaf: (true, measured) {different:#?}\n{:#?}", world.plan);
    true
}

#[test]
fn what_is_coarse_is_told_exactly() {
    let mut compared = 0;
    for seed in first()..first() + count(1500) {
        compared += u64::from(assert_true(seed, |_| ()));
    }
    assert!(compared > count(1500) * 9 / 10, "{compared} could be compared");
}

/// Ways to tell the same: nothing of what comes of it differs.
#[test]
fn the_order_in_which_threads_are_told_changes_nothing() {
    for_each(600, |seed| {
        let world = played(seed, |_| ());
        let in_turn = chains(&world, &told(&world), all(&world));
        let mut random = Random::new(seed);
        let mut by_thread: Vec<_> = world.told(false, true).into_iter().map(Vec::into_iter).collect();
        let mut mixed = Vec::new();
        while !by_thread.is_empty() {
            let place = random.place(by_thread.len());
            match by_thread[place].next() {
                Some(telling) => mixed.push(telling),
                None => drop(by_thread.swap_remove(place)),
            }
        }
        assert_eq!(chains(&world, &mixed, all(&world)), in_turn, "seed {seed}");
        let mut by_time = told(&world);
        by_time.sort_by_key(|telling| telling.at_ns);
        assert_eq!(chains(&world, &by_time, all(&world)), in_turn, "seed {seed}, by time");
    });
}

/// A schedule that takes long enough for requests to be settled while it goes on.
fn long(plan: &mut Plan) {
    // Of a thread that is stuck since before, nothing is said until the window ends.
    plan.stuck = 0;
    plan.grain_ns *= 15;
    plan.busy_ns *= 20;
    plan.window_ns *= 20;
}

/// Tells all as it happens, requests as they are over; calls `at_cut` at that moment.
fn as_it_happens(
    world: &PlayedServer,
    cut_ns: u64,
    requests: &[usize],
    at_cut: impl Fn(&mut Chain),
) -> Chains {
    let mut by_time = told(world);
    by_time.sort_by_key(|telling| telling.at_ns);
    let mut ends: Vec<(u64, usize)> = requests
        .iter()
        .map(|index| (world.requests[*index].ends_ns.unwrap_or(world.plan.window_ns), *index))
        .collect();
    ends.sort_unstable();
    let (mut chain, mut next, mut is_cut) = (Chain::default(), 0, false);
    for telling in by_time {
        let is_first_after = telling.at_ns >= cut_ns && !is_cut;
        for before_ns in is_first_after.then_some(cut_ns).into_iter().chain([telling.at_ns]) {
            while let Some((_, index)) = ends.get(next).filter(|(end_ns, _)| *end_ns < before_ns) {
                completes(world, &mut chain, std::iter::once(*index));
                next += 1;
            }
            if is_first_after && !is_cut {
                is_cut = true;
                at_cut(&mut chain);
            }
        }
        telling.tell(&mut chain);
    }
    completes(world, &mut chain, ends[next..].iter().map(|(_, index)| *index));
    chain.finish(&|_| String::new(), std::iter::empty(), &[])
}

/// Without endpoints: what a thread was about is known as its request is over.
fn without_endpoints(sums: &Sums) -> Sums {
    let mut merged = Sums::new();
    for ((kind, object, _, grade, hops), ns) in sums {
        *merged.entry((*kind, *object, String::new(), *grade, hops.clone())).or_default() += ns;
    }
    merged
}

#[test]
fn what_is_settled_early_is_settled_right() {
    for_each(400, |seed| {
        let world = played(seed, long);
        let requests: Vec<usize> = all(&world).collect();
        let measured = as_it_happens(&world, u64::MAX, &requests, |_| ());
        assert_law(&world, &measured, all(&world), seed);
        let truth = without_endpoints(&world.truth(all(&world)));
        let different = differences(&truth, &without_endpoints(&sums(&measured)), rounding_ns(&world));
        assert!(different.is_empty() || measured.other_ns > 0, "seed {seed}: {different:#?}");
    });
}

#[test]
fn requests_that_lie_within_one_of_two_windows_have_the_leaves_that_they_have_in_one() {
    let compared = std::cell::Cell::new(0);
    for_each(400, |seed| {
        let world = played(seed, |_| ());
        let Some(cut_ns) = world.cuts().next() else { return };
        let before: Vec<usize> = all(&world).filter(|index| world.is_over(*index, cut_ns)).collect();
        let after: Vec<usize> =
            all(&world).filter(|index| world.requests[*index].arrives_ns >= cut_ns).collect();
        let within: Vec<usize> = before.iter().chain(&after).copied().collect();
        let whole = chains(&world, &told(&world), within.iter().copied());
        let first_world = world.until(cut_ns);
        let first = chains(&first_world, &told(&first_world), before.iter().copied());
        let second = as_it_happens(&world, cut_ns, &within, |chain| chain.roll(cut_ns));
        let mut both = sums(&first);
        for (key, ns) in sums(&second) {
            *both.entry(key).or_default() += ns;
        }
        let different =
            differences(&without_endpoints(&both), &without_endpoints(&sums(&whole)), rounding_ns(&world));
        let other_ns = whole.other_ns + first.other_ns + second.other_ns;
        assert!(different.is_empty() || other_ns > 0, "seed {seed}: {different:#?}");
        compared.set(compared.get() + u64::from(!before.is_empty() && !after.is_empty()));
    });
    assert!(compared.get() > count(400) / 4, "{} could be compared", compared.get());
}

#[test]
fn no_chain_has_a_thread_twice() {
    for_each(600, |seed| {
        let world = played(seed, |_| ());
        for row in chains(&world, &told(&world), all(&world)).leaves {
            let tids = row.example.into_iter().flat_map(|example| example.hops).map(|hop| hop.tid);
            let mut tids: Vec<_> = tids.filter(|tid| *tid > 0).collect();
            let count = tids.len();
            tids.sort_unstable();
            tids.dedup();
            assert_eq!(tids.len(), count, "seed {seed}");
        }
    });
}

/// Time by kind. What is known by its phase alone is of the kind that the phase has.
fn kinds(sums: &Sums) -> BTreeMap<LeafKind, f64> {
    let mut kinds = BTreeMap::new();
    sums.iter().for_each(|(key, ns)| *kinds.entry(of_phase(key.0)).or_default() += ns);
    kinds
}

const fn of_phase(kind: LeafKind) -> LeafKind {
    match kind {
        LeafKind::FileLock => LeafKind::File,
        LeafKind::NameServer => LeafKind::BackEnd,
        kind => kind,
    }
}

/// Nothing has more than is true, but what was not followed.
fn assert_no_more(
    seed: u64,
    world: &PlayedServer,
    measured: &Chains,
    may_have_more: impl Fn(LeafKind) -> f64,
) {
    let truth = kinds(&world.truth(all(world)));
    for (kind, ns) in kinds(&sums(measured)) {
        let true_ns = truth.get(&kind).copied().unwrap_or(0.0);
        let more_ns = ns - true_ns - may_have_more(kind) - rounding_ns(world);
        assert!(
            world.kinds().into_iter().any(|there| of_phase(there) == kind),
            "seed {seed}: there is no {kind:?}"
        );
        // Whether somebody is named by elimination depends on what is known.
        let is_by_elimination = matches!(kind, LeafKind::NotFollowed | LeafKind::NotReleased);
        assert!(
            is_by_elimination || more_ns <= 0.0,
            "seed {seed}: {kind:?}: {ns} instead of {true_ns}\n{:?}",
            world.plan
        );
    }
}

#[test]
fn light_mode_tells_the_same_or_less() {
    for_each(1000, |seed| {
        let world = played(seed, |_| ());
        let measured = chains(&world, &world.told(true, true).concat(), all(&world));
        assert_law(&world, &measured, all(&world), seed);
        assert_no_more(seed, &world, &measured, |_| 0.0);
    });
}

#[test]
fn what_is_lost_makes_no_leaf_longer() {
    for_each(1000, |seed| {
        let world = played(seed, |_| ());
        let mut random = Random::new(seed);
        let mut told = told(&world);
        // Of each thread something is known: who could have a lock cannot be asked of others.
        let mut known = std::collections::BTreeSet::new();
        told.retain(|telling| {
            let is_first = known.insert(telling.tid);
            is_first || !matches!(telling.what, What::Piece(..)) || !random.percent(10)
        });
        let measured = chains(&world, &told, all(&world));
        assert_law(&world, &measured, all(&world), seed);
        assert_no_more(seed, &world, &measured, |_| 0.0);
    });
}

#[test]
fn what_is_short_is_blurred_by_its_own_length_at_most() {
    for_each(500, |seed| {
        let world = played(seed, |plan| plan.grain_ns = 50_000);
        let measured = chains(&world, &told(&world), all(&world));
        assert_law(&world, &measured, all(&world), seed);
        let short = world.short_ns();
        assert_no_more(seed, &world, &measured, |kind| match kind {
            // Sums of what is short tell how long a thread ran, and not when.
            LeafKind::Computing | LeafKind::CpuTaken => short.of_others_ns,
            // Of the requests' own short waits the phase is known, and no more.
            _ => short.own_ns,
        });
    });
}

/// Plays schedule after schedule.
pub(super) fn for_each(usual: u64, check: impl Fn(u64)) {
    (first()..first() + count(usual)).for_each(check);
}

pub(super) fn first() -> u64 {
    option_env!("PLAYER_FIRST").and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// How many schedules: as many as a test may have, or as many as are asked for as it is built.
pub(super) fn count(usual: u64) -> u64 {
    option_env!("PLAYER_COUNT").and_then(|count| count.parse().ok()).unwrap_or(usual)
}
