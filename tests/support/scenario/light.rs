//! The situations of light mode, which observes no system call: one entry each.
//!
//! In: nothing. Out: [`SCENARIOS`]. Servers and clients are those of full traces where these have the same.

use std::time::Duration;

use super::Clients::{self, Any, Dropping};
use super::Verdict::{First, OneOf, Unsaid, Usual};
use super::gunicorn::{gthread_1x4, gthread_1x4_with_tls, gthread_2x4, sync_1, sync_2_of_23};
use super::others::{INTERLEAVED, LEAVING, gunicorn_gevent, lasting_loop, uvicorn, uwsgi_threads, waitress};
use super::{Scenario, Verdict, scenario};
use crate::gunicorn::{Settings, Version};
use crate::server::{Listen, Recipe};

fn gthread_1x4_at_a_unix_socket() -> Box<dyn Recipe> {
    Box::new(Settings::gthread(Version::V27, 1, 4).on(Listen::Unix))
}

const fn light(
    name: &'static str,
    about: &'static str,
    server: fn() -> Box<dyn Recipe>,
    clients: Clients,
    verdict: Verdict,
) -> Scenario {
    let window = Duration::from_millis(1_500);
    Scenario { window, options: &["--light"], ..scenario(name, about, server, clients, verdict) }
}

/// Every situation.
pub(super) const SCENARIOS: &[Scenario] = &[
    light(
        "light-gthread",
        "requests of all sorts on four threads",
        gthread_1x4,
        Any(INTERLEAVED),
        Usual("back-end"),
    ),
    light(
        "light-gthread-exhausted",
        "one worker of four threads, twelve clients that want 100 ms of sleep each",
        gthread_1x4,
        Any(&["--clients=12", "--keep-alive=20", "--routes=/sleep/100"]),
        First("sleeping", &[]),
    ),
    light(
        "light-gthread-cpu",
        "three clients that keep threads of one interpreter computing: each turn of its lock is a wait",
        gthread_1x4,
        Any(&["--clients=3", "--keep-alive=20", "--routes=/truth/cpu/20=3,/truth/calls/5"]),
        OneOf(&["gil-contention", "cpu-bound", "cpu-taken"], &[]),
    ),
    light(
        "light-slow-upload",
        "two clients that send a body of 3 kB at 1 kB/s, and quick ones",
        gthread_2x4,
        Any(&["--clients=2", "--think-ms=50", "--slow-bodies=2"]),
        Usual("slow-clients"),
    ),
    light(
        "light-slow-reader",
        "a client that takes 0.8 s to read 16 MB from one of two sync workers, and a quick one",
        sync_2_of_23,
        Any(&["--clients=1", "--think-ms=50", "--slow-readers=1", "--slow-read-seconds=0.8"]),
        Usual("slow-clients"),
    ),
    light(
        "light-dropped",
        "clients that leave, and answers that a sync worker cuts short",
        sync_1,
        Dropping(LEAVING),
        OneOf(&["clients-leave", "sleeping"], &[]),
    ),
    light(
        "light-unix",
        "four threads at a UNIX socket, whose end no hook shows",
        gthread_1x4_at_a_unix_socket,
        Any(&["--clients=3", "--keep-alive=5", "--think-ms=30", "--routes=/fast,/backend,/sleep/5"]),
        Usual("back-end"),
    ),
    light(
        "light-tls",
        "a server that does the TLS itself: requests without names",
        gthread_1x4_with_tls,
        Any(&["--clients=2", "--keep-alive=4", "--think-ms=20", "--tls=1.3", "--routes=/fast,/sleep/5"]),
        Unsaid,
    ),
    light(
        "light-waitress",
        "Waitress: the main thread reads and hands over to one of four",
        waitress,
        Any(&["--clients=3", "--keep-alive=5", "--think-ms=30", "--routes=/fast,/backend,/cpu,/sleep/5"]),
        Usual("back-end"),
    ),
    light(
        "light-uwsgi",
        "four threads of uWSGI that take turns to accept",
        uwsgi_threads,
        Any(&["--clients=3", "--think-ms=30", "--routes=/fast,/backend,/cpu,/sleep/5"]),
        Usual("back-end"),
    ),
    light(
        "light-gevent",
        "greenlets that interleave: light mode says nothing of whom their loop waits for",
        gunicorn_gevent,
        Any(&["--clients=4", "--keep-alive=5", "--think-ms=20", "--routes=/fast,/backend=2,/sleep/15,/cpu"]),
        Unsaid,
    ),
    light(
        "light-asyncio",
        "coroutines of one loop: some compute, some block it, others sleep meanwhile",
        uvicorn,
        Any(&[
            "--clients=4",
            "--keep-alive=5",
            "--think-ms=10",
            "--routes=/compute/10=3,/block/15,/sleep/40,/backend",
        ]),
        Unsaid,
    ),
    Scenario {
        window: Duration::from_millis(2_000),
        rolls: true,
        ..light(
            "light-rolled",
            "two windows that follow one another, as in `serve`, while threads wait for a back end",
            gthread_2x4,
            Any(&["--clients=3", "--keep-alive=5", "--think-ms=30", "--routes=/truth/backend/40=3,/fast"]),
            Usual("back-end"),
        )
    },
    light(
        "light-lasting-uvicorn",
        "WebSockets and streams of events on one loop, and some pages",
        lasting_loop,
        Clients::Lasting,
        Unsaid,
    ),
];
