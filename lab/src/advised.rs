//! Advice that a program applies: servers as they are set up, the same with advice applied, and what becomes
//! of a finding.
//!
//! In: settings that advice changes, as the JSON report has them. Out: what `lab/advice` (one trial for
//! each finding) and `lab/mixes` (servers and loads from a seed) share.

pub mod judge;
pub mod setup;
pub mod trial;
pub mod watched;
pub mod work;
