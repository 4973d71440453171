//! What changed between two runs, and how sure that is.
//!
//! In: two [`Side`]s (JSON reports; recordings are reported first). Out: a [`Difference`], as text or JSON.
//! How it is judged is in docs/diff.md.

pub mod capacity;
pub mod comparable;
pub mod difference;
pub(crate) mod duration;
pub mod json;
pub mod judge;
pub mod side;
pub mod statistics;
pub mod text;
mod verdict;

#[cfg(test)]
mod tests;

pub use difference::Difference;
pub use judge::compare;
pub use side::{Side, SideError};
