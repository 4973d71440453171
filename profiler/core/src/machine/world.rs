//! What there is: processes, descriptors, listeners and their queues, wake-ups, what calls mean.
//!
//! In: slices and facts. Out: tables of what is known, bounded.

pub mod classify;
pub mod descriptor;
pub mod errno;
pub(super) mod killed;
pub mod listener;
pub mod living;
pub mod lost;
pub mod process;
pub mod queue;
pub mod state;
pub mod waiter;
pub mod wake;
