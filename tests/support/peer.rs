//! A back end that connections get stuck at.
//!
//! In: how. Out: its address and PID; it ends when dropped.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::child::Child;
use crate::environment;

/// How a connection to it gets stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// It is never connected.
    Unreached,
    /// What is sent is never acknowledged.
    Dead,
    /// What is sent is never read.
    Full,
}

/// A running `apps/peer.py`.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// `host:port`.
    pub address: String,
}

impl Peer {
    /// Starts one on loopback.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn start(stuck: Stuck) -> anyhow::Result<Self> {
        let kind = match stuck {
            Stuck::Unreached => "unreached",
            Stuck::Dead => "dead",
            Stuck::Full => "full",
        };
        let mut command = Command::new(environment::program("venv27", "python"));
        command.arg(crate::root().join("tests/apps/peer.py")).arg(kind);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Child::start(&mut command, "the peer")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        let port = line.trim().strip_prefix("ready ").context("the peer did not say its port")?;
        Ok(Self { address: format!("127.0.0.1:{port}"), child })
    }

    /// PID.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }
}
