//! A server under load, watched for a few seconds: a cell of the lab, a trial of advice, a mix.
//!
//! In: a recipe, its CPU quota, programs of clients. Out: the JSON report, also as a file, and what the
//! clients sent.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;

use wsgi_trace_test_support::cgroup::CpuQuota;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::{self, Turn};
use wsgi_trace_test_support::load::{Load, SentRequest};
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::server::{Recipe, Server};

/// From the start of wsgi-trace to its report.
const TRACE_LIMIT: Duration = Duration::from_secs(40);
/// Clients end by themselves after this time, should nobody end them.
const CLIENTS_SECONDS: &str = "--seconds=60";
/// How long to wait until live tests beside this run are done.
const TURN_LIMIT: Duration = Duration::from_secs(2);

/// Why there is nothing to watch: a context of the error, which callers can ask for.
#[derive(Clone, Copy, Debug)]
pub struct NotStarted;

impl std::fmt::Display for NotStarted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the server does not start")
    }
}

/// A server that was watched; its clients are still at work.
#[derive(Debug)]
pub struct Watched {
    // In this order: clients end before their server, the server before its cgroup can be removed.
    loads: Vec<Load>,
    server: Server,
    _quota: Option<CpuQuota>,
    _turn: Option<Turn>,
    report: String,
}

/// Starts a server, under a quota of so many cores where one is given, and its clients, each program with
/// these options of `clients/load.py`. Watches them once they have run up, for a window as `--duration` takes
/// it, and keeps the report as `file`.
///
/// # Errors
///
/// Where the server does not come up, its clients end too early, or there is no report.
pub fn watch(
    (recipe, quota_cores): (&dyn Recipe, Option<f64>),
    clients: &[&[&str]],
    (run_up, window): (Duration, &str),
    file: &Path,
) -> anyhow::Result<Watched> {
    let turn = gate::exclusive_within(TURN_LIMIT)?;
    let server = Server::start(recipe).context(NotStarted)?;
    let quota = quota_cores.map(|cores| CpuQuota::around(&server, cores)).transpose()?;
    let mut watched =
        Watched { loads: Vec::new(), server, _quota: quota, _turn: turn, report: String::new() };
    for (options, number) in clients.iter().zip(1_u64..) {
        // Numbers of requests are unique among all programs.
        let first = format!("--first-id={}", number * 1_000_000 + 1);
        let mut all = vec![CLIENTS_SECONDS, "--timeout=10", first.as_str()];
        all.extend(options.iter().copied());
        if recipe.clients().keep_alive == "1" {
            // The server closes after each response: a client that does not know would race with that.
            all.push("--keep-alive=1");
        }
        watched.loads.push(Load::start(watched.server.address(), &all)?);
    }
    let start = Instant::now();
    until("the run-up", run_up * 2, || Ok((start.elapsed() >= run_up).then_some(())))?;
    let pid = watched.server.pid().to_string();
    let outcome = Program::run(&["--pid", &pid, "--duration", window, "--format", "json"], TRACE_LIMIT)?;
    if !outcome.status.success() {
        bail!("wsgi-trace: {}: {}", outcome.status, outcome.stderr.lines().last().unwrap_or_default());
    }
    for load in &mut watched.loads {
        if let Some(status) = load.ended()? {
            bail!("the clients ended before the watch did: {status}");
        }
    }
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(file, &outcome.stdout)?;
    watched.report = outcome.stdout;
    Ok(watched)
}

impl Watched {
    /// The report, as far as `T` reads it.
    ///
    /// # Errors
    ///
    /// Where it lacks what `T` wants.
    pub fn report<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.report).context("the report cannot be read")
    }

    /// Ends the clients after the requests that they have begun; what they sent, and what they could not
    /// send.
    ///
    /// # Errors
    ///
    /// Where they fail or do not end.
    pub fn sent(self) -> anyhow::Result<Vec<SentRequest>> {
        for load in &self.loads {
            load.stop_early();
        }
        let mut requests = Vec::new();
        for load in self.loads {
            let of_load = load.finish()?;
            requests.extend(of_load.requests);
            requests.extend(of_load.unsent);
        }
        Ok(requests)
    }

    /// Ends the clients in the middle of what they do.
    pub fn cut(self) {
        for load in self.loads {
            load.kill();
        }
    }
}
