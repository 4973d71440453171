//! Finding `back-end`: requests wait for others that wait for a back end.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "back-end",
    title: "a back end is waited for",
    question: "requests wait for others that wait for a back end",
    page: include_str!("../../../../../docs/findings/back-end.md"),
    advice: || {
        act("find out why it answers slowly")
            .or(act("ask it less often"))
            .also(act("give the call a time limit, which bounds what others wait"))
            .into()
    },
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::BackEnd),
};
