//! Sources of the stream: a running server, or a recording.
//!
//! In: the ring buffer, or a file. Out: raw records and facts. Everything after a source is shared.

pub mod file;
pub mod live;
