//! uvloop: asyncio's tasks on libuv.
//!
//! In: mapped files. Out: its row. Read off `uvloop/loop.pyx` 0.23 and libuv's `src/unix/async.c`.
//!
//! Its scripts: `pipeline/tests/loops/{handed,tasks}.rs`, and the case `OnUvloop` of `asyncio.rs` there.

use super::{LoopKind, LoopTasks, LoopThreads, Resumes, Sign};
use crate::fact::ProcessSeen;

/// Its row. libuv reads all that is ready first, and only then resumes the requests for which it was read.
/// What they write is sent once all callbacks that are ready have run (`_on_idle`): until then their
/// transports are in a set (`_exec_queued_writes`). `uv_async_send` writes nothing while a note is pending.
/// By io_uring it tells epoll what to wait for, and may read files.
pub static UVLOOP: LoopKind = LoopKind {
    name: "uvloop",
    sign: Sign::Loaded { is_loaded: ProcessSeen::maps_uvloop, alone: false },
    resumes: Resumes::Untold,
    tasks: LoopTasks::OfRequests,
    threads: LoopThreads::WorkUnordered,
    reads_first: true,
    has_rings: true,
};

impl ProcessSeen {
    /// Whether uvloop is loaded (`uvloop/loop.cpython-….so`; or the package's name): its loop is another than
    /// asyncio's own.
    pub fn maps_uvloop(&self) -> bool {
        self.mapped_files.iter().any(|name| {
            name.rsplit('/').next().is_some_and(|name| name.starts_with("loop.") || name.contains("uvloop"))
        })
    }
}
