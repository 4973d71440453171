//! How full a server is at this moment, although nothing of it has ended.
//!
//! In: servers whose slots are all taken, clients that wait for one. Out: verdicts.

use std::time::{Duration, Instant};

use anyhow::ensure;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::agent::{Agent, Samples, sum};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::raw::RawClient;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::waitress::Waitress;

use super::port;

/// Slots of each server here, and clients that ask at once.
const SLOTS: usize = 2;
const CLIENTS: usize = 4;
/// How long each request takes, in milliseconds: nothing ends while it is looked.
const SLEEP_MS: u64 = 3_500;
/// So long all have been there at least when it is looked at.
const STUCK: Duration = Duration::from_secs(1);

fn gauge(samples: &Samples, name: &str) -> f64 {
    sum(samples, &format!("wsgi_trace_{name}"), &[])
}

fn counts(samples: &Samples) -> [f64; 3] {
    ["slots_busy", "requests_in_line", "slot_demand_ratio"].map(|name| gauge(samples, name))
}

/// All ask at once for so many milliseconds of sleep.
fn ask_at_once(address: &Address, sleep_ms: u64) -> anyhow::Result<Vec<RawClient>> {
    let ask = |_| {
        let mut client = RawClient::connect(address)?;
        client.send(&format!("GET /sleep/{sleep_ms} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))?;
        Ok(client)
    };
    (0..CLIENTS).map(ask).collect()
}

/// Before anybody asks, while all are stuck, and when the last is answered.
fn fills_and_empties(address: &Address, mode: &str) -> anyhow::Result<()> {
    let agent = Agent::watching(&port(address), &[mode, "--window", "1h"])?;
    // A thread that has answered nothing yet is not known to serve, where another one reads for it.
    for mut client in ask_at_once(address, 50)? {
        client.read_to_end()?;
    }
    let began = Instant::now();
    let clients = ask_at_once(address, SLEEP_MS)?;
    std::thread::sleep(STUCK);
    let samples = agent.metrics()?;
    let by_now = began.elapsed().as_secs_f64();
    ensure!(by_now < SLEEP_MS as f64 / 1e3, "a look took too long for this test: {by_now} s");
    let wanted = CLIENTS as f64 / SLOTS as f64;
    ensure!(counts(&samples) == [SLOTS as f64, (CLIENTS - SLOTS) as f64, wanted], "{mode}: {samples:?}");
    let longest = ["request_in_line_longest_seconds", "request_served_longest_seconds"];
    for seconds in longest.map(|name| gauge(&samples, name)) {
        ensure!(seconds <= by_now && seconds >= STUCK.as_secs_f64() * 0.9, "{mode}: {seconds} of {by_now} s");
    }
    for mut client in clients {
        client.read_to_end()?;
    }
    agent.wait_for_metrics("nobody to be there", |samples| counts(samples) == [0.0; 3])?;
    let samples = agent.metrics()?;
    ensure!(longest.map(|name| gauge(&samples, name)) == [0.0; 2], "{mode}: {samples:?}");
    agent.end()?;
    Ok(())
}

#[test]
#[ignore = "make live: requests are stuck for seconds"]
fn stuck_workers_and_who_waits_for_one_are_counted_while_nothing_ends() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, SLOTS))?;
    ["--full", "--light"].into_iter().try_for_each(|mode| fills_and_empties(server.address(), mode))
}

#[test]
#[ignore = "make live: requests are stuck for seconds"]
fn stuck_threads_and_who_waits_for_one_are_counted_while_nothing_ends() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, SLOTS))?;
    ["--full", "--light"].into_iter().try_for_each(|mode| fills_and_empties(server.address(), mode))
}

#[test]
#[ignore = "make live: requests are stuck for seconds"]
fn requests_that_another_thread_has_read_wait_for_one_that_serves() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Server::start(&Waitress { threads: SLOTS as u32 })?;
    fills_and_empties(server.address(), "--full")
}
