//! The server that a program of one's own has started (`waitress.serve(app)`), as its interpreter's frames
//! show it.
//!
//! In: nothing (frames of the threads of a process that listens, read while they slept). Out: [`ServedBy`].

use serde::{Deserialize, Serialize};

/// A server that a program of one's own has started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedBy {
    /// Name of its kind.
    pub server: String,
    /// Threads of its pool; `None`: it has none, or they were not all seen.
    pub threads: Option<u32>,
}
