//! Chains: each wait of a request followed, at the moment at which it happened, to what ended it.
//!
//! In: pieces of threads' time, in full and light mode alike; who accepts and serves where; requests that are
//! over. Out: [`crate::model::chain::Chains`]. All leaves of a request add up to its duration.
//!
//! One rule: a sleep that a thread of the target ends is a hop, whatever the call. A leaf is where somebody
//! else ends it. What cannot be followed is a leaf of its own, with the reason.

pub(in crate::machine) mod attendance;
pub(in crate::machine) mod blockers;
#[cfg(test)]
mod cases;
pub(in crate::machine) mod cpus;
pub(in crate::machine) mod endpoints;
pub(in crate::machine) mod feed;
pub(in crate::machine) mod follow;
pub(in crate::machine) mod handed;
pub(in crate::machine) mod history;
pub(in crate::machine) mod hung;
pub(in crate::machine) mod independence;
pub(in crate::machine) mod known;
pub(in crate::machine) mod ladder;
pub(in crate::machine) mod lasting;
pub(in crate::machine) mod leaves;
pub(in crate::machine) mod looks;
pub(in crate::machine) mod own_connections;
pub(in crate::machine) mod place_samples;
#[cfg(test)]
mod player;
pub(in crate::machine) mod prevented;
pub(in crate::machine) mod releases;
pub(in crate::machine) mod replay;
pub(in crate::machine) mod request_lines;
pub(in crate::machine) mod segment;
pub(in crate::machine) mod service;
pub(in crate::machine) mod settle;
pub(in crate::machine) mod settling;
pub(in crate::machine) mod short_requests;
pub(in crate::machine) mod split;
pub(in crate::machine) mod state;
pub(in crate::machine) mod steal;
pub(in crate::machine) mod sums;
pub(in crate::machine) mod unreleased;
