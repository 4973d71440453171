//! Finding `spinning-thread`: a thread runs in calls that return at once and move nothing.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "spinning-thread",
    title: "a thread spins in calls that move nothing",
    question: "a thread spins",
    page: include_str!("../../../../../docs/findings/spinning-thread.md"),
    advice: || act("see what is polled there without a pause").into(),
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::Spinning),
};
