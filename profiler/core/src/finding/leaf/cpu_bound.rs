//! Finding `cpu-bound`: requests wait for others that compute.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "cpu-bound",
    title: "a thread computes",
    question: "requests wait for others that compute",
    page: include_str!("../../../../../docs/findings/cpu-bound.md"),
    advice: || {
        Advice::first(act("make what computes there faster").or(act("move it to another process")))
            .then(say("threads do not speed it up, processes do while cores are free"))
    },
    judge: Judge::Leaves(|time| time.leaf.kind.is_computing() || time.leaf.kind == LeafKind::CpuTaken),
};
