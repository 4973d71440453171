//! From records to requests, phases, slots and findings: pure, without I/O and without a clock.
//!
//! In: a stream of [`stream::Item`]s (raw kernel records and facts), live or from a recording. Out: a
//! timeline (streamed [`timeline::Entry`]s) and a [`model::Snapshot`], from which [`finding`] draws its
//! verdicts. Time comes only from the records.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

#[macro_use]
mod closed_list;

pub mod bounded;
pub mod decode;
pub mod event;
pub mod fact;
pub mod finding;
pub mod loop_kind;
pub mod machine;
pub mod model;
pub mod order;
pub mod phase;
pub mod pipeline;
pub mod redact;
pub mod rule;
pub mod server;
pub mod stream;
pub mod timeline;
pub mod tls;
pub mod verdict;
