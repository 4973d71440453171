//! A loop of which nothing more is known than that it is one: Twisted's, libev's in other servers, native
//! ones.
//!
//! In: nothing. Out: its row.
//!
//! Its scripts: `pipeline/tests/{loops,pools}.rs`.

use super::{LoopKind, LoopTasks, LoopThreads, Resumes, Sign};

/// Its row: what no other kind is.
pub static UNKNOWN: LoopKind = LoopKind {
    name: "unknown",
    sign: Sign::Shown(|_| true),
    resumes: Resumes::Untold,
    tasks: LoopTasks::OfRequests,
    threads: LoopThreads::Work,
    reads_first: false,
    has_rings: false,
};
