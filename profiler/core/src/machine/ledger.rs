//! The time of threads as the time of requests.
//!
//! In: pieces of time, who is running. Out: requests that begin, advance and finish.

pub(super) mod busy;
pub(super) mod context;
pub(super) mod exchange;
pub(super) mod finish;
pub(super) mod foreign;
pub mod gil_attribution;
pub(super) mod in_hand;
pub(super) mod in_turn;
pub(super) mod lasting;
pub(super) mod slots;
pub(super) mod thread_end;
pub(super) mod turn;
pub mod unattributed;

#[cfg(test)]
mod tests;
