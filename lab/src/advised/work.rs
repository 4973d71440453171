//! The loads of trials: what clients do.
//!
//! In: nothing. Out: [`Work`], one constant for each.

use std::time::Duration;

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// In words.
    pub about: &'static str,
    /// Options of `clients/load.py`, one program each.
    pub clients: &'static [&'static [&'static str]],
    /// How long clients are at work before the watch begins.
    pub run_up: Duration,
}

const fn work(about: &'static str, clients: &'static [&'static [&'static str]]) -> Work {
    Work { about, clients, run_up: Duration::from_millis(500) }
}

/// Long requests that wait.
pub const LONG: Work = work(
    "8 clients; each request sleeps 300 ms",
    &[&["--clients=8", "--keep-alive=20", "--routes=/sleep/300"]],
);
/// Requests that compute.
pub const CPU: Work =
    work("8 clients; each request computes 5 ms", &[&["--clients=8", "--keep-alive=20", "--routes=/cpu"]]);
/// Requests that wait for a back end.
pub const BACK_END: Work = work(
    "8 clients; each request waits 20 ms for a back end",
    &[&["--clients=8", "--keep-alive=20", "--routes=/backend"]],
);
/// Short requests among long ones.
pub const SHORT_LONG: Work = work(
    "8 clients; of five requests one sleeps 400 ms, four are done at once",
    &[&["--clients=8", "--routes=/fast=4,/sleep/400"]],
);
/// Clients that send slowly.
pub const SLOW: Work = work(
    "6 clients send 1 kB in 1 s; 2 quick ones beside them",
    &[&["--clients=2", "--think-ms=50", "--slow-bodies=6", "--slow-body-bytes=1000"]],
);
/// Clients that connect ahead.
pub const SILENT: Work = work(
    "4 clients connect and say nothing for 1 s; 2 quick ones beside them",
    &[&["--clients=2", "--think-ms=20", "--idle=4", "--idle-seconds=1"]],
);
/// Short requests.
pub const SHORT: Work =
    work("8 clients, a connection for each request", &[&["--clients=8", "--think-ms=10"]]);
/// A core is computed for nearly all the time, in short pieces.
pub const STEADY: Work = work(
    "4 clients; each request computes 5 ms, 20 ms between two",
    &[&["--clients=4", "--think-ms=20", "--routes=/cpu"]],
);
/// Long requests that compute.
pub const COMPUTING: Work =
    work("4 clients; each request computes 60 ms", &[&["--clients=4", "--routes=/truth/cpu/60"]]);
/// Computing that calls the system again and again.
pub const CALLING: Work = work(
    "4 clients; each request computes 20 ms, with a system call every 0.2 ms",
    &[&["--clients=4", "--routes=/truth/calls/20"]],
);
/// Requests that keep the GIL.
pub const KEEPING: Work =
    work("3 clients; each request keeps the GIL for 40 ms", &[&["--clients=3", "--routes=/truth/keep/40"]]);
/// Long computing beside requests that want little.
pub const ONE_COMPUTES: Work = work(
    "1 client, each of whose requests computes 100 ms; 3 that want little beside it",
    &[
        &["--clients=1", "--routes=/truth/cpu/100"],
        &["--clients=3", "--think-ms=5", "--routes=/truth/sleep/1"],
    ],
);
/// Long computing beside short requests.
pub const ONE_BLOCKS: Work = work(
    "1 client, each of whose requests computes 60 ms; 3 quick ones beside it",
    &[&["--clients=1", "--routes=/compute/60"], &["--clients=3", "--think-ms=10", "--routes=/fast"]],
);
/// Many clients that begin one after the other, so that not all try again to connect at the same moment.
pub const CROWD: Work = work(
    "48 clients, a connection for each request, which sleeps 50 ms",
    &[&["--clients=48", "--spread-seconds=2", "--routes=/sleep/50"]],
);
/// As many clients as slots.
pub const FEW: Work = work(
    "4 clients, a connection for each request, which sleeps 100 ms",
    &[&["--clients=4", "--routes=/sleep/100"]],
);
/// Fewer clients than workers.
pub const FIVE: Work = work(
    "5 clients, a connection for each request, which sleeps 300 ms",
    &[&["--clients=5", "--routes=/sleep/300"]],
);
/// Many clients.
pub const FIFTY: Work = work(
    "50 clients, a connection for each request, which sleeps 100 ms",
    &[&["--clients=50", "--routes=/sleep/100"]],
);
/// Clients that leave.
pub const IMPATIENT: Work = work(
    "8 clients that leave after 0.9 s; each request sleeps 300 ms",
    &[&["--clients=8", "--timeout=0.9", "--routes=/sleep/300"]],
);
/// Connections that are kept.
pub const KEPT: Work = work(
    "14 clients that keep their connections, with 250 ms between two requests",
    &[&["--clients=14", "--keep-alive=1000", "--think-ms=250"]],
);
/// Connections that are kept for longer than servers do.
pub const LATE: Work = work(
    "24 clients that keep their connections, with 1.7 s between two requests",
    &[&["--clients=24", "--keep-alive=20", "--think-ms=1700", "--spread-seconds=1.7"]],
);
/// Requests longer than timeouts.
pub const VERY_LONG: Work =
    work("4 clients; each request sleeps 3.2 s", &[&["--clients=4", "--routes=/sleep/3200"]]);
