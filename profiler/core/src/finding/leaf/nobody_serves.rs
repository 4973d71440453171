//! Finding `nobody-serves`: nobody is there who could serve requests.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "nobody-serves",
    title: "nobody is there to serve",
    question: "nobody was there to serve",
    page: include_str!("../../../../../docs/findings/nobody-serves.md"),
    advice: || act("see why nobody was there: workers ended or were still starting").into(),
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::NoThread),
};
