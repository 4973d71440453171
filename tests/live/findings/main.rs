//! Every finding on real servers: present where clients and settings provoke it, absent on the healthy twin.
//!
//! In: cases, one value each, in a file for each family. Out: verdicts; the figures measured on standard
//! error. `make test` runs a few that are cheap, `make live` all. A rule without a case on two servers fails,
//! unless [`BY_LEAVES`] has it.

mod case;
mod changes;
mod clients_alone;
mod cpu;
mod dropped;
mod gil;
mod loops;
mod queues;
mod slots;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use profiler_core::finding::RULES;

use case::Case;

/// Findings without a case here: what their leaves are is tried by `truth::leaves`, each on two servers.
const BY_LEAVES: &[&str] = &[
    "gil-not-released",
    "cpu-taken",
    "spinning-thread",
    "child-process",
    "slow-file",
    "file-lock",
    "full-pipe",
    "stood-still",
    "lock-not-released",
    "nobody-serves",
    "lasting-connections",
];

/// `name => case;` is a test of one case; attributes stand before the name.
macro_rules! cases {
    ($($(#[$attribute:meta])* $name:ident => $case:expr;)*) => {
        /// Every case of the family.
        pub(crate) const CASES: &[fn() -> crate::case::Case] = &[$(|| $case),*];

        $(
            #[test]
            $(#[$attribute])*
            fn $name() -> anyhow::Result<()> {
                ($case).prove()
            }
        )*
    };
}
use cases;

fn all() -> impl Iterator<Item = Case> {
    let families = [
        changes::CASES,
        cpu::CASES,
        dropped::CASES,
        gil::CASES,
        loops::CASES,
        queues::CASES,
        slots::CASES,
        workers::CASES,
    ];
    families.into_iter().flatten().map(|case| case())
}

#[test]
fn every_finding_is_shown_on_two_real_servers_here_or_by_its_leaves() {
    let mut servers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for case in all() {
        servers.entry(case.finding).or_default().insert(case.sick.server.name());
    }
    let ids: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    for id in &ids {
        let shown = servers.get(id).map_or(0, BTreeSet::len);
        let needed = if BY_LEAVES.contains(id) { 0 } else { 2 };
        assert!(shown >= needed, "{id} is shown on {shown} real servers, {needed} are needed");
    }
    for id in servers.keys().chain(BY_LEAVES) {
        assert!(ids.contains(id), "no rule is called {id}");
    }
}
