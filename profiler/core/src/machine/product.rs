//! What is reported: sums by endpoint and process, what became of each connection.
//!
//! In: finished requests, ended connections. Out: parts of the snapshot.

pub mod by_process;
pub mod completed;
pub mod dropped;
pub mod endpoint;
pub(super) mod gone;
pub(super) mod inside;
pub(super) mod judge;
pub(in crate::machine) mod lasting;
pub mod lives;
pub mod state;
pub mod summary;
