//! Finding `name-lookups`: requests wait for name servers.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "name-lookups",
    title: "a name server is waited for",
    question: "names are looked up",
    page: include_str!("../../../../../docs/findings/name-lookups.md"),
    advice: || {
        Advice::first(act("keep what was resolved").or(act("use a caching name server on this host"))).then(say(
            "a name without a final dot may be looked up once for each domain of the search list: see ndots in resolv.conf",
        ))
    },
    judge: Judge::Leaves(|time| time.leaf.kind == LeafKind::NameServer),
};
