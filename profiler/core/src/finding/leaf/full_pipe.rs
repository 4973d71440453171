//! Finding `full-pipe`: requests wait for the other end of a pipe.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "full-pipe",
    title: "the other end of a pipe is waited for",
    question: "pipes are waited for",
    page: include_str!("../../../../../docs/findings/full-pipe.md"),
    advice: || act("see why the other end of that pipe is not read or written").into(),
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::Pipe),
};
