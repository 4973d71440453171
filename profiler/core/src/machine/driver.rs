//! What happens to a slice, in which order; and the state of all machines.
//!
//! In: ordered events. Out: timeline entries, and the state that the snapshot is made of.

mod draw;
mod effect;
pub mod evidence;
pub mod exchange_end;
mod follow;
mod late;
pub mod light;
mod meaning;
pub mod now;
mod publish;
pub mod roll;
pub mod serving;
pub mod state;
pub mod topology;

#[cfg(test)]
mod tests;
