//! gevent's loop (libev or libuv) and its greenlets.
//!
//! In: mapped files. Out: its row. Read off `gevent/_ffi/loop.py` and `gevent/threadpool.py`, 1.5 to 26.9.
//!
//! Its scripts: `pipeline/tests/loops/{gevent,tasks}.rs`.

use super::{LoopKind, LoopTasks, LoopThreads, Resumes, Sign};
use crate::fact::ProcessSeen;

/// Its row. Its loop runs timers as soon as it has looked, and what greenlets made ready for one another
/// before it looks. Threads of its pool resolve names.
pub static GEVENT: LoopKind = LoopKind {
    name: "gevent",
    sign: Sign::Loaded { is_loaded: ProcessSeen::maps_gevent, alone: true },
    resumes: Resumes::TimersFirst,
    tasks: LoopTasks::OfConnections,
    threads: LoopThreads::Help,
    reads_first: false,
    has_rings: false,
};

impl ProcessSeen {
    /// Whether gevent is loaded: its event loop and its greenlets are extension modules (`_gevent_c…`,
    /// `corecext`; or the package's name for what else is mapped of it).
    pub fn maps_gevent(&self) -> bool {
        let names = ["_gevent", "gevent", "corecext"];
        self.mapped_files.iter().any(|name| {
            let name = name.rsplit('/').next().unwrap_or_default();
            names.iter().any(|prefix| name.starts_with(prefix))
        })
    }
}
