//! Slots of the map `GIL_PROBES`: how often the probes in the interpreter's code were hit by traced threads.
//!
//! In: nothing. Out: slot numbers.

/// A thread was about to wait for the lock.
pub const WAITED: u32 = 0;
/// A thread began to take the lock (`--gil=full`).
pub const ENTERED: u32 = 1;
/// A thread had taken it (`--gil=full`).
pub const LEFT: u32 = 2;
/// Number of slots.
pub const GIL_PROBE_SLOTS: u32 = 3;
