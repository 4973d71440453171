//! A real gunicorn serving `apps/demo_app.py`.
//!
//! In: settings. Out: a server that is ready, its PIDs, its access log and the application's witness; ended when dropped.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::access_log::{self, AccessLine};
use crate::backend::Backend;
use crate::child::{Child, until};
use crate::witness::{self, Witness};

/// Long enough for a busy machine; nothing waits that long when all is well.
const START_LIMIT: Duration = Duration::from_secs(30);

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
    #[must_use]
    pub fn python(self) -> PathBuf {
        let name = match self {
            Self::V23 => "venv23",
            Self::V27 => "venv27",
        };
        crate::root().join(".tools").join(name).join("bin/python")
    }
}

/// Where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// 127.0.0.1, a free port.
    Ipv4,
    /// `::1`, a free port.
    Ipv6,
    /// A UNIX socket.
    Unix,
}

/// An address in the server's directory or on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:8000` or `[::1]:8000`.
    Tcp(String),
    /// Path of a UNIX socket.
    Unix(PathBuf),
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
}

impl Settings {
    /// `workers` processes that serve one request at a time.
    #[must_use]
    pub fn sync(version: Version, workers: usize) -> Self {
        Self {
            version,
            worker_class: "sync",
            workers,
            threads: 1,
            listen: Listen::Ipv4,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// `workers` processes with `threads` pool threads each.
    #[must_use]
    pub fn gthread(version: Version, workers: usize, threads: usize) -> Self {
        Self { worker_class: "gthread", threads, ..Self::sync(version, workers) }
    }

    /// The same with further arguments for gunicorn.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// The same, listening elsewhere.
    #[must_use]
    pub fn on(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }
}

/// A running gunicorn with a back end.
#[derive(Debug)]
pub struct Gunicorn {
    child: Child,
    workers: usize,
    address: Address,
    _backend: Backend,
    directory: TempDir,
}

impl Gunicorn {
    /// Starts a server and returns when each worker has loaded the application and the listener takes connections.
    ///
    /// # Errors
    ///
    /// Where it does not come up, with the end of its error log.
    pub fn start(settings: &Settings) -> anyhow::Result<Self> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(settings) {
                // Another process took the free port before gunicorn did.
                Err(error) if attempts < 3 && format!("{error:#}").contains("already in use") => {}
                outcome => return outcome,
            }
        }
    }

    fn try_start(settings: &Settings) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("wsgi-trace-test-").tempdir()?;
        let backend = Backend::start()?;
        let address = free_address(settings.listen, &directory)?;
        let bind = match &address {
            Address::Tcp(address) => address.clone(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        let mut command = Command::new(settings.version.python());
        command.args(["-m", "gunicorn", "--worker-class", settings.worker_class, "--bind", &bind]);
        command.args(["--workers", &settings.workers.to_string()]);
        if settings.worker_class == "gthread" {
            command.args(["--threads", &settings.threads.to_string()]);
        }
        if settings.version == Version::V27 {
            // Its place is shared by all servers of a user.
            command.arg("--no-control-socket");
        }
        let file = |name: &str| directory.path().join(name);
        command.arg("--chdir").arg(crate::root().join("tests/apps"));
        command
            .arg("--access-logfile")
            .arg(file("access.log"))
            .args(["--access-logformat", access_log::FORMAT]);
        command.args(&settings.arguments).arg("demo_app:app");
        command
            .env("BACKEND_ADDRESS", &backend.address)
            .env("WITNESS_FILE", file("witness.jsonl"))
            .env("READY_FILE", file("ready"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(settings.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(file("error.log"))?);
        let child = Child::start(&mut command, "gunicorn")?;
        let mut server = Self { child, workers: settings.workers, address, _backend: backend, directory };
        let ready = until("gunicorn to be ready", START_LIMIT, || server.is_ready());
        ready.with_context(|| server.last_words())?;
        Ok(server)
    }

    /// PID of the master.
    #[must_use]
    pub fn master(&self) -> u32 {
        self.child.pid()
    }

    /// PIDs of the workers that are there now.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.master());
        let children = std::fs::read_to_string(path).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: i32) {
        self.child.signal(signal);
    }

    /// The access log once it has `lines` lines.
    ///
    /// # Errors
    ///
    /// Where it does not have them within ten seconds, or a line is not of our format.
    pub fn access_log(&self, lines: usize) -> anyhow::Result<Vec<AccessLine>> {
        let path = self.directory.path().join("access.log");
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
        witness::parse(
            &std::fs::read_to_string(self.directory.path().join("witness.jsonl")).unwrap_or_default(),
        )
    }

    /// Ends the server; its logs can still be read.
    pub fn stop(&mut self) {
        self.child.stop();
    }

    fn is_ready(&mut self) -> anyhow::Result<Option<()>> {
        if let Some(status) = self.child.ended()? {
            bail!("gunicorn ended at once: {status}");
        }
        let loaded = std::fs::read_to_string(self.directory.path().join("ready")).unwrap_or_default();
        if loaded.lines().count() < self.workers {
            return Ok(None);
        }
        let connected = match &self.address {
            Address::Tcp(address) => TcpStream::connect(address).is_ok(),
            Address::Unix(path) => UnixStream::connect(path).is_ok(),
        };
        Ok(connected.then_some(()))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "its error log ends:\n{}",
            lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
        )
    }
}

fn free_address(listen: Listen, directory: &TempDir) -> anyhow::Result<Address> {
    let free = |host: &str| -> anyhow::Result<Address> {
        Ok(Address::Tcp(TcpListener::bind((host, 0))?.local_addr()?.to_string()))
    };
    match listen {
        Listen::Ipv4 => free("127.0.0.1"),
        Listen::Ipv6 => free("::1"),
        Listen::Unix => Ok(Address::Unix(directory.path().join("server.sock"))),
    }
}
