//! Finding `file-lock`: requests wait for a lock on a file that another process has.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "file-lock",
    title: "a lock on a file is waited for",
    question: "locks on files are waited for",
    page: include_str!("../../../../../docs/findings/file-lock.md"),
    advice: || {
        act("hold that lock for less time")
            .because("one process at a time has it, and more of them would wait as well")
            .into()
    },
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::FileLock),
};
