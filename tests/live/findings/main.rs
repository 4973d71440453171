//! Every finding on real servers: present where clients and settings provoke it, absent on the healthy twin.
//!
//! In: cases, one value each, in a file for each family. Out: verdicts; the figures measured on standard
//! error. `make test` runs a few that are cheap, `make live` all. A rule without a case on two servers fails,
//! unless [`ONE_SERVER`] says why.

mod case;
mod changes;
mod cpu;
mod dropped;
mod gil;
mod locks;
mod loops;
mod queues;
mod slots;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use profiler_core::finding::RULES;

use case::Case;

/// Findings that only one kind of server can have on one machine, and why.
const ONE_SERVER: &[(&str, &str)] = &[(
    "imbalance",
    "gunicorn alone gives each worker a listener by a setting (--reuse-port); elsewhere who is free accepts first",
)];

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
        locks::CASES,
        loops::CASES,
        queues::CASES,
        slots::CASES,
        workers::CASES,
    ];
    families.into_iter().flatten().map(|case| case())
}

#[test]
fn every_finding_is_shown_on_two_real_servers_or_it_is_said_why_only_one_has_it() {
    let mut servers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for case in all() {
        servers.entry(case.finding).or_default().insert(case.sick.server.name());
    }
    let ids: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    let excused: BTreeMap<&str, &str> = ONE_SERVER.iter().copied().collect();
    for id in &ids {
        let shown = servers.get(id).map_or(0, BTreeSet::len);
        let needed = if excused.contains_key(id) { 1 } else { 2 };
        assert!(shown >= needed, "{id} is shown on {shown} real servers, {needed} are needed");
        assert!(shown < 2 || !excused.contains_key(id), "{id} has two servers and is excused");
    }
    for id in servers.keys().chain(excused.keys()) {
        assert!(ids.contains(id), "no rule is called {id}");
    }
}
