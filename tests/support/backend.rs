//! The back end that the application asks.
//!
//! In: nothing. Out: its address; it ends when dropped.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::child::Child;
use crate::environment;

/// A running `apps/backend.py`.
#[derive(Debug)]
pub struct Backend {
    child: Child,
    said: BufReader<ChildStdout>,
    /// `host:port`, as the application takes it in `BACKEND_ADDRESS`.
    pub address: String,
}

impl Backend {
    /// Starts it on a free port of loopback, and returns when it answers.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn start() -> anyhow::Result<Self> {
        let mut begun = Self::begin()?;
        begun.until_it_answers()?;
        Ok(begun)
    }

    /// Starts it without waiting for it: meanwhile who asks it can start, and waits until it takes its
    /// connections.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn begin() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let mut command = Command::new(environment::program("venv27", "python"));
        command.arg(crate::root().join("tests/apps/backend.py")).arg("--inherited");
        command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::piped());
        let mut child = Child::start(&mut command, "the back end")?;
        let said = BufReader::new(child.take_stdout().context("no output")?);
        Ok(Self { child, said, address })
    }

    /// Starts one that listens at a UNIX socket of this path; its address is `unix:PATH`.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn start_at(path: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(environment::program("venv27", "python"));
        command.arg(crate::root().join("tests/apps/backend.py")).arg("--unix").arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Child::start(&mut command, "the back end")?;
        let said = BufReader::new(child.take_stdout().context("no output")?);
        let mut begun = Self { child, said, address: format!("unix:{}", path.display()) };
        begun.until_it_answers()?;
        Ok(begun)
    }

    /// PID.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Waits until it takes connections, and its name server datagrams.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn until_it_answers(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        let place =
            line.trim().strip_prefix("listening ").context("the back end did not say where it listens")?;
        ensure!(self.address.ends_with(&format!(":{place}")), "the back end listens at {place}");
        Ok(())
    }
}
