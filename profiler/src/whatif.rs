//! What would change: a recording becomes requests with rows of segments, is simulated as it was, and then as
//! it would be.
//!
//! In: a recording, changes. Out: a [`WhatIf`]: bounds, today as measured beside today as simulated, and
//! forecasts where these agree; as text, JSON or a page. What it means and what it assumes is in
//! docs/whatif.md.

pub mod advised;
mod afterwards;
mod course;
mod errands;
pub mod forecast;
mod front;
mod handover;
pub mod html;
pub mod json;
pub mod judged;
pub mod model;
mod others;
pub mod refusal;
mod release;
mod row;
mod taken;
pub mod text;
mod today;
pub mod trace;
mod waits;
mod wakeup;

#[cfg(test)]
mod tests;

pub use forecast::{Ask, WhatIf, WhatIfError};
