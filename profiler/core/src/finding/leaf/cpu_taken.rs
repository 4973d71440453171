//! Finding `cpu-taken`: requests are ready to run, and the CPU is taken.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use super::taken_by;
use crate::finding::{Judge, Rule};
use crate::model::chain::{LeafKind, TakenBy};
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "cpu-taken",
    title: "the CPU is taken",
    question: "the CPU is taken",
    page: include_str!("../../../../../docs/findings/cpu-taken.md"),
    advice: || act("see which programs use the CPUs meanwhile (top, pidstat)").into(),
    judge: Judge::Leaves(|time| {
        time.leaf.kind == LeafKind::CpuTaken
            && !taken_by(time, |by| matches!(by, TakenBy::Request { .. } | TakenBy::Thread))
    }),
};
