//! What would change: a recording becomes requests with rows of segments, is simulated as it was, and then as it would be.
//!
//! In: a recording, changes. Out: a [`WhatIf`]: bounds, today as measured beside today as simulated, and forecasts where these agree; as text or
//! JSON. What it means and what it assumes is in docs/whatif.md.

mod course;
mod errands;
pub mod forecast;
mod handover;
pub mod json;
pub mod model;
mod others;
pub mod refusal;
mod row;
pub mod text;
pub mod trace;
mod wakeup;

#[cfg(test)]
mod tests;

pub use forecast::{Ask, WhatIf, WhatIfError};
