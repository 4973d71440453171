//! Clients: `clients/load.py` as a child process.
//!
//! In: a server's address and the script's own options. Out: what was sent and what came back.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::address::Address;
use crate::child::Child;
use crate::gunicorn::Version;

/// One request of a client.
#[derive(Clone, Debug, Deserialize)]
pub struct SentRequest {
    /// The unique number that ends the path.
    pub id: u64,
    /// `get`, `head`, `sized`, `chunked`, `expect`, `pipeline`, `slow_body`, `slow_head`, `slow_reader`.
    pub kind: String,
    /// Method.
    pub method: String,
    /// Path.
    pub path: String,
    /// Status of the answer; none came otherwise.
    pub status: Option<u16>,
    /// Body bytes of the answer.
    #[serde(default)]
    pub body_bytes: u64,
    /// When it was to be sent, `CLOCK_MONOTONIC`: from then on its client waited, for a connection first.
    pub due_ns: u64,
    /// Before its first byte was sent, `CLOCK_MONOTONIC` (0: it never was).
    #[serde(default)]
    pub sent_ns: u64,
    /// After its last byte was handed to the kernel, `CLOCK_MONOTONIC` (0: not told for requests of this
    /// kind).
    #[serde(default)]
    pub all_sent_ns: u64,
    /// First byte of the answer, `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub first_byte_ns: u64,
    /// Last byte of the answer, `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub end_ns: u64,
    /// The client's thread (0: not told for requests of this kind).
    #[serde(default)]
    pub tid: u32,
    /// The client's port (0: UNIX socket, or pipelined).
    #[serde(default)]
    pub port: u16,
}

/// All that the clients did.
#[derive(Clone, Debug, Deserialize)]
pub struct Sent {
    /// When they began, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// When the last ended, `CLOCK_MONOTONIC`.
    pub end_ns: u64,
    /// Sums.
    pub counts: Counts,
    /// Every request that was begun.
    pub requests: Vec<SentRequest>,
    /// Those that were due and could not be sent: there was no connection, or the time was over before it
    /// was their turn.
    pub unsent: Vec<SentRequest>,
}

/// Sums of what the clients did.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Counts {
    /// Connections that were made: the last of each client may have asked nothing, as the time was over.
    pub connections: u64,
}

impl Sent {
    /// Requests that got a whole answer.
    pub fn answered(&self) -> usize {
        self.requests.iter().filter(|request| request.status.is_some()).count()
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    child: Child,
    output: NamedTempFile,
}

impl Load {
    /// Starts clients; `options` are those of `clients/load.py --help`, its bounds among them.
    ///
    /// # Errors
    ///
    /// Where Python cannot be started.
    pub fn start(address: &Address, options: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(Version::V27.python());
        command.arg(crate::root().join("tests/clients/load.py"));
        match address {
            Address::Tcp(address) => command.args(["--address", address]),
            Address::Unix(path) => command.arg("--unix").arg(path),
        };
        command.args(options);
        Self::of(command)
    }

    /// Starts clients by a command that becomes them: in another namespace, for one.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn of(mut command: Command) -> anyhow::Result<Self> {
        let output = NamedTempFile::new()?;
        command.stdin(Stdio::null()).stdout(File::create(output.path())?);
        Ok(Self { child: Child::start(&mut command, "the clients")?, output })
    }

    /// Starts clients and waits for their end.
    ///
    /// # Errors
    ///
    /// As [`Load::start`] and [`Load::finish`].
    pub fn run(address: &Address, options: &[&str]) -> anyhow::Result<Sent> {
        Self::start(address, options)?.finish()
    }

    /// How the clients have ended, where they have.
    ///
    /// # Errors
    ///
    /// Where the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        self.child.ended()
    }

    /// Ends the clients at once, in the middle of what they do.
    pub fn kill(self) {
        self.child.signal(libc::SIGKILL);
    }

    /// Asks the clients to finish the requests that they have begun, and no more.
    pub fn stop_early(&self) {
        self.child.signal(libc::SIGTERM);
    }

    /// Waits until the clients have reached their bounds.
    ///
    /// # Errors
    ///
    /// Where they fail or do not end.
    pub fn finish(mut self) -> anyhow::Result<Sent> {
        let status = self.child.wait(Duration::from_secs(120))?;
        if !status.success() {
            bail!("the clients failed: {status}");
        }
        let text = std::fs::read_to_string(self.output.path())?;
        serde_json::from_str(&text).context("the clients' summary cannot be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address where nobody listens.
    fn nobody() -> Address {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Address::Tcp(listener.local_addr().unwrap().to_string())
    }

    #[test]
    fn a_client_that_is_refused_leaves_what_it_wanted_to_send() {
        for kind in [&["--clients=1"][..], &["--clients=1", "--every-ms=20"], &["--clients=0", "--idle=1"]] {
            // On a busy host a client began after 0.2 s, and wanted nothing any more.
            let sent = Load::run(&nobody(), &[&["--seconds=2"], kind].concat()).unwrap();
            assert!(sent.requests.is_empty() && !sent.unsent.is_empty(), "{kind:?}: {sent:?}");
            let is_due = |one: &SentRequest| (sent.start_ns..=sent.end_ns).contains(&one.due_ns);
            assert!(sent.unsent.iter().all(|one| one.status.is_none() && is_due(one)), "{kind:?}: {sent:?}");
        }
    }
}
