//! The long-running agent: follows a server across restarts and shows over HTTP what it sees.
//!
//! In: a way to find the server, an address to listen on. Out: metrics, reports of rolling windows, a page,
//! the state of its health. One thread owns the session and everything measured; another one serves HTTP,
//! from what the first puts on the [`board`]. Nothing here grows with time: series, windows, connections and
//! answers are bounded.

pub mod board;
pub mod buckets;
pub mod budget;
pub mod change;
pub mod cost;
pub mod counts;
pub mod exposition;
pub mod follow;
pub mod frozen;
pub mod full;
mod heap;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod newest;
pub mod node;
pub mod tally;
pub mod trigger;

use std::io;

use crate::export::ExportError;
use crate::session::SessionError;

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] listen::ListenError),
    /// Attaching failed in a way that waiting does not mend.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// No rows can be written where they were wanted.
    #[error(transparent)]
    Rows(#[from] ExportError),
    /// The one process that was named has ended.
    #[error("process {pid} has ended; --name and --port follow a server across restarts")]
    TargetGone {
        /// The process.
        pid: u32,
    },
    /// The runtime or a thread could not be started.
    #[error("the agent could not be driven: {0}")]
    Runtime(#[from] io::Error),
}
