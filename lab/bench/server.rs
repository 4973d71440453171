//! The servers under load: gunicorn sync and gthread, uWSGI, Waitress, mod_wsgi, each with one worker.
//!
//! In: which, on which CPUs. Out: a server that answers on a loopback port, ended when dropped.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use wsgi_trace_test_support::child::{Child, until};

use crate::account;

/// A timeout that only something broken reaches.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A server and how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    GunicornSync,
    GunicornGthread,
    Uwsgi,
    /// `Uwsgi`, which keeps connections.
    UwsgiKept,
    Waitress,
    ModWsgi,
    /// `ModWsgi`, reporting to its own telemetry service.
    ModWsgiTelemetry,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::GunicornSync => "gunicorn sync",
            Self::GunicornGthread => "gunicorn gthread, 8 threads",
            Self::Uwsgi => "uWSGI, 8 threads",
            Self::UwsgiKept => "uWSGI, 8 threads, kept connections",
            Self::Waitress => "Waitress, 8 threads",
            Self::ModWsgi | Self::ModWsgiTelemetry => "mod_wsgi, 8 threads",
        }
    }

    /// The program, relative to the workspace.
    fn program(self) -> &'static str {
        match self {
            Self::GunicornSync | Self::GunicornGthread => ".tools/venv27/bin/python",
            Self::Uwsgi | Self::UwsgiKept => ".tools/venv-servers/bin/uwsgi",
            Self::Waitress => ".tools/venv-servers/bin/waitress-serve",
            Self::ModWsgi => ".tools/venv-apache/bin/mod_wsgi-express",
            Self::ModWsgiTelemetry => ".tools/bench/venv-apache/bin/mod_wsgi-express",
        }
    }

    fn arguments(self, port: u16, directory: &str) -> Vec<String> {
        let apps = wsgi_trace_test_support::root().join("lab/bench").display().to_string();
        let bind = format!("127.0.0.1:{port}");
        let telemetry_port = free_port().unwrap_or(0).to_string();
        let list: Vec<&str> = match self {
            Self::GunicornSync => {
                vec![
                    "-m",
                    "gunicorn",
                    "-w",
                    "1",
                    "-b",
                    &bind,
                    "--no-control-socket",
                    "--chdir",
                    &apps,
                    "bench_app:app",
                ]
            }
            Self::GunicornGthread => vec![
                "-m",
                "gunicorn",
                "-w",
                "1",
                "-k",
                "gthread",
                "--threads",
                "8",
                "-b",
                &bind,
                "--no-control-socket",
                "--chdir",
                &apps,
                "bench_app:app",
            ],
            Self::Uwsgi | Self::UwsgiKept => vec![
                if self == Self::UwsgiKept { "--http11-socket" } else { "--http-socket" },
                &bind,
                "--master",
                "--processes",
                "1",
                "--threads",
                "8",
                "--disable-logging",
                "--need-app",
                "--chdir",
                &apps,
                "--module",
                "bench_app",
                "--callable",
                "app",
                "--die-on-term",
            ],
            Self::Waitress => vec!["--threads=8", "--listen", &bind, "bench_app:app"],
            Self::ModWsgi | Self::ModWsgiTelemetry => {
                let mut list = vec![
                    "start-server",
                    "--host",
                    "127.0.0.1",
                    "--threads",
                    "8",
                    "--processes",
                    "1",
                    "--user",
                    "www-data",
                    "--group",
                    "www-data",
                    "--server-root",
                    directory,
                    "--working-directory",
                    &apps,
                    "--application-type",
                    "module",
                    "bench_app",
                ];
                if self == Self::ModWsgiTelemetry {
                    list.extend(["--enable-telemetry", "--telemetry-ui-port", &telemetry_port]);
                }
                let mut list: Vec<String> = list.into_iter().map(str::to_owned).collect();
                list.extend(["--port".to_owned(), port.to_string()]);
                return list;
            }
        };
        list.into_iter().map(str::to_owned).collect()
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Server {
    /// Starts it on `cpus`, with `/work` of `pieces`.
    pub(crate) fn start(kind: Kind, cpus: &[usize], pieces: u64) -> anyhow::Result<Self> {
        Self::start_with(kind, cpus, pieces, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn start_with(
        kind: Kind,
        cpus: &[usize],
        pieces: u64,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let program = wsgi_trace_test_support::root().join(kind.program());
        if !program.exists() {
            bail!("{} is not installed: `make setup` and `cargo xtask bench` do", kind.program());
        }
        let directory = directory()?;
        let port = free_port()?;
        let log = directory.path().join("log");
        let output = File::create(&log)?;
        // A script's first line names the tree it was installed for: its interpreter is called by name
        // instead.
        let mut command = match kind {
            Kind::Waitress | Kind::ModWsgi | Kind::ModWsgiTelemetry => {
                let mut python = Command::new(program.with_file_name("python"));
                python.arg(program);
                python
            }
            _ => Command::new(program),
        };
        command
            .args(kind.arguments(port, &directory.path().join("root").display().to_string()))
            .args(more)
            .current_dir(wsgi_trace_test_support::root().join("lab/bench"))
            .env("BENCH_PIECES", pieces.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        on_cpus(&mut command, cpus);
        let child = Child::start(&mut command, kind.name())?;
        let mut server = Self { child, port, _directory: directory };
        until(&format!("{} to answer", kind.name()), START_LIMIT, || {
            if let Some(status) = server.child.ended()? {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("it ended, {status}: {}", text.lines().last().unwrap_or_default());
            }
            Ok(server.ask().ok())
        })?;
        Ok(server)
    }

    /// PID of the process that was started.
    pub(crate) fn root(&self) -> u32 {
        self.child.pid()
    }

    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        account::tree(self.root())
    }

    /// The process that runs the application: the one with most CPU time so far.
    pub(crate) fn worker(&self) -> u32 {
        self.pids().into_iter().max_by_key(|pid| account::process_ns(*pid)).unwrap_or(self.root())
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn ask(&self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.contains(" 200 ") {
            bail!("answered {:?}", answer.lines().next());
        }
        Ok(())
    }
}

/// Pieces of work that take about `target_ns` on this machine.
pub(crate) fn calibrate(target_ns: u64) -> anyhow::Result<u64> {
    let mut command = Command::new(wsgi_trace_test_support::root().join(".tools/venv27/bin/python"));
    command.arg(wsgi_trace_test_support::root().join("lab/bench/bench_app.py")).arg("--calibrate");
    on_cpus(&mut command, &[0]);
    let output = command.output().context("Python does not start")?;
    let piece_ns: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("no calibration")?;
    Ok((target_ns / piece_ns.max(1)).max(1))
}

/// Where Apache's children, ordinary users, can reach their files.
fn directory() -> anyhow::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::Builder::new().prefix("wsgi-trace-bench-").tempdir()?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The program beside this one, built with it.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Has the child run on these CPUs only.
pub(crate) fn on_cpus(command: &mut Command, cpus: &[usize]) {
    let cpus = cpus.to_vec();
    // SAFETY: the closure only makes one system call, which is safe between fork and exec; `cpus` was
    // allocated before.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            for cpu in &cpus {
                libc::CPU_SET(*cpu, &mut set);
            }
            if libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
}
