//! Finding `child-process`: requests wait for child processes.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "child-process",
    title: "a child process is waited for",
    question: "child processes are waited for",
    page: include_str!("../../../../../docs/findings/child-process.md"),
    advice: || act("start that program less often").or(act("wait for it outside of requests")).into(),
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::Child),
};
