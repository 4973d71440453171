//! The signals that end a run: Ctrl-C, SIGTERM, SIGHUP.
//!
//! In: nothing. Out: a wait for any of them.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::SessionError;

/// From when it exists on, none of these signals ends the program by itself.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes them over.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn new() -> Result<Self, SessionError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
