//! What exists in the target: processes, descriptors, listeners and their queues, wakeups; and what calls
//! mean.
//!
//! In: slices and facts. Out: bounded tables of what is known.

pub mod back_end;
pub mod begun;
pub mod classify;
pub mod descriptor;
pub mod errno;
pub mod interest;
pub(super) mod killed;
pub mod listener;
pub mod living;
pub mod lost;
pub mod process;
pub mod queue;
pub mod sleep;
pub mod state;
pub mod stops;
pub mod waiter;
pub mod wake;
