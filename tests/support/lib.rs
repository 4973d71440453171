//! What replay and live tests share: servers, clients, gates.
//!
//! In: the virtual environments that `make setup` made, and the scripts under `apps/` and `clients/`. Out:
//! helpers for the test files beside this directory. Whatever they start, they end, and nothing else.

pub mod address;
pub mod agent;
pub mod backend;
pub mod busy;
pub mod cgroup;
pub mod child;
pub mod collector;
pub mod digests;
pub mod dropping;
pub mod duckdb;
pub mod environment;
pub mod families;
pub mod fleet;
pub mod freezer;
pub mod gate;
pub mod gil_episodes;
pub mod gil_lines;
pub mod gunicorn;
pub mod hostile;
pub mod intervals;
pub mod isolated;
pub mod kernel_trace;
pub mod lasting;
pub mod late_timers;
pub mod load;
pub mod named;
pub mod notes;
pub mod one_at_a_time;
pub mod peer;
pub mod phase_sums;
pub mod picture;
pub mod podman;
pub mod program;
pub mod published;
pub mod raw;
pub mod recorded;
pub mod replayed;
pub mod reported;
pub mod scenario;
pub mod scheduler;
pub mod server;
pub mod stalled_disk;
pub mod steal;
pub mod steps;
pub mod stores;
pub mod switches;
pub mod task_names;
pub mod terminal;
pub mod toy;
pub mod trace;
pub mod tracer;
pub mod unix_client;
pub mod verdict;
pub mod whole_lines;
pub mod witness;
pub mod yardstick;

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
