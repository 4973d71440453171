//! Settings that tests advise on.
//!
//! In: nothing. Out: one of processes, one of threads.

use super::{Setting, Sizes};

pub(crate) fn workers() -> Setting {
    Setting::named("--workers").now(2).sizing(Sizes::Processes)
}

pub(crate) fn threads() -> Setting {
    Setting::named("--threads").now(8).sizing(Sizes::Threads)
}
