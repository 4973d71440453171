//! Finding `slow-file`: requests wait for a file, or for memory that is read from one.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "slow-file",
    title: "a file is waited for",
    question: "files are waited for",
    page: include_str!("../../../../../docs/findings/slow-file.md"),
    advice: || act("put that file on faster storage").or(act("use it less often")).into(),
    judge: Judge::Leaves(|time| matches!(time.leaf.kind, LeafKind::File | LeafKind::PageFault)),
};
