//! Finding `lasting-connections`: requests wait for slots that WebSockets or streams of events keep.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use crate::finding::{Judge, Rule};
use crate::model::chain::LeafKind;
use crate::server::advice::act;

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "lasting-connections",
    title: "a WebSocket or a stream keeps a slot",
    question: "WebSockets or streams keep slots",
    page: include_str!("../../../../../docs/findings/lasting-connections.md"),
    advice: || {
        act("serve WebSockets and streams of events from a server of their own, on an event loop")
            .because("each keeps a worker or thread for as long as its client stays")
            .into()
    },
    judge: Judge::Leaves(|time| matches!(time.leaf.kind, LeafKind::Upgraded | LeafKind::Stream)),
};
