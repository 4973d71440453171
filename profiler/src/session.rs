//! One run from its source to its outputs: live, or from a recording.
//!
//! In: a target or a recording, and where the report goes. Out: the report. Both ways feed the same pipeline.

pub mod attached;
pub mod consumer;
pub mod cost_limit;
pub mod feed;
mod gather;
mod gil;
pub mod known;
pub mod live;
pub mod observer;
mod open_files;
pub(crate) mod pace;
mod patrol;
pub mod progress;
mod queues;
mod recent;
pub mod replay;
pub mod shared;
mod short_turns;
pub mod signals;
mod tls;

use std::io;
use std::path::PathBuf;

use crate::attach::AttachError;
use crate::fact::FactError;
use crate::recording::OpenError;
use crate::recording::RecordError;
use crate::report::output::OutputError;

/// Why a run failed. Each is one sentence that says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The target cannot be found or looked at.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The target serves nothing.
    #[error(
        "process {pid} and its relatives hold no listening socket: it is not a server, or has not started to listen; \
         wsgi-trace list shows the WSGI servers that run"
    )]
    NoListener {
        /// The process that was named.
        pid: u32,
    },
    /// The target ended before the window began.
    #[error("process {pid} ended before anything was seen")]
    TargetGone {
        /// The process that was named.
        pid: u32,
    },
    /// The programs cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] OpenError),
    /// The recording begins like one but holds no part of a window.
    #[error("{} holds nothing that can be read: it was cut off or damaged at its start; record again", path.display())]
    NothingRecorded {
        /// As the user named it.
        path: PathBuf,
    },
    /// The recording cannot be created or written further.
    #[error(transparent)]
    RecordingWrite(#[from] RecordError),
    /// The report cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The timer, the signals or the terminal fail.
    #[error("the run could not be driven: {0}")]
    Runtime(#[from] io::Error),
}
