//! Clients that are not served, or leave: `clients/dropping.py`, and what the report says of them.
//!
//! In: a server's address and a plan; a report. Out: what each client saw; the report's causes, by name.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::address::Address;
use crate::child::Child;
use crate::gunicorn::Version;
use crate::trace::Traced;

/// What one client saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Client {
    /// What it was to do.
    pub kind: String,
    /// What it asked for.
    pub path: String,
    /// What it saw, as `clients/dropping.py` names it.
    #[serde(default)]
    pub saw: String,
    /// What it saw after the response (`post`).
    #[serde(default)]
    pub then: String,
    /// The server had closed the connection before the last request (`late`).
    #[serde(default)]
    pub closed_first: bool,
    /// Begin, `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub start_ns: u64,
    /// End, `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub end_ns: u64,
}

/// What all saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// In the order of the plan.
    pub clients: Vec<Client>,
}

impl Seen {
    /// How many saw what.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for client in &self.clients {
            *counts.entry(client.saw.clone()).or_default() += 1;
        }
        counts
    }

    /// Clients that saw this.
    pub fn count(&self, saw: &str) -> u64 {
        self.counts().get(saw).copied().unwrap_or(0)
    }

    /// Clients that got a connection.
    pub fn connected(&self) -> u64 {
        self.clients.iter().filter(|client| !matches!(client.saw.as_str(), "refused" | "unconnected")).count()
            as u64
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Clients {
    /// Starts clients; `arguments` are those of `clients/dropping.py --help`, the plan last.
    ///
    /// # Errors
    ///
    /// Where Python cannot be started, or the server is not reached over TCP.
    pub fn start(address: &Address, arguments: &[&str]) -> anyhow::Result<Self> {
        let Address::Tcp(address) = address else { bail!("over TCP only") };
        let output = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(Version::V27.python());
        command
            .arg(crate::root().join("tests/clients/dropping.py"))
            .args(["--address", address])
            .args(arguments);
        command.stdin(Stdio::null()).stdout(std::fs::File::create(output.path())?);
        Ok(Self { child: Child::start(&mut command, "the clients")?, output })
    }

    /// Waits until all have seen their end.
    ///
    /// # Errors
    ///
    /// Where they fail or do not end.
    pub fn finish(mut self) -> anyhow::Result<Seen> {
        let status = self.child.wait(Duration::from_secs(120))?;
        if !status.success() {
            bail!("the clients failed: {status}");
        }
        let text = std::fs::read_to_string(self.output.path())?;
        serde_json::from_str(&text).context("what the clients saw cannot be read")
    }

    /// Starts clients and waits until all have seen their end.
    ///
    /// # Errors
    ///
    /// As [`Self::start`] and [`Self::finish`].
    pub fn run(address: &Address, arguments: &[&str]) -> anyhow::Result<Seen> {
        Self::start(address, arguments)?.finish()
    }
}

/// What a report says became of connections.
#[derive(Clone, Debug, Deserialize)]
pub struct Drops {
    /// Served.
    pub served: u64,
    /// Ended without a request.
    pub nothing_asked: u64,
    /// Neither seen to be served nor not, as records were lost.
    pub undecided: u64,
    /// Open at the end.
    pub open: u64,
    /// Not served.
    pub dropped: u64,
    /// By cause.
    pub causes: Vec<Cause>,
    /// Failing accepts.
    pub accept_failures: Vec<AcceptFailure>,
    /// Ends of processes.
    pub worker_ends: Vec<WorkerEnd>,
}

/// One cause.
#[derive(Clone, Debug, Deserialize)]
pub struct Cause {
    /// Its name.
    pub cause: String,
    /// Connections.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One connection.
#[derive(Clone, Debug, Deserialize)]
pub struct Example {
    /// When it was over.
    pub time_ns: u64,
    /// Its request.
    pub request: Option<Request>,
    /// How long its client had waited.
    pub waited_ns: Option<u64>,
    /// What shows the cause.
    pub evidence: String,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// Path.
    pub path: Option<String>,
    /// What it was in as its process ended.
    pub was: Option<Was>,
}

/// Where in Python a request was.
#[derive(Clone, Debug, Deserialize)]
pub struct Was {
    /// `asleep` or `computing`.
    pub state: String,
    /// The application's lines.
    pub own_lines: Option<String>,
    /// Name of the call in which it slept.
    pub system_call: Option<String>,
    /// How long it had slept.
    pub slept_ns: Option<u64>,
}

/// Failing accepts of one process.
#[derive(Clone, Debug, Deserialize)]
pub struct AcceptFailure {
    /// The error's name.
    pub error: String,
    /// Calls.
    pub count: u64,
    /// Limit of open files.
    pub open_files_limit: Option<u64>,
}

/// The end of a process.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkerEnd {
    /// Process.
    pub pid: u32,
    /// Why.
    pub cause: String,
    /// The request that had run longest.
    pub request: Option<Request>,
}

impl Drops {
    /// Of a report.
    ///
    /// # Errors
    ///
    /// Where it does not hold the section.
    pub fn of(traced: &Traced) -> anyhow::Result<Self> {
        Ok(serde_json::from_value(traced.value("/drops")?.clone())?)
    }

    /// Causes with their counts, by name.
    pub fn counts(&self) -> BTreeMap<&str, u64> {
        self.causes.iter().map(|cause| (cause.cause.as_str(), cause.count)).collect()
    }

    /// The first connection of a cause.
    pub fn first(&self, cause: &str) -> Option<&Example> {
        self.causes.iter().find(|counted| counted.cause == cause)?.examples.first()
    }
}
