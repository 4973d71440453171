//! Loads on the interpreter lock: threads of one program, and threaded servers with clients.
//!
//! In: an interpreter, a kind. Out: a running server, its processes, and load on it until it is ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::root;

use crate::interpreters::Interpreter;

/// Clients of a server.
const CLIENTS: usize = 8;

/// What wants the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Four threads that compute.
    Cpu,
    /// Four threads that give the lock up for short calls, most of them such as are not observed.
    Calls,
    /// gunicorn, gthread, eight threads.
    Gunicorn,
    /// Waitress, eight threads.
    Waitress,
    /// uWSGI, eight threads; it is built for one interpreter.
    Uwsgi,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Cpu, Self::Calls, Self::Gunicorn, Self::Waitress, Self::Uwsgi];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "computing",
            Self::Calls => "short calls",
            Self::Gunicorn => "gunicorn gthread",
            Self::Waitress => "Waitress",
            Self::Uwsgi => "uWSGI",
        }
    }

    /// The values of `--gil` that are compared under it.
    pub(crate) const fn ways(self) -> &'static str {
        match self {
            Self::Gunicorn => "auto,uprobes,full",
            Self::Cpu | Self::Calls | Self::Waitress | Self::Uwsgi => "auto",
        }
    }

    /// Whether there is such a server for this interpreter.
    pub(crate) fn runs_on(self, interpreter: &Interpreter) -> bool {
        match self {
            Self::Uwsgi => interpreter.name.ends_with("(pyenv)") && interpreter.is("3.11"),
            Self::Gunicorn => !interpreter.is_musl(),
            Self::Cpu | Self::Calls | Self::Waitress => true,
        }
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    has_clients: bool,
}

impl Server {
    pub(crate) fn start(interpreter: &Interpreter, kind: Kind) -> anyhow::Result<Self> {
        Self::start_with(interpreter, kind, None)
    }

    /// gunicorn, gthread, with the demo's application, whose witness goes to this file.
    pub(crate) fn start_witnessed(interpreter: &Interpreter, witness: &Path) -> anyhow::Result<Self> {
        Self::start_with(interpreter, Kind::Gunicorn, Some(witness))
    }

    fn start_with(interpreter: &Interpreter, kind: Kind, witness: Option<&Path>) -> anyhow::Result<Self> {
        let tools = root().join(".tools");
        let app = |name: &str| root().join("tests/apps").join(name);
        let mut command = interpreter.command();
        match kind {
            Kind::Cpu => command.arg(app("gil_load.py")).args(["cpu", "4"]),
            Kind::Calls => command.arg(app("gil_load.py")).args(["calls", "4"]),
            Kind::Gunicorn => command.arg(app("gil_server.py")).arg("gunicorn"),
            Kind::Waitress => command.arg(app("gil_server.py")).arg("waitress"),
            Kind::Uwsgi => {
                command = Command::new(tools.join("venv-servers/bin/uwsgi"));
                interpreter.set_library(&mut command);
                let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
                command.args(["--http-socket", &port.to_string(), "--threads", "8", "--die-on-term"]);
                command.args(["--need-app", "--disable-logging", "--wsgi-file"]).arg(app("gil_server.py"));
                command.args(["--callable", "app"]);
                let child = Child::start(command.stderr(Stdio::null()), "uWSGI")?;
                until(
                    "uWSGI does not listen",
                    Duration::from_secs(20),
                    || Ok(TcpStream::connect(port).ok()),
                )?;
                return Ok(Self { child, address: port, has_clients: true });
            }
        };
        if let Some(witness) = witness {
            command.arg("demo").env("WITNESS_FILE", witness);
        }
        // Both are written in Python alone.
        let packages =
            ["venv23", "venv-servers"].map(|venv| tools.join(venv).join("lib/python3.11/site-packages"));
        command.env("PYTHONPATH", std::env::join_paths(packages)?);
        let mut child = Child::start(command.stdout(Stdio::piped()).stderr(Stdio::null()), kind.name())?;
        let output = child.take_stdout().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port: u16 = line.trim().parse().with_context(|| format!("{} does not start", kind.name()))?;
        let has_clients = !matches!(kind, Kind::Cpu | Kind::Calls);
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), has_clients })
    }

    pub(crate) fn address(&self) -> Address {
        Address::Tcp(self.address.to_string())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The server and its children.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_ascii_whitespace().filter_map(|child| child.parse().ok());
        Ok(std::iter::once(pid).chain(children).collect())
    }

    /// The file that holds its interpreter.
    pub(crate) fn image(&self) -> anyhow::Result<PathBuf> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid()))?;
        let mapped = |wanted: &str| {
            let paths = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5)).map(Path::new);
            paths
                .filter(|path| {
                    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(wanted))
                })
                .map(Path::to_path_buf)
                .next()
        };
        mapped("libpython3.").or_else(|| mapped("python3.")).context("no interpreter is mapped")
    }

    /// Clients that ask without a pause.
    pub(crate) fn load(&self) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let count = if self.has_clients { CLIENTS } else { 0 };
        let address = self.address;
        let clients = (0..count).map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A server that closes the connection is asked again.
                    let _ = ask(address, &stop);
                }
            })
        });
        Load { clients: clients.collect(), stop }
    }
}

fn ask(address: SocketAddr, stop: &AtomicBool) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut bytes = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let count = stream.read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            answer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        }
    }
    Ok(())
}

/// Clients at work, until dropped.
pub(crate) struct Load {
    clients: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}
