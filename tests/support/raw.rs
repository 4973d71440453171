//! A client that does exactly what a test says, byte by byte.
//!
//! In: a server's address. Out: a connection of plain HTTP/1.1.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::child::until;
use crate::gunicorn::Address;

/// A TCP connection to the server.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    /// Connects and sends nothing.
    ///
    /// # Errors
    ///
    /// Where it cannot connect.
    pub fn connect(address: &Address) -> anyhow::Result<Self> {
        let Address::Tcp(address) = address else { bail!("not a TCP address") };
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream })
    }

    /// Sends a GET request whole.
    ///
    /// # Errors
    ///
    /// Where it cannot be sent.
    pub fn get(&mut self, path: &str) -> anyhow::Result<()> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())?;
        Ok(())
    }

    /// Reads until the first bytes of the answer and gives its status; `None` where the server closes without one.
    ///
    /// # Errors
    ///
    /// Where nothing comes, or what comes is no status line.
    pub fn status(&mut self) -> anyhow::Result<Option<u16>> {
        let mut bytes = [0; 4096];
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            other => other?,
        };
        let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned();
        Ok(Some(text.split(' ').nth(1).context("no status line")?.parse()?))
    }

    /// Reads until the server has ended its direction.
    ///
    /// # Errors
    ///
    /// Where it does not.
    pub fn read_to_end(&mut self) -> anyhow::Result<usize> {
        Ok(self.stream.read_to_end(&mut Vec::new())?)
    }

    /// Reads at a pace until the server has ended its direction; returns what it took.
    ///
    /// # Errors
    ///
    /// Where the server does not go on.
    pub fn read_slowly(&mut self, bytes_per_second: f64) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut piece = vec![0; 65_536];
        let mut taken = 0_usize;
        loop {
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Ok(start.elapsed());
            }
            taken += count;
            let due = Duration::from_secs_f64(taken as f64 / bytes_per_second);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

/// Waits until a thread of one of these processes is inside the system call `number`, and returns its process.
///
/// # Errors
///
/// Where none is within ten seconds.
pub fn until_inside(pids: &[u32], number: u32) -> anyhow::Result<u32> {
    until(&format!("system call {number}"), Duration::from_secs(10), || {
        Ok(pids.iter().copied().find(|pid| calls_of(*pid).contains(&Some(number))))
    })
}

/// Whether a thread of one of these processes is inside the system call `number` now.
#[must_use]
pub fn is_inside(pids: &[u32], number: u32) -> bool {
    pids.iter().any(|pid| calls_of(*pid).contains(&Some(number)))
}

/// Waits until each of these processes sleeps in the system call `number`, all of its other threads being idle.
///
/// # Errors
///
/// Where one does not within ten seconds.
pub fn until_all_inside(pids: &[u32], number: u32) -> anyhow::Result<()> {
    let quiet = |pid: &u32| {
        let calls = calls_of(*pid);
        calls.contains(&Some(number)) && calls.iter().all(|call| [Some(number), Some(FUTEX)].contains(call))
    };
    until(&format!("everybody in system call {number}"), Duration::from_secs(10), || {
        // Twice: a thread that was looked at first may have been woken by one that was looked at last.
        Ok((pids.iter().all(quiet) && pids.iter().all(quiet)).then_some(()))
    })
}

/// `futex`: what an idle thread of a pool sleeps in.
const FUTEX: u32 = 202;

/// The call that each thread of the process sleeps in; `None` for one that runs.
fn calls_of(pid: u32) -> Vec<Option<u32>> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("syscall")).ok())
        .map(|text| text.split_whitespace().next().and_then(|number| number.parse().ok()))
        .collect()
}
