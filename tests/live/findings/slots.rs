//! Findings about slots: what holds them, who waits for one; and the server of which nothing is to be said.
//!
//! In: servers with few slots, and with enough. Out: cases.

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::gevent::GunicornGevent;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

use crate::case::{Case, LOAD_SECONDS, Seen, between, load, same};

const SIX_SLEEPERS: &[&[&str]] = &[&["--clients=6", "--routes=/truth/sleep/50"]];
/// Quick requests among some that take their time.
const MIXED: &[&[&str]] = &[&["--clients=8", "--routes=/fast=4,/sleep/400"]];
const ASKING: &[&[&str]] = &[&["--clients=3", "--think-ms=40", "--routes=/truth/backend/40"]];
/// The application sleeps as long by itself.
const NOT_ASKING: &[&[&str]] = &[&["--clients=3", "--think-ms=40", "--routes=/truth/sleep/40"]];
const CONNECTING: &[&[&str]] = &[&["--clients=3", "--think-ms=10", "--routes=/truth/own/10"]];
/// The questions of `CONNECTING`, on connections that threads keep.
const KEEPING: &[&[&str]] = &[&["--clients=3", "--think-ms=10", "--routes=/truth/kept/10"]];
/// How long the back end takes until a connection is ready; a clock's tick less.
const READY_SECONDS: f64 = 0.009;
const LOOKING_UP: &[&[&str]] = &[&["--clients=3", "--think-ms=40", "--routes=/truth/lookup/40"]];
const SLOW_UPLOADS: &[&[&str]] =
    &[&["--clients=1", "--think-ms=50", "--slow-bodies=2", "--slow-body-bytes=1000"]];
/// The bodies of `SLOW_UPLOADS`, a thousand times as fast.
const UPLOADS: &[&[&str]] = &[&["--clients=1", "--think-ms=50", "--kinds=sized", "--upload-bytes=1000"]];
const SILENT: &[&[&str]] = &[&["--clients=1", "--think-ms=50", "--idle=1", "--idle-seconds=0.2"]];
const NOT_SILENT: &[&[&str]] = &[&["--clients=2", "--think-ms=50"]];
const LIGHT: &[&[&str]] = &[&["--clients=1", "--think-ms=60", "--routes=/truth/sleep/5"]];

fn sync(workers: usize) -> Settings {
    Settings::sync(Version::V23, workers)
}

fn gthread() -> Settings {
    Settings::gthread(Version::V27, 2, 4)
}

fn waitress(threads: u32) -> Waitress {
    Waitress { threads }
}

/// Waits are those between the client's clock and the application's.
fn waited(seen: &Seen) -> anyhow::Result<()> {
    let waited = seen.waited_by_clocks()?;
    between("request-seconds waited", seen.cost()?, (waited * 0.8, waited))
}

/// Time that requests were asleep in the application is what they waited for the back end, or for a name
/// server.
fn asked(seen: &Seen) -> anyhow::Result<()> {
    let asleep_ns: u64 = seen.witnessed()?.iter().map(|(_, line)| line.asleep_ns()).sum();
    let asleep = asleep_ns as f64 / 1e9;
    between("request-seconds of waiting for the back end", seen.cost()?, (asleep * 0.9, asleep * 1.05))
}

/// Each request set up one connection, and waited for it at least as long as the back end took.
fn set_up(seen: &Seen) -> anyhow::Result<()> {
    let witnessed = seen.witnessed()?;
    let number = witnessed.len() as f64;
    same("connections", seen.figure("connections_count")?, number)?;
    let asleep_ns: u64 = witnessed.iter().map(|(_, line)| line.asleep_ns()).sum();
    between(
        "request-seconds until they were ready",
        seen.cost()?,
        (number * READY_SECONDS, asleep_ns as f64 / 1e9),
    )
}

/// Each slow body takes its second, by the client's clock, in which it held a slot.
fn sent_slowly(seen: &Seen) -> anyhow::Result<()> {
    let slow = seen.sent.iter().filter(|sent| sent.kind == "slow_body");
    let all_ns: u64 = slow.map(|sent| sent.end_ns.saturating_sub(sent.sent_ns)).sum();
    let all = all_ns as f64 / 1e9;
    between("slot-seconds held", seen.cost()?, (all * 0.9, all * 1.05))
}

/// How long clients of short requests waited for their answers on average, in milliseconds.
fn short_ones(seen: &Seen) -> anyhow::Result<()> {
    let short = seen.sent.iter().filter(|sent| sent.path.starts_with("/fast") && sent.status.is_some());
    let waits: Vec<u64> = short.map(|sent| sent.end_ns.saturating_sub(sent.sent_ns)).collect();
    let mean = waits.iter().sum::<u64>() as f64 / waits.len().max(1) as f64 / 1e6;
    between("milliseconds that short ones wait", seen.figure("wait_mean_milliseconds")?, (mean * 0.8, mean))
}

/// A silent client holds a slot for as long as it is there, which is nearly always.
fn held(seen: &Seen) -> anyhow::Result<()> {
    let window = seen.traced.number("/window/length_ns")? as f64 / 1e9;
    between("slot-seconds held", seen.cost()?, (LOAD_SECONDS * 0.8, window))
}

/// The finding is about as many requests as the clients sent.
fn all_requests(seen: &Seen) -> anyhow::Result<()> {
    same("requests", seen.figure("requests_count")?, seen.sent.len() as f64)
}

crate::cases! {
    #[ignore = "make live"]
    too_few_slots_of_gunicorn => Case {
        finding: "slots-exhausted",
        sick: load(sync(2), SIX_SLEEPERS),
        well: load(sync(9), SIX_SLEEPERS),
        witness: waited,
    };
    #[ignore = "make live"]
    too_few_slots_of_waitress => Case {
        finding: "slots-exhausted",
        sick: load(waitress(2), SIX_SLEEPERS),
        well: load(waitress(9), SIX_SLEEPERS),
        witness: waited,
    };
    #[ignore = "make live"]
    short_behind_long_in_gunicorn => Case {
        finding: "short-behind-long",
        sick: load(sync(2), MIXED),
        well: load(sync(9), MIXED),
        witness: short_ones,
    };
    #[ignore = "make live"]
    short_behind_long_in_uwsgi => Case {
        finding: "short-behind-long",
        sick: load(Uwsgi::new(2, 1), MIXED),
        well: load(Uwsgi::new(9, 1), MIXED),
        witness: short_ones,
    };
    #[ignore = "make live"]
    slow_clients_of_gunicorn => Case {
        finding: "slow-clients",
        sick: load(gthread(), SLOW_UPLOADS),
        well: load(gthread(), UPLOADS),
        witness: sent_slowly,
    };
    #[ignore = "make live"]
    slow_clients_of_cheroot => Case {
        finding: "slow-clients",
        sick: load(Cheroot { threads: 4 }, SLOW_UPLOADS),
        well: load(Cheroot { threads: 4 }, UPLOADS),
        witness: sent_slowly,
    };
    #[ignore = "make live"]
    idle_connections_of_gunicorn => Case {
        finding: "idle-connections",
        sick: load(sync(2), SILENT),
        well: load(GunicornGevent { workers: 1 }, SILENT),
        witness: held,
    };
    #[ignore = "make live"]
    idle_connections_of_cheroot => Case {
        finding: "idle-connections",
        sick: load(Cheroot { threads: 4 }, SILENT),
        well: load(Cheroot { threads: 4 }, NOT_SILENT),
        witness: held,
    };
    #[ignore = "make live"]
    a_back_end_of_gunicorn => Case {
        finding: "back-end",
        sick: load(gthread(), ASKING),
        well: load(gthread(), NOT_ASKING),
        witness: asked,
    };
    #[ignore = "make live"]
    a_back_end_of_uwsgi => Case {
        finding: "back-end",
        sick: load(Uwsgi::new(4, 1), ASKING),
        well: load(Uwsgi::new(4, 1), NOT_ASKING),
        witness: asked,
    };
    #[ignore = "make live"]
    connections_of_gunicorn_to_a_back_end => Case {
        finding: "back-end-connections",
        sick: load(gthread(), CONNECTING),
        well: load(gthread(), KEEPING),
        witness: set_up,
    };
    #[ignore = "make live"]
    connections_of_cheroot_to_a_back_end => Case {
        finding: "back-end-connections",
        sick: load(Cheroot { threads: 4 }, CONNECTING),
        well: load(Cheroot { threads: 4 }, KEEPING),
        witness: set_up,
    };
    #[ignore = "make live"]
    names_that_gunicorn_looks_up => Case {
        finding: "name-lookups",
        sick: load(gthread(), LOOKING_UP),
        well: load(gthread(), ASKING),
        witness: asked,
    };
    #[ignore = "make live"]
    names_that_uwsgi_looks_up => Case {
        finding: "name-lookups",
        sick: load(Uwsgi::new(4, 1), LOOKING_UP),
        well: load(Uwsgi::new(4, 1), ASKING),
        witness: asked,
    };
    // The other way round: what is present on the good one is absent on the bad one.
    #[ignore = "make live: make test has a healthy pool in verdicts"]
    a_healthy_gunicorn => Case {
        finding: "healthy",
        sick: load(gthread(), LIGHT),
        well: load(sync(2), SIX_SLEEPERS),
        witness: all_requests,
    };
    #[ignore = "make live"]
    a_healthy_waitress => Case {
        finding: "healthy",
        sick: load(waitress(4), LIGHT),
        well: load(waitress(2), SIX_SLEEPERS),
        witness: all_requests,
    };
}
