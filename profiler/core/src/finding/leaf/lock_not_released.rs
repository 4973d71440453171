//! Finding `lock-not-released`: requests wait for a lock that is not released.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "lock-not-released",
    title: "a lock is not released",
    question: "locks were not released",
    page: include_str!("../../../../../docs/findings/lock-not-released.md"),
    advice: || act("see what the thread named does").or(act("wait for that lock with a time limit")).into(),
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::NotReleased),
};
