//! The order in which all that happens to a slice, and the state of all machines.
//!
//! In: ordered events. Out: timeline entries, and the state that the snapshot is made of.

pub mod exchange_end;
pub mod light;
pub mod now;
pub mod roll;
pub mod serving;
pub mod state;
