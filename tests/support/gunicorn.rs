//! A real gunicorn serving `apps/demo_app.py`.
//!
//! In: settings. Out: a server that is ready, its PIDs, its access log and the application's witness; ended
//! when dropped.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::address::Address;
use crate::child::until;
use crate::environment;
pub use crate::server::Listen;
use crate::server::access_log::{self, AccessLine};
use crate::server::line::APPLICATION;
use crate::server::{Clients, Log, Place, Recipe, Server};
use crate::witness::Witness;

/// A gunicorn release that `make setup` installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 23.0.0.
    V23,
    /// 27.0.1.
    V27,
}

impl Version {
    /// The Python of its virtual environment.
    pub fn python(self) -> PathBuf {
        let name = match self {
            Self::V23 => "venv23",
            Self::V27 => "venv27",
        };
        environment::program(name, "python")
    }
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which gunicorn.
    pub version: Version,
    /// `sync` or `gthread`, as gunicorn names them.
    pub worker_class: &'static str,
    /// Worker processes.
    pub workers: usize,
    /// Threads of each worker (gthread only).
    pub threads: usize,
    /// Where it listens.
    pub listen: Listen,
    /// Further arguments for gunicorn.
    pub arguments: Vec<String>,
    /// Further environment.
    pub environment: Vec<(String, String)>,
    /// The witness is the application's own clock, not the access log.
    pub is_witnessed: bool,
}

impl Settings {
    /// `workers` processes that serve one request at a time.
    pub fn sync(version: Version, workers: usize) -> Self {
        Self {
            version,
            worker_class: "sync",
            workers,
            threads: 1,
            listen: Listen::Ipv4,
            arguments: Vec::new(),
            environment: Vec::new(),
            is_witnessed: false,
        }
    }

    /// `workers` processes with `threads` pool threads each.
    pub fn gthread(version: Version, workers: usize, threads: usize) -> Self {
        Self { worker_class: "gthread", threads, ..Self::sync(version, workers) }
    }

    /// `workers` event loops of eventlet, which newer gunicorns do not have.
    pub fn eventlet(workers: usize) -> Self {
        Self { worker_class: "eventlet", ..Self::sync(Version::V23, workers) }
    }

    /// These settings with further arguments for gunicorn.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// These settings, with the application's clock as its witness.
    pub fn witnessed(mut self) -> Self {
        self.is_witnessed = true;
        self
    }

    /// These settings, listening elsewhere.
    pub fn on(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }
}

impl Recipe for Settings {
    fn name(&self) -> &'static str {
        "gunicorn"
    }

    fn about(&self) -> String {
        let Self { version, worker_class, workers, threads, .. } = self;
        format!("gunicorn {version:?}, {worker_class}, {workers} workers, {threads} threads")
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let bind = match &place.address {
            Address::Tcp(address) => address.clone(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        let mut command = Command::new(self.version.python());
        command.args(["-m", "gunicorn", "--worker-class", self.worker_class, "--bind", &bind]);
        command.args(["--workers", &self.workers.to_string()]);
        if self.worker_class == "gthread" {
            command.args(["--threads", &self.threads.to_string()]);
        }
        if self.version == Version::V27 {
            // Its place is shared by all servers of a user.
            command.arg("--no-control-socket");
        }
        command.arg("--chdir").arg(Place::apps());
        command.arg("--access-logfile").arg(place.file("access.log"));
        command.args(["--access-logformat", access_log::FORMAT]).args(&self.arguments);
        command.arg(if self.is_witnessed { "witnessed:app" } else { "demo_app:app" });
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        if self.arguments.iter().any(|argument| argument == "--preload") { 1 } else { self.workers }
    }

    fn knows_its_work(&self) -> bool {
        self.worker_class != "eventlet"
    }

    fn shares_gil(&self) -> bool {
        self.worker_class == "gthread"
    }

    /// An event loop has no limit that a setting makes.
    fn slots(&self) -> Option<u64> {
        match self.worker_class {
            "sync" => u64::try_from(self.workers).ok(),
            "gthread" => u64::try_from(self.workers * self.threads).ok(),
            _ => None,
        }
    }

    fn listen(&self) -> Listen {
        self.listen
    }

    fn log(&self) -> Log {
        if self.is_witnessed {
            return APPLICATION;
        }
        Log { file: "access.log", line: access_log::common_line }
    }

    /// No descriptor tells which of two greenlets runs.
    fn unexplained(&self) -> f64 {
        if self.worker_class == "eventlet" { 0.10 } else { 0.02 }
    }

    /// Connections are kept by pools alone; pipelined requests are part of what the older of its tests ask
    /// for.
    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked,expect" }
    }
}

/// A running gunicorn with a back end.
#[derive(Debug)]
pub struct Gunicorn {
    server: Server,
}

impl Gunicorn {
    /// Starts a server and returns when each worker has loaded the application and the listener takes
    /// connections.
    ///
    /// # Errors
    ///
    /// Where it does not come up, with the end of its error log.
    pub fn start(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self { server: Server::start(settings)? })
    }

    /// PID of the master.
    pub fn master(&self) -> u32 {
        self.server.pid()
    }

    /// PIDs of the workers that are there now.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.server.worker_pids()
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.server.address()
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: i32) {
        self.server.signal(signal);
    }

    /// The access log once it has `lines` lines.
    ///
    /// # Errors
    ///
    /// Where it does not have them within ten seconds, or a line is not of our format.
    pub fn access_log(&self, lines: usize) -> anyhow::Result<Vec<AccessLine>> {
        let path = self.server.file("access.log");
        until(&format!("{lines} lines in the access log"), Duration::from_secs(10), || {
            let log = access_log::parse(&std::fs::read_to_string(&path).unwrap_or_default())?;
            Ok((log.len() >= lines).then_some(log))
        })
    }

    /// What the application's `/truth` routes have measured so far.
    ///
    /// # Errors
    ///
    /// Where a line cannot be read.
    pub fn witness(&self) -> anyhow::Result<Vec<Witness>> {
        self.server.witness()
    }

    /// Ends the server; its logs can still be read.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}
