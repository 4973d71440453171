//! Finding `gil-contention`: requests wait for the GIL, and who has it computes.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use super::by_way_of;
use crate::finding::{Judge, Rule};
use crate::phase::Phase;
use crate::server::advice::{Sizes, act};

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "gil-contention",
    title: "a thread computes with the GIL",
    question: "requests wait for the GIL",
    page: include_str!("../../../../../docs/findings/gil-contention.md"),
    advice: || {
        act("serve with more processes")
            .more(Sizes::Processes)
            .no_more(Sizes::Threads)
            .because("threads of one process share one GIL")
            .into()
    },
    judge: Judge::Leaves(|time| by_way_of(time, Phase::GilWait) && time.leaf.kind.is_computing()),
};
