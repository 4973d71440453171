//! The loop of a front end that is traced with the server: nginx and others of its kind.
//!
//! In: that a process stands before the server. Out: its row. Read off nginx 1.22: `src/event/ngx_event.c`,
//! `modules/ngx_epoll_module.c`, `src/http/ngx_http_upstream.c`.
//!
//! Its scripts: `pipeline/tests/loops/front_end.rs`.

use super::{LoopKind, LoopTasks, LoopThreads, Resumes, Sign};
use crate::fact::ProcessSeen;

/// Its row. A callback of one descriptor runs to its end: whose request was read connects to the server right
/// away. A request that has got a part of its answer goes on with the rest alone. That it is answered one
/// iteration after it was read, as on asyncio, only says how fast the server was.
pub static FRONT_END: LoopKind = LoopKind {
    name: "front end",
    sign: Sign::Loaded { is_loaded: stands_before, alone: false },
    resumes: Resumes::Untold,
    tasks: LoopTasks::OfRequests,
    threads: LoopThreads::Work,
    reads_first: false,
    has_rings: false,
};

const fn stands_before(process: &ProcessSeen) -> bool {
    process.front_end
}
