//! A server that serves one connection at a time (`apps/one_at_a_time.py`), in a network namespace of its own
//! if wanted.
//!
//! In: where and how it listens. Out: a running server, what it wrote down, and what its namespace's kernel
//! counted.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use crate::address::Address;
use crate::child::{Child, until};
use crate::whole_lines::whole_lines;

/// How it listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// `4`, `6` or `unix`.
    pub family: &'static str,
    /// A TCP port; 0: any.
    pub port: u16,
    /// The backlog it asks for.
    pub backlog: u32,
    /// The listener defers accept.
    pub deferred: bool,
    /// In a network namespace of its own.
    pub apart: bool,
}

impl Listening {
    /// On a free port of 127.0.0.1, with room.
    pub const TCP: Self = Self { family: "4", port: 0, backlog: 64, deferred: false, apart: false };
}

/// What the server wrote down of one connection, CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Accepted {
    /// Before it called accept.
    pub before_ns: u64,
    /// After accept had returned.
    pub after_ns: u64,
}

/// What one client of a burst saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// Until it was connected.
    pub connect_ns: Option<u64>,
    /// Status of its answer.
    pub status: Option<u16>,
}

/// The running server.
#[derive(Debug)]
pub struct OneAtATime {
    child: Child,
    port: u16,
    directory: TempDir,
    family: &'static str,
}

impl OneAtATime {
    /// Starts it; it listens when this returns.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn start(listening: &Listening) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("wsgi-trace-test-").tempdir()?;
        let script = crate::root().join("tests/apps/one_at_a_time.py");
        let mut command = if listening.apart {
            let mut command = Command::new("unshare");
            command.args(["--net", "--", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", "python3"]);
            command
        } else {
            Command::new("python3")
        };
        command.arg(script).arg(listening.family);
        match listening.family {
            "unix" => command.arg(directory.path().join("server.sock")),
            _ => command.arg(listening.port.to_string()),
        };
        command.arg(listening.backlog.to_string()).arg(if listening.deferred { "4" } else { "0" });
        command.arg(directory.path().join("notes")).stdout(Stdio::piped());
        let mut child = Child::start(&mut command, "the server that serves one at a time")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        let port = line.trim().parse().context("the server did not come up")?;
        Ok(Self { child, port, directory, family: listening.family })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its port; 0 for a UNIX socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path of its UNIX socket.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("server.sock")
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        match self.family {
            "unix" => Address::Unix(self.path()),
            "6" => Address::Tcp(format!("[::1]:{}", self.port)),
            _ => Address::Tcp(format!("127.0.0.1:{}", self.port)),
        }
    }

    /// Its notes once it has accepted `count` connections.
    ///
    /// # Errors
    ///
    /// Where it does not within half a minute.
    pub fn accepted(&self, count: usize) -> anyhow::Result<Vec<Accepted>> {
        let notes = self.directory.path().join("notes");
        until(&format!("{count} connections accepted"), Duration::from_secs(30), || {
            let text = std::fs::read_to_string(&notes).unwrap_or_default();
            let list: Vec<Accepted> =
                whole_lines(&text).map(serde_json::from_str).collect::<Result<_, _>>()?;
            Ok((list.len() >= count).then_some(list))
        })
    }

    /// A client that keeps the server busy until [`Self::release`], from its own namespace.
    ///
    /// # Errors
    ///
    /// Where it does not come to be served.
    pub fn keep_busy(&self, accepted_before: usize) -> anyhow::Result<Child> {
        const HOLD: &str = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); \
                            s.sendall(b'GET /until HTTP/1.1\\r\\n\\r\\n'); assert s.recv(99)";
        let mut command = self.beside("python3");
        let client = Child::start(command.args(["-c", HOLD, &self.port.to_string()]), "a client that stays")?;
        self.accepted(accepted_before + 1)?;
        Ok(client)
    }

    /// Lets the server go on.
    ///
    /// # Errors
    ///
    /// Where the file cannot be made.
    pub fn release(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(self.directory.path().join("notes.go"), "")?)
    }

    /// A command that runs in the network namespace of the server.
    pub fn beside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("--").arg(program);
        command
    }

    /// Clients that connect all at once from the server's own namespace (`clients/burst.py`), and `syns` SYNs
    /// besides.
    pub fn burst(&self, clients: usize, syns: usize) -> Command {
        let mut command = self.beside("python3");
        command.arg(crate::root().join("tests/clients/burst.py")).arg("127.0.0.1");
        command.args([self.port.to_string(), clients.to_string(), "30".to_owned(), syns.to_string()]);
        command
    }

    /// A counter of the kernel's TCP in the server's namespace.
    ///
    /// # Errors
    ///
    /// Where it is not there.
    pub fn kernel_counter(&self, name: &str) -> anyhow::Result<u64> {
        let text =
            std::fs::read_to_string(Path::new("/proc").join(self.pid().to_string()).join("net/netstat"))?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
        let names = lines.next().context("no names")?.split_ascii_whitespace();
        let values = lines.next().context("no values")?.split_ascii_whitespace();
        let value = names.zip(values).find(|(known, _)| *known == name).context("no such counter")?.1;
        Ok(value.parse()?)
    }

    fn ss(&self) -> anyhow::Result<String> {
        let output = self.beside("ss").args(["-lntmH", &format!("sport = :{}", self.port)]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How many connections wait in the listener's queue, as `ss` says.
    ///
    /// # Errors
    ///
    /// Where it says nothing of the kind.
    pub fn queued_by_ss(&self) -> anyhow::Result<u64> {
        let text = self.ss()?;
        Ok(text.split_ascii_whitespace().nth(1).context("no queue")?.parse()?)
    }

    /// What `ss` says that the listener has dropped.
    ///
    /// # Errors
    ///
    /// Where it says nothing of the kind.
    pub fn dropped_by_ss(&self) -> anyhow::Result<u64> {
        let text = self.ss()?;
        let memory =
            text.split_once("skmem:(").and_then(|(_, rest)| rest.split_once(')')).context("no skmem")?.0;
        let dropped = memory.split(',').find_map(|field| field.strip_prefix('d')).context("no drops")?;
        Ok(dropped.parse()?)
    }
}

/// Runs a burst to its end.
///
/// # Errors
///
/// Where it cannot be run.
pub fn notes_of(burst: &mut Command) -> anyhow::Result<Vec<Seen>> {
    notes_at_end(burst.stdout(Stdio::piped()).spawn()?)
}

/// Waits for the end of a burst that runs.
///
/// # Errors
///
/// Where it fails.
pub fn notes_at_end(burst: std::process::Child) -> anyhow::Result<Vec<Seen>> {
    let output = burst.wait_with_output()?;
    ensure!(output.status.success(), "the clients failed");
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
