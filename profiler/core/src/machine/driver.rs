//! What happens to a slice, in which order; and the state of all machines.
//!
//! In: ordered events. Out: timeline entries, and the state that the snapshot is made of.

mod chains;
mod draw;
mod effect;
mod ends;
mod evidence;
mod follow;
mod hung;
pub mod light;
mod meaning;
pub mod now;
mod publish;
mod roll;
mod serving;
pub mod state;
mod topology;
pub mod unserved;
mod work;

#[cfg(test)]
mod tests;
