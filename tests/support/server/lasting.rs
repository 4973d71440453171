//! Servers whose connections become something else (`apps/lasting.py`): WebSockets and streams of events.
//!
//! In: which server. Out: a recipe. Both run in the environment that has libraries for WebSockets.

use std::process::Command;

use super::{Place, Recipe};
use crate::environment;

/// `lasting`, served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// By one worker of gunicorn with so many threads: each that lasts has one.
    Gthread {
        /// Threads of its pool.
        threads: u32,
    },
    /// By the loop of uvicorn.
    Uvicorn,
}

impl Recipe for Lasting {
    fn name(&self) -> &'static str {
        match self {
            Self::Gthread { .. } => "gunicorn",
            Self::Uvicorn => "uvicorn",
        }
    }

    fn about(&self) -> String {
        format!("connections that last, {self:?}")
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut command = Command::new(environment::program("venv-reported", "python"));
        match self {
            Self::Gthread { threads } => {
                command.args(["-m", "gunicorn", "--worker-class", "gthread", "--workers", "1"]);
                command.args(["--bind", &place.address.to_string(), "--threads", &threads.to_string()]);
                // Those that are open would keep it for long.
                command.args(["--graceful-timeout", "1", "--no-control-socket"]);
                command.arg("--chdir").arg(Place::apps()).arg("lasting:app");
            }
            Self::Uvicorn => {
                let (host, port) = place.address.host_and_port();
                command.args(["-m", "uvicorn", "--host", &host, "--port", &port, "--no-access-log"]);
                command.args(["--ws", "wsproto", "--timeout-graceful-shutdown", "1", "lasting:application"]);
            }
        }
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        match self {
            Self::Gthread { threads } => Some(u64::from(*threads)),
            Self::Uvicorn => None,
        }
    }
}
