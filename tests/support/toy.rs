//! The toy server (`apps/toy_server.py`) and its client.
//!
//! In: where to listen, how many threads. Out: a running server, connections to it, answers.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use profiler_common::system_call::ACCEPT4;

use crate::child::Child;
use crate::raw::until_so_many_inside;

/// How long an answer may take on a machine that is busy with something else.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A running toy server.
#[derive(Debug)]
pub struct ToyServer {
    child: Child,
    address: String,
}

impl ToyServer {
    /// Starts it on a free loopback port; each of its threads waits for connections.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn tcp(threads: usize) -> anyhow::Result<Self> {
        Self::start("tcp", threads)
    }

    /// Starts it on a UNIX socket.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn unix(path: &Path, threads: usize) -> anyhow::Result<Self> {
        Self::start(path.to_str().context("not a UTF-8 path")?, threads)
    }

    fn start(place: &str, threads: usize) -> anyhow::Result<Self> {
        let script = crate::root().join("tests/apps/toy_server.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(place).arg(threads.to_string()).stdout(Stdio::piped());
        let mut child = Child::start(&mut command, "the toy server")?;
        let mut address = String::new();
        let output = child.take_stdout().context("no output")?;
        BufReader::new(output).read_line(&mut address)?;
        let address = address.trim().to_owned();
        if address.is_empty() {
            bail!("the toy server did not come up");
        }
        // The toy says where it listens before it has its threads.
        until_so_many_inside(child.pid(), ACCEPT4, threads)?;
        Ok(Self { child, address })
    }

    /// PID.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Port of the TCP listener; 0 for a UNIX socket.
    pub fn port(&self) -> u16 {
        self.address.parse().unwrap_or(0)
    }

    /// A new TCP connection.
    ///
    /// # Errors
    ///
    /// Where the server does not take it.
    pub fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port()))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A new UNIX connection.
    ///
    /// # Errors
    ///
    /// Where the server does not take it.
    pub fn connect_unix(&self) -> anyhow::Result<UnixStream> {
        let stream = UnixStream::connect(&self.address)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(stream)
    }
}

/// A request for `path`.
pub fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: toy\r\n\r\n").into_bytes()
}

/// Sends a request for `path` and reads the whole answer.
///
/// # Errors
///
/// Where the answer is not the expected one.
pub fn ask(stream: &mut (impl Read + Write), path: &str) -> anyhow::Result<()> {
    stream.write_all(&request(path))?;
    answer(stream)
}

/// Reads one answer.
///
/// # Errors
///
/// Where it is not the expected one.
pub fn answer(stream: &mut impl Read) -> anyhow::Result<()> {
    let mut got = Vec::new();
    let mut byte = [0_u8; 1];
    while !got.ends_with(b"\r\n\r\nok") {
        if stream.read(&mut byte)? == 0 {
            bail!("the server hung up after {:?}", String::from_utf8_lossy(&got));
        }
        got.extend_from_slice(&byte);
    }
    if got.starts_with(b"HTTP/1.1 200") { Ok(()) } else { bail!("an unexpected answer") }
}

/// Requests from `clients` connections at once, `each` per connection.
///
/// # Errors
///
/// Where one is not answered.
pub fn load(server: &ToyServer, clients: usize, each: usize, paths: &[&str]) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut stream = server.connect()?;
                    for path in paths.iter().cycle().skip(client).take(each) {
                        ask(&mut stream, path)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
