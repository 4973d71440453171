//! Who waited for the interpreter lock, and because of whom.
//!
//! In: slices. Out: waits, their holders, sums.

pub mod gil;
pub mod gil_block;
pub mod gil_edge;
pub mod gil_held;
pub mod gil_holder;
pub mod gil_measure;
pub mod gil_place;
pub mod gil_sleep;
pub mod gil_stack;
pub mod gil_waits;
