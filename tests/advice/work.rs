//! The loads of trials: what clients do.
//!
//! In: nothing. Out: [`Work`], one constant for each.

use std::time::Duration;

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) about: &'static str,
    /// Options of `clients/load.py`, one program each.
    pub(crate) clients: &'static [&'static [&'static str]],
    /// How long clients are at work before the watch begins.
    pub(crate) run_up: Duration,
}

const fn work(about: &'static str, clients: &'static [&'static [&'static str]]) -> Work {
    Work { about, clients, run_up: Duration::from_millis(500) }
}

pub(crate) const LONG: Work = work(
    "8 clients; each request sleeps 300 ms",
    &[&["--clients=8", "--keep-alive=20", "--routes=/sleep/300"]],
);
pub(crate) const CPU: Work =
    work("8 clients; each request computes 5 ms", &[&["--clients=8", "--keep-alive=20", "--routes=/cpu"]]);
pub(crate) const BACK_END: Work = work(
    "8 clients; each request waits 20 ms for a back end",
    &[&["--clients=8", "--keep-alive=20", "--routes=/backend"]],
);
pub(crate) const SHORT_LONG: Work = work(
    "8 clients; of five requests one sleeps 400 ms, four are done at once",
    &[&["--clients=8", "--routes=/fast=4,/sleep/400"]],
);
pub(crate) const SLOW: Work = work(
    "6 clients send 1 kB in 1 s; 2 quick ones beside them",
    &[&["--clients=2", "--think-ms=50", "--slow-bodies=6", "--slow-body-bytes=1000"]],
);
pub(crate) const SILENT: Work = work(
    "4 clients connect and say nothing for 1 s; 2 quick ones beside them",
    &[&["--clients=2", "--think-ms=20", "--idle=4", "--idle-seconds=1"]],
);
pub(crate) const SHORT: Work =
    work("8 clients, a connection for each request", &[&["--clients=8", "--think-ms=10"]]);
/// A core is computed for nearly all the time, in short pieces.
pub(crate) const STEADY: Work = work(
    "4 clients; each request computes 5 ms, 20 ms between two",
    &[&["--clients=4", "--think-ms=20", "--routes=/cpu"]],
);
pub(crate) const COMPUTING: Work =
    work("4 clients; each request computes 60 ms", &[&["--clients=4", "--routes=/truth/cpu/60"]]);
pub(crate) const CALLING: Work = work(
    "4 clients; each request computes 20 ms, with a system call every 0.2 ms",
    &[&["--clients=4", "--routes=/truth/calls/20"]],
);
pub(crate) const KEEPING: Work =
    work("3 clients; each request keeps the GIL for 40 ms", &[&["--clients=3", "--routes=/truth/keep/40"]]);
pub(crate) const ONE_COMPUTES: Work = work(
    "1 client, each of whose requests computes 100 ms; 3 that want little beside it",
    &[
        &["--clients=1", "--routes=/truth/cpu/100"],
        &["--clients=3", "--think-ms=5", "--routes=/truth/sleep/1"],
    ],
);
pub(crate) const ONE_BLOCKS: Work = work(
    "1 client, each of whose requests computes 60 ms; 3 quick ones beside it",
    &[&["--clients=1", "--routes=/compute/60"], &["--clients=3", "--think-ms=10", "--routes=/fast"]],
);
/// They begin one after the other, so that not all try again to connect at the same moment.
pub(crate) const CROWD: Work = work(
    "48 clients, a connection for each request, which sleeps 50 ms",
    &[&["--clients=48", "--spread-seconds=2", "--routes=/sleep/50"]],
);
pub(crate) const FEW: Work = work(
    "4 clients, a connection for each request, which sleeps 100 ms",
    &[&["--clients=4", "--routes=/sleep/100"]],
);
pub(crate) const FIVE: Work = work(
    "5 clients, a connection for each request, which sleeps 300 ms",
    &[&["--clients=5", "--routes=/sleep/300"]],
);
pub(crate) const FIFTY: Work = work(
    "50 clients, a connection for each request, which sleeps 100 ms",
    &[&["--clients=50", "--routes=/sleep/100"]],
);
pub(crate) const IMPATIENT: Work = work(
    "8 clients that leave after 0.9 s; each request sleeps 300 ms",
    &[&["--clients=8", "--timeout=0.9", "--routes=/sleep/300"]],
);
pub(crate) const KEPT: Work = work(
    "14 clients that keep their connections, with 250 ms between two requests",
    &[&["--clients=14", "--keep-alive=1000", "--think-ms=250"]],
);
pub(crate) const LATE: Work = work(
    "24 clients that keep their connections, with 1.7 s between two requests",
    &[&["--clients=24", "--keep-alive=20", "--think-ms=1700", "--spread-seconds=1.7"]],
);
pub(crate) const VERY_LONG: Work =
    work("4 clients; each request sleeps 3.2 s", &[&["--clients=4", "--routes=/sleep/3200"]]);
