//! Situations of a real gunicorn, each of which has one verdict: what live tests provoke and what recordings hold.
//!
//! In: the table. Out: a server in that situation, with its clients at work, for as long as the value lives.

mod table;

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cgroup::CpuQuota;
use crate::child::until;
use crate::gunicorn::{Gunicorn, Settings};
use crate::load::Load;
pub use table::SCENARIOS;

/// Clients go on for this long beyond the window: attaching, detaching and a busy machine are in it.
const MARGIN_SECONDS: u64 = 25;
/// Time for the clients to reach their stride.
const RUN_UP: Duration = Duration::from_millis(500);

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// They come when they like: options of `clients/load.py`.
    Any(&'static [&'static str]),
    /// As before; `--sticky` clients all use the same worker process.
    OneWorker(&'static [&'static str]),
    /// Nobody comes.
    Nobody,
}

/// What a report on the situation says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This finding is present and the costliest; beside it only the second list may be present.
    First(&'static str, &'static [&'static str]),
    /// One of the first list is present and the costliest; of the two lists alone others may be.
    OneOf(&'static [&'static str], &'static [&'static str]),
    /// Nothing is wrong.
    Healthy,
    /// Nothing can be said.
    Undecided,
}

/// One situation.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name, also of its recording.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The server.
    pub server: fn() -> Settings,
    /// Its clients.
    pub clients: Clients,
    /// CPU quota of the server, in cores.
    pub quota_cores: Option<f64>,
    /// How long it is watched; longer than findings need, shorter than would make a large recording.
    pub window: Duration,
    /// What must be said of it.
    pub verdict: Verdict,
}

/// A situation going on.
#[derive(Debug)]
pub struct Running {
    // In this order: clients end before their server, the server before its cgroup can be removed.
    _load: Option<Load>,
    /// The server.
    pub server: Gunicorn,
    _quota: Option<CpuQuota>,
}

impl Scenario {
    /// The situation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Its window as an argument of `--duration`.
    #[must_use]
    pub fn duration(&self) -> String {
        format!("{}ms", self.window.as_millis())
    }

    /// Brings the situation about, to be watched for its window.
    ///
    /// # Errors
    ///
    /// Where the server or its clients do not come up, or the machine has no cgroup to limit CPU time with.
    pub fn start(&self) -> anyhow::Result<Running> {
        let server = Gunicorn::start(&(self.server)())?;
        let quota = self.quota_cores.map(CpuQuota::new).transpose()?;
        if let Some(quota) = &quota {
            for pid in server.worker_pids().into_iter().chain([server.master()]) {
                quota.take(pid)?;
            }
        }
        let load = self.clients(&server)?;
        Ok(Running { _load: load, server, _quota: quota })
    }

    fn clients(&self, server: &Gunicorn) -> anyhow::Result<Option<Load>> {
        let (options, sticky) = match self.clients {
            Clients::Nobody => return Ok(None),
            Clients::Any(options) => (options, false),
            Clients::OneWorker(options) => (options, true),
        };
        let seconds = format!("--seconds={}", self.window.as_secs().saturating_add(MARGIN_SECONDS));
        let mut all = vec![seconds, "--no-requests".to_owned()];
        all.extend(options.iter().map(|&option| option.to_owned()));
        if sticky {
            let worker = server.worker_pids().into_iter().next().context("there is no worker")?;
            all.push(format!("--sticky-pid={worker}"));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let load = Load::start(server.address(), &all)?;
        server.access_log(1)?;
        // A queue is not there at once; what is watched is the state, not the start.
        let start = Instant::now();
        until("the run-up", RUN_UP * 2, || Ok((start.elapsed() >= RUN_UP).then_some(())))?;
        Ok(Some(load))
    }
}
