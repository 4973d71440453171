//! A worker process within one window: since when it was there, until when, and what its requests took.
//!
//! In: births and ends of processes, and their requests. Out: [`Life`], one for each process that served or
//! was there to serve.

use crate::model::lengths::Lengths;

/// One worker process within the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Process.
    pub tgid: u32,
    /// When it was born; `None`: it was there as the window began.
    pub born_ns: Option<u64>,
    /// When it ended; `None`: it was there as the window ended.
    pub ended_ns: Option<u64>,
    /// Requests that it completed.
    pub requests: u64,
    /// Requests answered with a server error (5xx).
    pub errors: u64,
    /// How long those took whose beginning was seen.
    pub total: Lengths,
}
