//! What would change at other settings: pure, without I/O and without a clock, deterministic by seed.
//!
//! In: requests of a recording, each with its phases and its row of segments, and a setting. Out: [`bounds`]
//! ("at best"), and figures of a simulation ([`engine`]) at that setting and others.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod bounds;
pub mod capacity;
pub mod change;
pub mod competition;
pub mod engine;
pub mod figures;
pub mod load;
pub mod outcome;
pub mod play;
pub mod quantiles;
pub mod search;
pub mod self_forecast;
pub mod setting;
