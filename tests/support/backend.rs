//! The back end that the application asks.
//!
//! In: nothing. Out: its address; it ends when dropped.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::child::Child;
use crate::environment;

/// A running `apps/backend.py`.
#[derive(Debug)]
pub struct Backend {
    _child: Child,
    /// `host:port`, as the application takes it in `BACKEND_ADDRESS`.
    pub address: String,
}

impl Backend {
    /// Starts it on a free port of loopback.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(environment::program("venv27", "python"));
        command.arg(crate::root().join("tests/apps/backend.py")).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = Child::start(&mut command, "the back end")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        let port = line.trim().strip_prefix("listening ").context("the back end did not say its port")?;
        Ok(Self { _child: child, address: format!("127.0.0.1:{port}") })
    }
}
