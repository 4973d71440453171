//! `wsgi-trace top`: the live screen in a terminal, on a running server or on a recording.
//!
//! In: a session or a recording, keys. Out: a screen, redrawn a few times a second; a report if one is
//! wanted. What the screen looks like is `report::screen`; here are time, keys and the terminal.

pub mod collect;
pub mod key;
pub mod live;
pub mod node;
pub mod plan;
pub mod play;
pub mod recording;
pub mod terminal;
pub mod ui;

use std::io;

use crate::report::output::OutputError;
use crate::session::SessionError;

/// Why the screen could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// There is no terminal.
    #[error(
        "top draws on a terminal, and {what}; for a report without one: wsgi-trace --pid PID --duration 30s, \
         or wsgi-trace report FILE"
    )]
    NoTerminal {
        /// What is none.
        what: &'static str,
    },
    /// The terminal cannot be written to.
    #[error("the terminal cannot be used: {0}")]
    Terminal(io::Error),
    /// The session or the recording.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The report cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}
