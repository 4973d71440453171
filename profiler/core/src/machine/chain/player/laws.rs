//! Laws of the chain stage, over schedules of the player.
//!
//! In: numbers of schedules. Out: nothing; a law that does not hold fails with the schedule's number.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::random::Random;
use super::told::Telling;
use super::truth::{Key, Sums};
use super::world::World;
use crate::machine::chain::state::Chain;
use crate::model::chain::Chains;

/// A schedule that has been played.
pub(super) fn played(seed: u64, change: impl Fn(&mut Plan)) -> World {
    let mut random = Random::new(seed);
    let mut plan = Plan::random(&mut random);
    change(&mut plan);
    let mut world = World::planned(plan, random);
    world.play();
    world
}

/// All of a thread's tellings one after the other, all threads.
pub(super) fn told(world: &World) -> Vec<Telling> {
    world.told(false, true).concat()
}

/// What comes of a schedule that is told like this.
pub(super) fn chains(world: &World, told: &[Telling], requests: impl Iterator<Item = usize>) -> Chains {
    let mut chain = Chain::default();
    for telling in told {
        telling.tell(&mut chain);
    }
    completes(world, &mut chain, requests);
    chain.finish(&|_| String::new())
}

pub(super) fn completes(world: &World, chain: &mut Chain, requests: impl Iterator<Item = usize>) {
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
pub(super) fn assert_law(world: &World, chains: &Chains, requests: impl Iterator<Item = usize>, seed: u64) {
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

pub(super) fn all(world: &World) -> std::ops::Range<usize> {
    0..world.requests.len()
}

/// What is not shorter than the histories' granule is told exactly: what remains is the rounding to whole
/// nanoseconds, less than one for each part of a thread's time that a request's time is split into.
const ROUNDING_NS: f64 = 2_000.0;

fn assert_true(seed: u64, change: impl Fn(&mut Plan)) -> bool {
    let world = played(seed, change);
    let chains = chains(&world, &told(&world), all(&world));
    assert_law(&world, &chains, all(&world), seed);
    if chains.other_ns > 0 {
        return false;
    }
    let different = differences(&world.truth(all(&world)), &sums(&chains), ROUNDING_NS);
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

pub(super) fn first() -> u64 {
    std::env::var("PLAYER_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// How many schedules: as many as a test may have, or as many as are asked for.
pub(super) fn count(usual: u64) -> u64 {
    std::env::var("PLAYER_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}
