//! Situations of real servers, each of which has one verdict: what live tests provoke and what recordings
//! hold.
//!
//! In: the tables. Out: a server in that situation, with its clients at work, for as long as the value lives.

mod chains;
mod gunicorn;
mod light;
mod others;
mod stacks;

use std::any::Any;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cgroup::CpuQuota;
use crate::child::until;
use crate::dropping;
use crate::lasting;
use crate::load::Load;
use crate::server::{Recipe, Server};

/// Clients go on for this long beyond the window: attaching, detaching and a busy machine are in it.
const MARGIN_SECONDS: u64 = 25;
/// Time for the clients to reach their stride.
const RUN_UP: Duration = Duration::from_millis(500);

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Clients come when they like: options of `clients/load.py`.
    Any(&'static [&'static str]),
    /// As `Any`; `--sticky` clients all use the same worker process.
    OneWorker(&'static [&'static str]),
    /// Clients are not served, or leave: a plan of `clients/dropping.py`, carried out once within the window.
    Dropping(&'static [&'static str]),
    /// WebSockets and streams of events, some of which stay: `lasting::visit`, once within the window.
    Lasting,
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
    /// Nothing is wrong, and this is what requests usually do.
    Usual(&'static str),
    /// Nothing is wrong.
    Healthy,
    /// Nothing can be said: there is no traffic.
    Undecided,
    /// Nothing is found, and most checks cannot be made.
    Unsaid,
}

impl Verdict {
    /// Whether it calls for this finding, or allows it.
    pub fn names(&self, id: &str) -> bool {
        match self {
            Self::First(first, others) => *first == id || others.contains(&id),
            Self::OneOf(firsts, others) => firsts.contains(&id) || others.contains(&id),
            Self::Usual(usual) => *usual == id,
            Self::Healthy | Self::Undecided | Self::Unsaid => false,
        }
    }
}

/// One situation.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name, also of its recording.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The server.
    pub server: fn() -> Box<dyn Recipe>,
    /// Its clients.
    pub clients: Clients,
    /// CPU quota of the server, in cores.
    pub quota_cores: Option<f64>,
    /// How long it is watched; longer than findings need, shorter than would make a large recording.
    pub window: Duration,
    /// How it is watched: options of the program beside the target.
    pub options: &'static [&'static str],
    /// Half-way one window ends and the next begins, as in `serve`.
    pub rolls: bool,
    /// What must be said of it.
    pub verdict: Verdict,
}

/// A situation going on.
#[derive(Debug)]
pub struct Running {
    // In this order: clients end before their server, the server before its cgroup can be removed.
    _load: Option<Load>,
    /// The server.
    pub server: Server,
    options: Vec<String>,
    clients: Clients,
    _quota: Option<CpuQuota>,
}

/// Every situation.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    gunicorn::SCENARIOS
        .iter()
        .chain(others::SCENARIOS)
        .chain(light::SCENARIOS)
        .chain(stacks::SCENARIOS)
        .chain(chains::SCENARIOS)
}

const fn scenario(
    name: &'static str,
    about: &'static str,
    server: fn() -> Box<dyn Recipe>,
    clients: Clients,
    verdict: Verdict,
) -> Scenario {
    let window = Duration::from_secs(2);
    Scenario { name, about, server, clients, quota_cores: None, window, options: &[], rolls: false, verdict }
}

impl Running {
    /// Arguments of `wsgi-trace` that name the target and say how it is watched.
    pub fn target(&self) -> Vec<String> {
        let pid = ["--pid".to_owned(), self.server.pid().to_string()];
        pid.into_iter().chain(self.options.iter().cloned()).collect()
    }

    /// What clients do only once somebody watches; returns at its end, with what is to be kept until the
    /// window's. `None`: nothing, the window ends by its length.
    ///
    /// # Errors
    ///
    /// Where the clients fail.
    pub fn act(&self) -> anyhow::Result<Option<Box<dyn Any>>> {
        let address = self.server.address();
        Ok(match self.clients {
            Clients::Dropping(plan) => Some(Box::new(dropping::Clients::run(address, plan)?)),
            Clients::Lasting => Some(Box::new(lasting::visit(address)?)),
            _ => None,
        })
    }
}

impl Scenario {
    /// The situation of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        all().find(|scenario| scenario.name == name)
    }

    /// Where its recording stands.
    pub fn recording(&self) -> std::path::PathBuf {
        crate::root().join("tests/recordings").join(self.name).with_extension("wtrace")
    }

    /// Its window as an argument of `--duration`.
    pub fn duration(&self) -> String {
        format!("{}ms", self.window.as_millis())
    }

    /// Brings the situation about, to be watched for its window.
    ///
    /// # Errors
    ///
    /// Where the server or its clients do not come up, or the machine has no cgroup to limit CPU time with.
    pub fn start(&self) -> anyhow::Result<Running> {
        let recipe = (self.server)();
        let server = Server::start(recipe.as_ref())?;
        let quota = self.quota_cores.map(|cores| CpuQuota::around(&server, cores)).transpose()?;
        let in_front = server.pids().get(1).copied().filter(|_| recipe.traces_front_end());
        let in_front = in_front.map(|pid| format!("--with-front-end={pid}"));
        let options = self.options.iter().map(|&option| option.to_owned()).chain(in_front).collect();
        let load = match self.clients {
            Clients::Nobody | Clients::Dropping(_) | Clients::Lasting => None,
            Clients::Any(options) => Some(self.load(&server, options, false)?),
            Clients::OneWorker(options) => Some(self.load(&server, options, true)?),
        };
        Ok(Running { _load: load, server, options, clients: self.clients, _quota: quota })
    }

    fn load(&self, server: &Server, options: &[&str], sticky: bool) -> anyhow::Result<Load> {
        let seconds = format!("--seconds={}", self.window.as_secs().saturating_add(MARGIN_SECONDS));
        let mut all = vec![seconds, "--no-requests".to_owned()];
        all.extend(options.iter().map(|&option| option.to_owned()));
        if sticky {
            let worker = server.worker_pids().into_iter().next().context("there is no worker")?;
            all.push(format!("--sticky-pid={worker}"));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let load = Load::start(server.address(), &all)?;
        server.log(1)?;
        // A queue is not there at once; what is watched is the state, not the start.
        let start = Instant::now();
        until("the run-up", RUN_UP * 2, || Ok((start.elapsed() >= RUN_UP).then_some(())))?;
        Ok(load)
    }
}
