//! asyncio's own loop, and any other that resumes everything one iteration after its cause.
//!
//! In: what a loop's calls have shown. Out: its row. Read off `asyncio/base_events.py`, CPython 3.8 to 3.14.
//!
//! Its scripts: `pipeline/tests/loops/{asyncio,tasks,unattributed,handed,own_thread,streams}.rs`.

use super::{LoopKind, LoopTasks, LoopThreads, Resumes, Shown, Sign};

/// Its row. A request that is read in one iteration is answered in the next, never in the same.
pub static ASYNCIO: LoopKind = LoopKind {
    name: "asyncio",
    sign: Sign::Shown(defers),
    resumes: Resumes::NextIteration,
    tasks: LoopTasks::OfRequests,
    threads: LoopThreads::Work,
    reads_first: false,
    has_rings: false,
};

const fn defers(shown: Shown) -> bool {
    shown.has_deferred && !shown.is_prompt
}
