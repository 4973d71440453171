//! trio's loop.
//!
//! In: what a loop's calls have shown. Out: its row. Read off `trio/_core/_run.py`, `_io_epoll.py` and
//! `_threads.py`, 0.35.
//!
//! Its scripts: `pipeline/tests/loops/trio.rs`.

use super::{LoopKind, LoopTasks, LoopThreads, Resumes, Shown, Sign};

/// Its row. A task makes its own calls: it asks for one event of a descriptor (`EPOLLONESHOT`), and reads in
/// the iteration that brings it. What another task or a thread resumes runs in the next iteration. hypercorn
/// reads by a task of the connection's, which asks for more as soon as a request is whole. An iteration runs
/// its tasks in an order that is drawn by lot.
pub static TRIO: LoopKind = LoopKind {
    name: "trio",
    sign: Sign::Shown(is_one_shot),
    resumes: Resumes::OwnAtOnce,
    tasks: LoopTasks::BesideReader,
    threads: LoopThreads::Work,
    reads_first: false,
    has_rings: false,
};

const fn is_one_shot(shown: Shown) -> bool {
    shown.is_one_shot
}
