//! Who else holds the target's listeners.
//!
//! In: nothing (`session` looks for them). Out: [`ForeignHolders`].

use serde::{Deserialize, Serialize};

/// Processes that are not traced and hold a listener of the target, as one look at all processes showed. The
/// newest look counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignHolders {
    /// One entry for each listener that such a process holds.
    pub holders: Vec<ForeignHolder>,
    /// Processes whose descriptors could not be looked at, or were too many: there may be more.
    pub hidden: u64,
}

/// One process outside of the target that holds a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignHolder {
    /// Inode of the listening socket.
    pub inode: u64,
    /// Process.
    pub tgid: u32,
    /// Its name. Hostile input.
    pub comm: String,
}
