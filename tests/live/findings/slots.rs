//! Findings about slots that others wait for; and the server of which nothing is to be said.
//!
//! In: servers with few slots, and with enough. Out: cases.

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::gevent::GunicornGevent;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

use crate::case::{Case, Seen, between, load, same};

const SIX_SLEEPERS: &[&[&str]] = &[&["--clients=6", "--routes=/truth/sleep/50"]];
const SIX_ASKING: &[&[&str]] = &[&["--clients=6", "--routes=/truth/backend/40"]];
const CONNECTING: &[&[&str]] = &[&["--clients=3", "--think-ms=10", "--routes=/truth/own/10"]];
/// The questions of `CONNECTING`, on connections that threads keep.
const KEEPING: &[&[&str]] = &[&["--clients=3", "--think-ms=10", "--routes=/truth/kept/10"]];
/// How long the back end takes until a connection is ready; a clock's tick less.
const READY_SECONDS: f64 = 0.009;
const SIX_LOOKING_UP: &[&[&str]] = &[&["--clients=6", "--routes=/truth/lookup/40"]];
const SLOW_UPLOADS: &[&[&str]] =
    &[&["--clients=2", "--think-ms=50", "--slow-bodies=2", "--slow-body-bytes=1000"]];
/// The bodies of `SLOW_UPLOADS`, a thousand times as fast.
const UPLOADS: &[&[&str]] = &[&["--clients=1", "--think-ms=50", "--kinds=sized", "--upload-bytes=1000"]];
const SILENT: &[&[&str]] = &[&["--clients=3", "--think-ms=20", "--idle=4", "--idle-seconds=0.2"]];
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
    between("request-seconds waited", seen.figure("inflicted_seconds")?, (waited * 0.8, waited))
}

/// Quick requests take no time of their own: what their clients waited, they waited for others.
fn behind_others(seen: &Seen) -> anyhow::Result<()> {
    let quick = seen.sent.iter().filter(|sent| sent.kind != "slow_body" && sent.status.is_some());
    let all_ns: u64 = quick.map(|sent| sent.end_ns.saturating_sub(sent.sent_ns)).sum();
    let all = all_ns as f64 / 1e9;
    between("request-seconds waited", seen.figure("inflicted_seconds")?, (all * 0.5, all))
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

/// The finding is about as many requests as the clients sent.
fn all_requests(seen: &Seen) -> anyhow::Result<()> {
    same("requests", seen.figure("requests_count")?, seen.sent.len() as f64)
}

crate::cases! {
    #[ignore = "make live"]
    too_few_slots_of_gunicorn => Case {
        finding: "sleeping",
        sick: load(sync(2), SIX_SLEEPERS),
        well: load(sync(9), SIX_SLEEPERS),
        witness: waited,
    };
    #[ignore = "make live"]
    too_few_slots_of_waitress => Case {
        finding: "sleeping",
        sick: load(waitress(2), SIX_SLEEPERS),
        well: load(waitress(9), SIX_SLEEPERS),
        witness: waited,
    };
    #[ignore = "make live"]
    slow_clients_of_gunicorn => Case {
        finding: "slow-clients",
        sick: load(Settings::gthread(Version::V27, 1, 2), SLOW_UPLOADS),
        well: load(Settings::gthread(Version::V27, 1, 2), UPLOADS),
        witness: behind_others,
    };
    #[ignore = "make live"]
    slow_clients_of_cheroot => Case {
        finding: "slow-clients",
        sick: load(Cheroot { threads: 2 }, SLOW_UPLOADS),
        well: load(Cheroot { threads: 2 }, UPLOADS),
        witness: behind_others,
    };
    #[ignore = "make live"]
    idle_connections_of_gunicorn => Case {
        finding: "idle-connections",
        sick: load(sync(2), SILENT),
        well: load(GunicornGevent { workers: 1 }, SILENT),
        witness: behind_others,
    };
    #[ignore = "make live"]
    idle_connections_of_cheroot => Case {
        finding: "idle-connections",
        sick: load(Cheroot { threads: 4 }, SILENT),
        well: load(Cheroot { threads: 4 }, NOT_SILENT),
        witness: behind_others,
    };
    #[ignore = "make live"]
    a_back_end_of_gunicorn => Case {
        finding: "back-end",
        sick: load(sync(2), SIX_ASKING),
        well: load(sync(9), SIX_ASKING),
        witness: waited,
    };
    #[ignore = "make live"]
    a_back_end_of_uwsgi => Case {
        finding: "back-end",
        sick: load(Uwsgi::new(2, 1), SIX_ASKING),
        well: load(Uwsgi::new(9, 1), SIX_ASKING),
        witness: waited,
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
        sick: load(sync(2), SIX_LOOKING_UP),
        well: load(sync(9), SIX_LOOKING_UP),
        witness: waited,
    };
    #[ignore = "make live"]
    names_that_uwsgi_looks_up => Case {
        finding: "name-lookups",
        sick: load(Uwsgi::new(2, 1), SIX_LOOKING_UP),
        well: load(Uwsgi::new(9, 1), SIX_LOOKING_UP),
        witness: waited,
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
