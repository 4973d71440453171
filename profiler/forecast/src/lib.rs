//! What would change at other settings: pure, without I/O and without a clock.
//!
//! In: the phases of a recording's requests. Out: [`bounds`] ("at best").
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod bounds;
pub mod quantiles;
