//! A real gunicorn on a real CPython: of the emulated machine, or of this one.
//!
//! In: `PYTHON` (an interpreter with gunicorn; none: there is none here), `APP` (the directory of `app.py`).
//! Out: a server that is ready, its PID and its access log; ended when dropped.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::server::access_log::{self, AccessLine};
use wsgi_trace_test_support::server::children_of;

/// How long something may take: in emulation an interpreter takes seconds to start.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// Its port in an emulated machine, where reviewed files name it.
const PORT: u16 = 8000;

/// How it is started.
#[derive(Clone, Copy)]
pub(crate) struct Workers {
    /// `sync` or `gthread`.
    pub(crate) class: &'static str,
    /// Processes.
    pub(crate) processes: usize,
    /// Threads of each.
    pub(crate) threads: usize,
}

/// Whether there is one to start.
pub(crate) fn is_there() -> bool {
    std::env::var_os("PYTHON").is_some()
}

/// A running gunicorn.
pub(crate) struct Gunicorn {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Gunicorn {
    /// Starts it; each worker has loaded the application when this returns.
    pub(crate) fn start(workers: Workers) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let ready = directory.path().join("ready");
        let mut command = Command::new(std::env::var_os("PYTHON").context("PYTHON names no interpreter")?);
        command
            .args(["-m", "gunicorn", "--bind", &format!("127.0.0.1:{port}"), "--worker-class", workers.class])
            .args(["--workers", &workers.processes.to_string(), "--threads", &workers.threads.to_string()])
            // In emulation nothing says how long a request may take.
            .args(["--timeout", "600", "--keep-alive", "60", "--access-logformat", access_log::FORMAT])
            .arg("--access-logfile")
            .arg(directory.path().join("access.log"))
            .arg("--error-logfile")
            .arg(directory.path().join("error.log"))
            .arg("--chdir")
            .arg(std::env::var_os("APP").unwrap_or_else(|| "/".into()))
            .arg("app:app")
            .env("READY_FILE", &ready);
        let child = Child::start(&mut command, "gunicorn")?;
        let mut server = Self { child, port, directory };
        until("gunicorn's workers", LIMIT, || {
            anyhow::ensure!(server.child.ended()?.is_none(), "gunicorn ended: {}", server.errors());
            let loaded = std::fs::read_to_string(&ready).unwrap_or_default();
            Ok((loaded.lines().count() >= workers.processes).then_some(()))
        })?;
        Ok(server)
    }

    /// Its master's PID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns when each worker sleeps: without work, that is where it waits for the next connection.
    pub(crate) fn wait_until_all_sleep(&self) -> anyhow::Result<()> {
        let workers = children_of(self.pid());
        anyhow::ensure!(!workers.is_empty(), "gunicorn has no worker");
        for worker in workers {
            let file = format!("/proc/{worker}/stat");
            until("a worker to sleep", LIMIT, || {
                // proc_pid_stat(5): the state follows the name, which is in parentheses.
                let stat = std::fs::read_to_string(&file)?;
                Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')).then_some(()))
            })?;
        }
        Ok(())
    }

    /// The lines of its log, as soon as there are so many.
    pub(crate) fn log(&self, lines: usize) -> anyhow::Result<Vec<AccessLine>> {
        let file: PathBuf = self.directory.path().join("access.log");
        until("the lines of the access log", LIMIT, || {
            let log = access_log::parse(&std::fs::read_to_string(&file).unwrap_or_default())?;
            Ok((log.len() >= lines).then_some(log))
        })
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }
}

fn free_port() -> anyhow::Result<u16> {
    if std::process::id() == 1 {
        return Ok(PORT);
    }
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
