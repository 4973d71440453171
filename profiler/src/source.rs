//! Sources of the stream: a running server, or a recording.
//!
//! In: the rings, or a file. Out: raw records and facts. Everything after a source is shared.

pub mod file;
pub mod live;
