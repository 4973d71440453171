//! Processes that come near their limit of open files.
//!
//! In: nothing (`session` looks several times a second). Out: [`OpenFiles`].

use serde::{Deserialize, Serialize};

/// Descriptors that a process has open, and its limit. Written where it has changed, of processes near their
/// limit alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFiles {
    /// Process.
    pub tgid: u32,
    /// Descriptors open.
    pub open: u64,
    /// Soft limit (`RLIMIT_NOFILE`).
    pub limit: u64,
}
