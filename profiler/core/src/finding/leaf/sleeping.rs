//! Finding `sleeping`: requests wait for others that sleep on purpose.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "sleeping",
    title: "a thread sleeps on purpose",
    question: "requests wait for others that sleep",
    page: include_str!("../../../../../docs/findings/sleeping.md"),
    advice: || act("sleep for less time").into(),
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::Sleep),
};
