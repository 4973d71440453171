//! A client that does exactly what a test says, byte by byte.
//!
//! In: a server's address. Out: a connection of plain HTTP/1.1.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::address::Address;
use crate::child::until;

/// What an answer in chunks ends with (RFC 9112, 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A connection to the server.
#[derive(Debug)]
pub struct RawClient {
    stream: Stream,
}

/// Both kinds of sockets, as one reads and writes them.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl RawClient {
    /// Connects and sends nothing.
    ///
    /// # Errors
    ///
    /// Where it cannot connect.
    pub fn connect(address: &Address) -> anyhow::Result<Self> {
        let limit = Some(Duration::from_secs(30));
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                Stream::Unix(stream)
            }
        };
        Ok(Self { stream })
    }

    /// Leaves now. A process that another test is just starting has a copy of every descriptor until it calls
    /// exec: where it is only dropped, the connection may end as late as that.
    pub fn leave(self) {
        // This fails where the server has ended the connection.
        drop(match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        });
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

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// Where they cannot be sent.
    pub fn send(&mut self, bytes: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes.as_bytes())?)
    }

    /// Reads until the first bytes of the answer and gives its status; `None` where the server closes without
    /// one.
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

    /// Reads until the server has ended its direction; returns when it had the whole answer: with its last
    /// chunk, which may be well before that end, or else with that end.
    ///
    /// # Errors
    ///
    /// Where it does not end its direction, or sends nothing.
    pub fn read_answer(&mut self) -> anyhow::Result<Instant> {
        let mut answer = Vec::new();
        let mut piece = vec![0; 65_536];
        let mut last = None;
        loop {
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                let is_told = answer.ends_with(LAST_CHUNK);
                return last.map(|last| if is_told { last } else { Instant::now() }).context("nothing came");
            }
            last = Some(Instant::now());
            answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
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

/// Waits until a thread of one of these processes is inside the system call `number`, and returns its
/// process.
///
/// # Errors
///
/// Where none is within ten seconds.
pub fn until_inside(pids: &[u32], number: u32) -> anyhow::Result<u32> {
    until(&format!("system call {number}"), Duration::from_secs(10), || {
        Ok(pids.iter().copied().find(|pid| calls_of(*pid).contains(&Some(number))))
    })
}

/// Waits until so many threads of a process sleep in the system call `number`.
///
/// # Errors
///
/// Where they do not within ten seconds.
pub fn until_so_many_inside(pid: u32, number: u32, count: usize) -> anyhow::Result<()> {
    until(&format!("{count} threads in system call {number}"), Duration::from_secs(10), || {
        let inside = calls_of(pid).into_iter().filter(|call| *call == Some(number)).count();
        Ok((inside == count).then_some(()))
    })
}

/// Whether a thread of one of these processes is inside the system call `number` now.
pub fn is_inside(pids: &[u32], number: u32) -> bool {
    pids.iter().any(|pid| calls_of(*pid).contains(&Some(number)))
}

/// Waits until each of these processes sleeps in the system call `number`, all of its other threads being
/// idle.
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

/// Waits until every thread of these processes sleeps.
///
/// # Errors
///
/// Where one does not within ten seconds.
pub fn until_all_asleep(pids: &[u32]) -> anyhow::Result<()> {
    let quiet = |pid: &u32| calls_of(*pid).iter().all(Option::is_some);
    until("everybody asleep", Duration::from_secs(10), || {
        Ok((pids.iter().all(quiet) && pids.iter().all(quiet)).then_some(()))
    })
}

/// What the threads of these processes rest in, once nothing has changed for a while.
///
/// # Errors
///
/// Where they do not come to rest within ten seconds.
pub fn resting(pids: &[u32]) -> anyhow::Result<Rest> {
    until("rest", Duration::from_secs(10), || {
        let before = Rest::of(pids);
        std::thread::sleep(Duration::from_millis(100));
        Ok((before.is_asleep() && before == Rest::of(pids)).then_some(before))
    })
}

/// A server at rest: the calls that its threads sleep in, whoever is in which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    calls: Vec<Option<u32>>,
}

impl Rest {
    fn of(pids: &[u32]) -> Self {
        let mut calls: Vec<_> = pids.iter().flat_map(|pid| calls_of(*pid)).collect();
        // The threads of a pool come when they are needed, and stay.
        calls.retain(|call| *call != Some(FUTEX));
        calls.sort_unstable();
        Self { calls }
    }

    fn is_asleep(&self) -> bool {
        self.calls.iter().all(Option::is_some)
    }

    /// Waits until the processes rest like this again, with fewer descriptors than when a connection was
    /// `open`; says how many they have.
    ///
    /// # Errors
    ///
    /// Where they do not within ten seconds.
    pub fn until_again(&self, pids: &[u32], open: Option<usize>) -> anyhow::Result<usize> {
        until("the same rest as before", Duration::from_secs(10), || {
            let count = descriptors_of(pids);
            let is_closed = open.is_none_or(|open| count < open);
            Ok((is_closed && *self == Self::of(pids) && *self == Self::of(pids)).then_some(count))
        })
    }
}

/// Waits until the processes have more descriptors than `before`, since one of them has accepted a
/// connection, and all of their threads sleep; says how many descriptors there are.
///
/// # Errors
///
/// Where it does not happen within ten seconds.
pub fn until_accepted(pids: &[u32], before: usize) -> anyhow::Result<usize> {
    until("an accepted connection", Duration::from_secs(10), || {
        Ok((descriptors_of(pids) > before).then_some(()))
    })?;
    until_all_asleep(pids)?;
    Ok(descriptors_of(pids))
}

/// How often each thread of some processes has gone to sleep of its own accord so far.
#[derive(Debug)]
pub struct Sleeps(BTreeMap<u32, u64>);

impl Sleeps {
    /// As it stands.
    pub fn of(pids: &[u32]) -> Self {
        let threads = pids.iter().flat_map(|pid| tasks_of(*pid));
        Self(threads.filter_map(|task| Some((task.0, sleeps_of(&task.1)?))).collect())
    }

    /// Waits until `count` of these threads have been awake since, and every thread of the processes sleeps
    /// again. That all sleep is not enough: one that was woken and has not been on a CPU yet looks as if
    /// it slept.
    ///
    /// # Errors
    ///
    /// Where it does not happen within ten seconds.
    pub fn until_awake_since(&self, pids: &[u32], count: u64) -> anyhow::Result<()> {
        until(&format!("{count} threads that were woken"), Duration::from_secs(10), || {
            let now = Self::of(pids);
            let woken =
                now.0.iter().filter(|(tid, sleeps)| self.0.get(tid).is_some_and(|before| *sleeps > before));
            Ok((woken.count() as u64 >= count).then_some(()))
        })?;
        until_all_asleep(pids)
    }
}

/// `voluntary_ctxt_switches` of a thread.
fn sleeps_of(task: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(task.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

fn tasks_of(pid: u32) -> Vec<(u32, PathBuf)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| Some((task.file_name().to_str()?.parse().ok()?, task.path()))).collect()
}

fn descriptors_of(pids: &[u32]) -> usize {
    let open = |pid: &u32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    pids.iter().map(open).sum()
}

/// `futex`: what an idle thread of a pool sleeps in.
const FUTEX: u32 = 202;

/// The call that each thread of the process sleeps in; `None` for one that runs or is about to.
fn calls_of(pid: u32) -> Vec<Option<u32>> {
    let call = |task: &Path| {
        // A thread that is being woken has a call to show until it runs; its state tells.
        let stat = std::fs::read_to_string(task.join("stat")).ok()?;
        let sleeps = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['S', 'D']));
        let text = std::fs::read_to_string(task.join("syscall")).ok()?;
        Some(text.split_whitespace().next().and_then(|number| number.parse().ok()).filter(|_| sleeps))
    };
    tasks_of(pid).iter().filter_map(|(_, task)| call(task)).collect()
}
