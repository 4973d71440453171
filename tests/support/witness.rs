//! What the application's own clocks say of the `/truth` routes.
//!
//! In: JSON lines. Out: one [`Witness`] a request.

use serde::Deserialize;

use crate::whole_lines::whole_lines;

/// One piece of work of known kind, measured by the thread that did it.
#[derive(Clone, Debug, Deserialize)]
pub struct Witness {
    /// The unique number that ends the request's path.
    pub id: String,
    /// `sleep`, `backend`, `lock`, `cpu`, `file`, `child` and others of `tests/apps/demo_app.py`.
    pub kind: String,
    /// Milliseconds asked for.
    pub asked_ms: f64,
    /// How often it did that.
    #[serde(default)]
    pub calls: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Start, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// End, `CLOCK_MONOTONIC`.
    pub end_ns: u64,
    /// `hold`: when it was to give the interpreter lock up; `want`: when it wanted it. `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub until_ns: Option<u64>,
    /// `output`: how long it read what a child wrote.
    #[serde(default)]
    pub read_ns: Option<u64>,
    /// End − start.
    pub wall_ns: u64,
    /// CPU time of the thread in between.
    pub cpu_ns: u64,
    /// Time that the thread was runnable without a CPU in between.
    pub run_queue_ns: u64,
}

impl Witness {
    /// Time that the thread slept in between.
    pub const fn asleep_ns(&self) -> u64 {
        self.wall_ns.saturating_sub(self.cpu_ns).saturating_sub(self.run_queue_ns)
    }
}

/// Reads the whole JSON lines; one that is being written is left.
///
/// # Errors
///
/// Where a line is not a witness.
pub fn parse(text: &str) -> anyhow::Result<Vec<Witness>> {
    whole_lines(text).map(|line| Ok(serde_json::from_str(line)?)).collect()
}
