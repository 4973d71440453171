//! Finding `loop-blocked`: requests wait for an event loop that is kept by somebody.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use super::{by_way_of, is_from_outside};
use crate::finding::{Judge, Rule};
use crate::phase::Phase;
use crate::server::advice::{Advice, act};

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "loop-blocked",
    title: "the event loop is kept",
    question: "requests wait for an event loop",
    page: include_str!("../../../../../docs/findings/loop-blocked.md"),
    advice: || {
        Advice::first(
            act("do not block on the event loop").because("use the loop's own (asynchronous) calls there"),
        )
        .then(act("move computing to a thread or another process"))
    },
    judge: Judge::Leaves(|time| by_way_of(time, Phase::LoopWait) && !is_from_outside(time)),
};
