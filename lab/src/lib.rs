//! What programs of the lab share: tables of servers and workloads, trials of advice, witnesses of the GIL.
//!
//! In: the helpers of `tests/support`. Out: helpers for the programs beside this directory.

pub mod advised;
pub mod bottlenecks;
pub mod bpftrace;
pub mod generated;
pub mod gil_account;
pub mod gil_comparison;
pub mod gil_witness;
pub mod handover;
pub mod machine;
pub mod open_load;
pub mod stops;
pub mod watched;
