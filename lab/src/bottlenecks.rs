//! The lab's tables: its servers, its kinds of work, and what each of its cells is to answer.
//!
//! In: nothing. Out: tables, which `lab/bottlenecks` runs, and of which `lab/mixes` takes the healthy cells.

pub mod expected;
pub mod server;
pub mod workload;
