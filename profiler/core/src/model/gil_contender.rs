//! Who waited for an interpreter lock, or had it.
//!
//! In: an endpoint or a thread. Out: [`Contender`], which edges and places name.

/// One side of a wait for the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contender {
    /// Threads while they serve requests of one endpoint: method and path shape (empty: no head was read).
    /// Hostile input.
    Endpoint(String),
    /// A thread while it serves no request.
    Thread {
        /// Process.
        tgid: u32,
        /// Thread.
        tid: u32,
        /// Name. Hostile input.
        comm: String,
    },
    /// Not known.
    #[default]
    Unknown,
}
