//! Finding `slow-clients`: requests wait for slots that slow clients keep.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "slow-clients",
    title: "a client sends or reads slowly",
    question: "slow clients keep slots",
    page: include_str!("../../../../../docs/findings/slow-clients.md"),
    advice: || act("put a proxy that buffers requests and responses in front of the server").into(),
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::Client),
};
