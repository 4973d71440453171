//! Why the attached programs cannot be used.
//!
//! In: what went wrong. Out: one sentence per cause.

/// Why a map or a program of those that are loaded cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// A map could not be filled or read.
    #[error("the map {map} of the programs cannot be used: {reason}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// Why.
        reason: String,
    },
    /// The kernel refuses to run a program.
    #[error("the kernel refused the program {program}: {reason}")]
    Program {
        /// Its name in the attach table.
        program: &'static str,
        /// Why.
        reason: String,
    },
}
