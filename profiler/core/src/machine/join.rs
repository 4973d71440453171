//! Halves of a request that crosses processes.
//!
//! In: what a front end does with the server behind it, finished halves. Out: whole requests.

pub mod compose;
pub mod front;
pub mod link;
pub mod state;
pub mod topology;
