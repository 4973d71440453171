//! What threads did: their time piece by piece, slots, who was free beside a full one.
//!
//! In: slices, what calls mean. Out: pieces that add up.

pub mod arrivals;
pub mod capacity;
pub mod load;
pub mod piece;
pub mod row;
pub mod short;
pub mod sleeps;
pub mod slot;
pub mod state;
