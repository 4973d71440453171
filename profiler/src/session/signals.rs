//! The signals that end a run: Ctrl-C, SIGTERM, SIGHUP.
//!
//! In: nothing. Out: a wait for any of them.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::SessionError;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The end of the run.
    End,
    /// Setting aside what is kept in memory.
    SetAside,
}

/// From when it exists on, none of these signals ends the program by itself.
pub struct Signals {
    ends: Ends,
    set_aside: Option<Signal>,
}

/// Those that end a run.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

impl Signals {
    /// Takes them over.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn new() -> Result<Self, SessionError> {
        let ends = Ends {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        };
        Ok(Self { ends, set_aside: None })
    }

    /// These signals, with SIGUSR1, which then ends the program no more.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn and_set_aside(mut self) -> Result<Self, SessionError> {
        self.set_aside = Some(signal(SignalKind::user_defined1())?);
        Ok(self)
    }

    /// Waits for one that ends the run.
    pub async fn any(&mut self) {
        self.ends.any().await;
    }

    /// Waits for the next one, SIGUSR1 among them.
    pub async fn next(&mut self) -> Heard {
        let Self { ends, set_aside } = self;
        let set_aside = async {
            match set_aside {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ends.any() => Heard::End,
            _ = set_aside => Heard::SetAside,
        }
    }
}
