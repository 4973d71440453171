//! Finding `idle-connections`: requests wait for a thread that waits on a connection without a request.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "idle-connections",
    title: "a connection without a request is waited for",
    question: "connections without a request keep threads",
    page: include_str!("../../../../../docs/findings/idle-connections.md"),
    advice: || act("put a proxy in front that keeps idle connections away from the workers").into(),
    judge: Judge::Leaves(|time| {
        time.leaf.kind == LeafKind::Client && time.leaf.endpoint == 0 && !time.hops.is_empty()
    }),
};
