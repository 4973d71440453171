//! Finding `gil-not-released`: requests wait for the GIL, and who has it waits for something else.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use super::{by_way_of, is_from_outside};
use crate::finding::{Judge, Rule};
use crate::phase::Phase;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "gil-not-released",
    title: "a thread keeps the GIL while it waits for something else",
    question: "the GIL is kept by a thread that waits",
    page: include_str!("../../../../../docs/findings/gil-not-released.md"),
    advice: || {
        act("use a driver that releases the GIL while it waits")
            .or(act("make that call in another process"))
            .into()
    },
    judge: Judge::Leaves(|time| {
        by_way_of(time, Phase::GilWait) && !time.leaf.kind.is_computing() && !is_from_outside(time)
    }),
};
