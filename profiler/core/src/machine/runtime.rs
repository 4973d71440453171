//! For whom a thread works: jobs of pools, event loops, greenlets and asyncio tasks.
//!
//! In: calls of threads, in-flight requests. Out: who may be running, and what it waited for.

pub mod asker;
pub(super) mod candidates;
pub mod event_loop;
pub mod givers;
pub mod handed;
pub mod handoff;
pub mod helpers;
pub(super) mod job;
pub mod late;
pub mod own_threads;
pub mod pool;
pub mod pools;
pub mod report;
pub mod state;
pub mod task;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod threads;
pub mod unattributed;
