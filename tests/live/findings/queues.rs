//! Findings about how connections come to workers: accept queues, what they wake, who gets them.
//!
//! In: servers whose settings share connections out badly. Out: cases.

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;

use crate::case::{Case, Seen, between, load, plan, same};

/// Each worker has a listener of its own.
const OWN: &[&str] = &["--reuse-port"];
const THREE_SLEEPERS: &[&[&str]] = &[&["--clients=3", "--routes=/truth/sleep/100"]];
/// A loop that is free takes all connections that came while it was blocked, before others are free.
const BURSTS: &[&str] = &["--at-once", "6", "get:/block/100:60"];
/// As `BURSTS`, without blocking.
const MILD_BURSTS: &[&str] = &["--at-once", "6", "get:/sleep/100:60"];
const CROWD: &[&[&str]] = &[&["--clients=30", "--routes=/truth/sleep/50"]];
/// As `CROWD`, but the clients do not wait for the fourth time that the kernel asks for a connection, seven
/// seconds after the first.
const IMPATIENT_CROWD: &[&[&str]] = &[&["--clients=30", "--timeout=3", "--routes=/truth/sleep/50"]];
const TRICKLE: &[&[&str]] = &[&["--clients=2", "--think-ms=5", "--routes=/fast"]];

fn sync(workers: usize) -> Settings {
    Settings::sync(Version::V27, workers)
}

/// Waits are those between the client's clock and the application's, nearly all of which stood in a queue.
fn waited(seen: &Seen) -> anyhow::Result<()> {
    let waited = seen.waited_by_clocks()?;
    between("request-seconds waited", seen.cost()?, (waited * 0.8, waited))
}

/// The listener refused no more than the kernel counts for the whole network, and nobody else was at work.
fn refused(seen: &Seen) -> anyhow::Result<()> {
    let overflows = seen.overflows as f64;
    between("attempts refused", seen.figure("refused_attempts_count")?, (overflows * 0.9, overflows))
}

/// Every connection of the clients woke somebody, and most of the workers.
fn woken(seen: &Seen) -> anyhow::Result<()> {
    same("connections", seen.figure("connections_count")?, seen.connections as f64)
}

/// Those that waited beside a free worker waited no longer than all did beyond their own tenth of a second,
/// by the client's clock.
fn behind_others(seen: &Seen) -> anyhow::Result<()> {
    let clients = seen.plan.iter().flat_map(|plan| &plan.clients);
    let waits =
        clients.map(|client| client.end_ns.saturating_sub(client.start_ns).saturating_sub(100_000_000));
    let waited = waits.sum::<u64>() as f64 / 1e9;
    between("request-seconds waited", seen.cost()?, (0.0, waited))
}

crate::cases! {
    backlog_of_gunicorn => Case {
        finding: "backlog-too-small",
        sick: load(sync(1).with(&["--backlog=4"]), IMPATIENT_CROWD),
        well: load(sync(1), IMPATIENT_CROWD),
        witness: refused,
    };
    #[ignore = "make live"]
    backlog_of_uwsgi => Case {
        finding: "backlog-too-small",
        sick: load(Uwsgi::new(1, 1).with(&["--listen=4"]), CROWD),
        well: load(Uwsgi::new(1, 1).with(&["--listen=100"]), CROWD),
        witness: refused,
    };
    #[ignore = "make live"]
    herd_of_gunicorn => Case {
        finding: "herd",
        sick: load(sync(8), TRICKLE),
        well: load(sync(8).with(OWN), TRICKLE),
        witness: woken,
    };
    #[ignore = "make live"]
    herd_of_uwsgi => Case {
        finding: "herd",
        sick: load(Uwsgi::new(8, 1), TRICKLE),
        well: load(Uwsgi::new(8, 1).with(&["--thunder-lock"]), TRICKLE),
        witness: woken,
    };
    #[ignore = "make live"]
    full_beside_free_of_gunicorn_whose_workers_accept_more_than_they_serve => Case {
        finding: "full-beside-free",
        sick: load(Settings::gthread(Version::V27, 3, 1), THREE_SLEEPERS),
        well: load(Settings::gthread(Version::V27, 3, 3), THREE_SLEEPERS),
        witness: waited,
    };
    #[ignore = "make live"]
    full_beside_free_of_uvicorn_whose_workers_accept_more_than_they_serve => Case {
        finding: "full-beside-free",
        sick: plan(Uvicorn { application: Application::Asgi, workers: 3 }, BURSTS),
        well: plan(Uvicorn { application: Application::Asgi, workers: 3 }, MILD_BURSTS),
        witness: behind_others,
    };
}
