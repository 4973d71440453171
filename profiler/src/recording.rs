//! Recordings: a stream of items in a file that survives being cut off or damaged anywhere.
//!
//! In: [`profiler_core::stream::Item`]s, redacted already. Out: a file, and the same items again in the same
//! order. `format.rs` says how the bytes lie.

mod format;
mod item;
mod kept;
mod layout;
mod pack;
mod read;
mod scan;
mod write;

pub use format::{Expansion, MAX_EXPANSION};
pub use kept::{Held, Keep, Kept, KeptCopy, Mark};
pub use layout::LAYOUT_HASH;
pub use read::{OpenError, ReadSummary, Recording};
pub use write::{FRAME_TARGET_BYTES, RecordError, Recorder, Storage, Totals};

#[cfg(test)]
mod tests;
