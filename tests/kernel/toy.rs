//! A toy HTTP server, in a process of its own, and the requests that drive it.
//!
//! In: a number of requests. Out: what a tracer of that process has to see.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};

/// Requests of one check.
pub(crate) const REQUESTS: usize = 50;
/// Requests on one connection.
pub(crate) const REQUESTS_PER_CONNECTION: usize = 5;

/// A running toy server.
pub(crate) struct Toy {
    child: Child,
    port: u16,
}

impl Toy {
    /// Starts it; it listens when this returns.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new("/proc/self/exe").arg("toy").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the toy has no output")?).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse()? })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `requests`, a few on each connection, and checks every answer.
    pub(crate) fn drive(&self, requests: usize) -> anyhow::Result<()> {
        let mut number = 0;
        while number < requests {
            let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
            for _ in 0..REQUESTS_PER_CONNECTION.min(requests - number) {
                number += 1;
                connection
                    .write_all(format!("GET /toy/{number} HTTP/1.1\r\nHost: toy\r\n\r\n").as_bytes())?;
                let mut answer = [0; ANSWER.len()];
                connection.read_exact(&mut answer)?;
                if answer != *ANSWER {
                    bail!("answer {number} is not what the toy sends");
                }
            }
        }
        Ok(())
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ANSWER: &[u8; 44] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

/// What the toy sleeps in each request: longer than an emulated CPU stands still on a machine that has other
/// things to do, or its thread never leaves the CPU.
const SLEEP: std::time::Duration = std::time::Duration::from_millis(20);

/// The server: a thread for each connection, a sleep in each request.
pub(crate) fn serve() -> ExitCode {
    // SAFETY: the name is a NUL-terminated constant.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"toy".as_ptr()) };
    match accept_forever() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("toy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn accept_forever() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (connection, _) = listener.accept()?;
        std::thread::spawn(move || answer_all(connection));
    }
}

fn answer_all(mut connection: TcpStream) -> std::io::Result<()> {
    let mut pending: Vec<u8> = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = connection.read(&mut part)?;
        if length == 0 {
            return Ok(());
        }
        pending.extend(part.iter().take(length));
        while let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            pending.drain(..end + 4);
            std::thread::sleep(SLEEP);
            connection.write_all(ANSWER)?;
        }
    }
}
