//! Open arrivals: requests that come when they are due, whatever the server does. Their client costs little CPU time, as it shares the cores.
//!
//! In: a schedule made from a seed. Out: when each was due, was sent, and was answered. A thread serves one request at a time; there are as many as
//! may be in flight, and how late requests were sent is told.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Requests that may be in flight at once.
const CLIENTS: usize = 256;
/// A server that says nothing for this long has failed.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Stack of a client's thread.
const STACK_BYTES: usize = 64 * 1024;

/// One request to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// When, since the start.
    pub after: Duration,
    /// Path without its number.
    pub path: &'static str,
}

/// What became of one.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How much later than due it was sent.
    pub late: Duration,
    /// From being due to the end of the response; `None`: there was none.
    pub took: Option<Duration>,
}

/// Poisson arrivals of so many requests a second for so long; each path comes in proportion to its weight. The same seed gives the same again.
#[must_use]
pub fn poisson(seed: u64, rate_per_s: f64, length: Duration, mix: &[(&'static str, f64)]) -> Vec<Due> {
    let mut random = fastrand::Rng::with_seed(seed);
    let weights: f64 = mix.iter().map(|(_, weight)| weight).sum();
    let mut due = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s -= (1.0 - random.f64()).ln() / rate_per_s;
        if at_s >= length.as_secs_f64() {
            return due;
        }
        let mut left = random.f64() * weights;
        let chosen = mix.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        if let Some((path, _)) = chosen.or(mix.last()) {
            due.push(Due { after: Duration::from_secs_f64(at_s), path });
        }
    }
}

/// Sends each when it is due, on a connection of its own, until all are answered or `stop` is set.
///
/// # Errors
///
/// Where no client can be started.
pub fn send(address: &str, schedule: &[Due], stop: &AtomicBool) -> anyhow::Result<Vec<Answer>> {
    let (start, next) = (Instant::now(), AtomicUsize::new(0));
    let client = || {
        let mut answers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(due) = schedule.get(number) else { break };
            std::thread::sleep(due.after.saturating_sub(start.elapsed()));
            let late = start.elapsed().saturating_sub(due.after);
            let is_answered = ask(address, due.path, number).is_ok();
            answers
                .push(Answer { late, took: is_answered.then(|| start.elapsed().saturating_sub(due.after)) });
        }
        answers
    };
    std::thread::scope(|scope| {
        let started: Result<Vec<_>, _> = (0..CLIENTS)
            .map(|_| std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, client))
            .collect();
        let mut answers = Vec::with_capacity(schedule.len());
        for client in started.context("a client cannot be started")? {
            match client.join() {
                Ok(of_client) => answers.extend(of_client),
                Err(_) => bail!("a client failed"),
            }
        }
        Ok(answers)
    })
}

fn ask(address: &str, path: &str, number: usize) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.write_all(
        format!("GET {path}/{number} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut response = [0; 1024];
    let mut length = 0;
    loop {
        let room = response.get_mut(length..).filter(|room| !room.is_empty()).context("a longer response")?;
        match connection.read(room)? {
            0 => break,
            read => length += read,
        }
    }
    if !response.starts_with(b"HTTP/1.1 200") {
        bail!("no answer");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_those_of_their_rate_and_mix_and_the_same_again() {
        let made = || poisson(7, 100.0, Duration::from_secs(100), &[("/a", 3.0), ("/b", 1.0)]);
        let due = made();
        assert_eq!(due, made());
        assert!(due.is_sorted_by_key(|one| one.after));
        // 10,000 with a standard deviation of 100.
        assert!((9_600..10_400).contains(&due.len()), "{}", due.len());
        let of_b = due.iter().filter(|one| one.path == "/b").count() as f64 / due.len() as f64;
        assert!((of_b - 0.25).abs() < 0.02, "{of_b}");
    }
}
