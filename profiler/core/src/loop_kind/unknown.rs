//! A loop of which nothing more is known than that it is one: Twisted's, libev's in other servers, native ones.
//!
//! In: nothing. Out: its row.
//!
//! Its scripts: `pipeline/tests/{loops,pools}.rs`.

use super::{LoopKind, Resumes, Sign, Tasks, Threads};

/// Its row: what no other kind is.
pub static UNKNOWN: LoopKind = LoopKind {
    name: "unknown",
    sign: Sign::Shown(|_| true),
    resumes: Resumes::Untold,
    tasks: Tasks::OfRequests,
    threads: Threads::Work,
    has_rings: false,
};
