//! The clients: `clients/thousand.py`.
//!
//! In: an address, how many, how long. Out: how many saw what.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gunicorn::Version;

/// What they saw.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Seen {
    /// How many saw what, as `clients/thousand.py` names it.
    pub(crate) clients: BTreeMap<String, u64>,
    /// Those that the server's side had a connection of.
    pub(crate) connected: u64,
}

impl Seen {
    /// Clients that got a whole answer of the application's.
    pub(crate) fn answered(&self) -> u64 {
        self.clients.get("200").copied().unwrap_or(0)
    }
}

/// Runs them to their end.
pub(crate) fn run(address: &Address, count: u64, path: &str, patience: Duration) -> anyhow::Result<Seen> {
    let Address::Tcp(address) = address else { bail!("over TCP only") };
    let output = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(Version::V27.python());
    command
        .arg(wsgi_trace_test_support::root().join("tests/clients/thousand.py"))
        .args(["--address", address, "--count", &count.to_string(), "--path", path])
        .args(["--seconds", &patience.as_secs().to_string()]);
    command.stdin(Stdio::null()).stdout(std::fs::File::create(output.path())?);
    let status = Child::start(&mut command, "the clients")?.wait(patience + Duration::from_secs(30))?;
    ensure!(status.success(), "the clients failed: {status}");
    let text = std::fs::read_to_string(output.path())?;
    let seen: Seen = serde_json::from_str(&text).context("what the clients saw cannot be read")?;
    let all: u64 = seen.clients.values().sum();
    ensure!(all == count, "{all} of {count} clients told what they saw");
    Ok(seen)
}
