//! Finding `stood-still`: the process stands still: stopped, traced, frozen or held by its memory limit.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "stood-still",
    title: "the process stands still",
    question: "the process stood still",
    page: include_str!("../../../../../docs/findings/stood-still.md"),
    advice: || act("see who stops, traces or freezes it").into(),
    judge: Judge::Leaves(|time| matches!(time.leaf.kind, LeafKind::StoodStill | LeafKind::KernelLock)),
};
