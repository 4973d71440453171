//! The situations of gunicorn's sync and gthread workers: servers, clients and verdicts, one entry each.
//!
//! In: nothing. Out: [`SCENARIOS`]. Rates are low, so that a recording of a few seconds stays small and the
//! machine itself is not what is short.

use std::time::Duration;

use super::Clients::{Any, Nobody, OneWorker};
use super::Verdict::{First, Healthy, OneOf, Undecided, Unsaid, Usual};
use super::{Scenario, scenario};
use crate::gunicorn::{Settings, Version};
use crate::server::Recipe;
use crate::server::tls::Tls;

pub(super) fn sync_1() -> Box<dyn Recipe> {
    Box::new(Settings::sync(Version::V27, 1))
}

fn sync_2() -> Box<dyn Recipe> {
    Box::new(Settings::sync(Version::V27, 2))
}

pub(super) fn sync_2_of_23() -> Box<dyn Recipe> {
    Box::new(Settings::sync(Version::V23, 2))
}

fn sync_6() -> Box<dyn Recipe> {
    // 23 does not wait for clients to close, which are short of cores themselves.
    Box::new(Settings::sync(Version::V23, 6))
}

fn gthread_1x2() -> Box<dyn Recipe> {
    Box::new(Settings::gthread(Version::V27, 1, 2))
}

pub(super) fn gthread_1x4() -> Box<dyn Recipe> {
    Box::new(Settings::gthread(Version::V27, 1, 4))
}

pub(super) fn gthread_1x4_with_tls() -> Box<dyn Recipe> {
    Box::new(Tls::of(Settings::gthread(Version::V27, 1, 4)))
}

pub(super) fn gthread_2x4() -> Box<dyn Recipe> {
    Box::new(Settings::gthread(Version::V27, 2, 4))
}

/// Every situation.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "sync-exhausted",
        "two sync workers, six clients that want 50 ms of sleep each",
        sync_2,
        Any(&["--clients=6", "--routes=/sleep/50"]),
        First("sleeping", &["cpu-bound"]),
    ),
    Scenario {
        // A forecast needs 500 requests.
        window: Duration::from_secs(10),
        ..scenario(
            "sync-forecast",
            "two sync workers, five clients that want some sleep now and then: threads would help, and what they bring is forecast",
            sync_2,
            Any(&["--clients=5", "--think-ms=50", "--routes=/sleep/15=3,/sleep/60"]),
            First("sleeping", &[]),
        )
    },
    scenario(
        "gthread-exhausted",
        "one worker of four threads, twelve clients that want 100 ms of sleep each",
        gthread_1x4,
        Any(&["--clients=12", "--keep-alive=20", "--routes=/sleep/100"]),
        First("sleeping", &[]),
    ),
    Scenario {
        window: Duration::from_millis(1_200),
        options: &["--tls=uprobes"],
        ..scenario(
            "gthread-tls-named",
            "a server that does the TLS itself, and whose OpenSSL is read: most answers are errors",
            gthread_1x4_with_tls,
            Any(&[
                "--clients=2",
                "--keep-alive=30",
                "--think-ms=20",
                "--tls=1.3",
                "--routes=/error,/missing",
            ]),
            First("server-errors", &[]),
        )
    },
    Scenario {
        window: Duration::from_millis(1_200),
        options: &["--tls=off"],
        ..scenario(
            "gthread-tls",
            "a server that does the TLS itself and answers nothing but errors, which nobody can see",
            gthread_1x4_with_tls,
            Any(&["--clients=2", "--keep-alive=4", "--think-ms=20", "--tls=1.3", "--routes=/error,/missing"]),
            Unsaid,
        )
    },
    scenario(
        "gthread-one-worker-exhausted",
        "two workers of four threads; ten connections all on the same worker, the other one idles",
        gthread_2x4,
        OneWorker(&["--clients=1", "--think-ms=100", "--sticky=10", "--routes=/sleep/100"]),
        First("sleeping", &[]),
    ),
    scenario(
        "gthread-slow-upload",
        "two clients that send a body of 3 kB at 1 kB/s, and quick ones",
        gthread_2x4,
        Any(&["--clients=2", "--think-ms=50", "--slow-bodies=2"]),
        Usual("slow-clients"),
    ),
    scenario(
        "sync-slow-reader",
        "a client that takes 0.8 s to read 16 MB from one of two sync workers, and a quick one",
        sync_2_of_23,
        Any(&["--clients=1", "--think-ms=50", "--slow-readers=1", "--slow-read-seconds=0.8"]),
        Usual("slow-clients"),
    ),
    scenario(
        "sync-fresh-connections",
        "clients that connect to sync workers, send nothing for a fifth of a second and go; quick ones wait behind them",
        sync_2_of_23,
        Any(&["--clients=3", "--think-ms=20", "--idle=2", "--idle-seconds=0.2"]),
        First("idle-connections", &[]),
    ),
    scenario(
        "sync-lingering-close",
        "clients of gunicorn 27's sync workers that read the answer and do not close",
        sync_2,
        Any(&["--clients=1", "--think-ms=50", "--lingering=1"]),
        // Another worker is free nearly always, so hardly anybody waits.
        OneOf(&["healthy", "idle-connections"], &[]),
    ),
    scenario(
        "gthread-acceptor-linger",
        "clients of gunicorn 27's gthread worker that read the answer and do not close: the main thread waits for them",
        gthread_1x4,
        Any(&["--clients=3", "--think-ms=50", "--lingering=1", "--linger-seconds=0.3"]),
        First("idle-connections", &[]),
    ),
    scenario(
        "gthread-back-end",
        "requests that wait 40 ms for a back end",
        gthread_2x4,
        Any(&["--clients=3", "--keep-alive=10", "--think-ms=40", "--routes=/truth/backend/40"]),
        Usual("back-end"),
    ),
    scenario(
        "sync-cpu",
        "one client that keeps the only sync worker computing",
        sync_1,
        Any(&["--clients=1", "--routes=/truth/cpu/20"]),
        Usual("cpu-bound"),
    ),
    Scenario {
        // Each turn of the interpreter is a wait, some hundred a second and thread.
        window: Duration::from_millis(1_100),
        ..scenario(
            "gthread-cpu",
            "two clients that keep two threads of one interpreter computing",
            gthread_1x2,
            Any(&["--clients=2", "--keep-alive=20", "--routes=/truth/cpu/20"]),
            OneOf(&["gil-contention", "cpu-bound"], &["cpu-taken"]),
        )
    },
    Scenario {
        // Shorter: at full speed a worker serves many requests.
        window: Duration::from_millis(1_200),
        ..scenario(
            "sync-cores-short",
            "six sync workers computing at once on fewer cores",
            sync_6,
            Any(&["--clients=6", "--routes=/truth/cpu/40"]),
            OneOf(&["cpu-bound", "cpu-taken"], &[]),
        )
    },
    Scenario {
        quota_cores: Some(0.05),
        ..scenario(
            "sync-throttled",
            "two sync workers in a cgroup of a twentieth of a core",
            sync_2,
            Any(&["--clients=2", "--routes=/truth/cpu/2"]),
            OneOf(&["cpu-throttled", "cpu-taken"], &["cpu-bound"]),
        )
    },
    scenario(
        "sync-short-behind-long",
        "quick requests on two sync workers that mostly sleep for 400 ms; of gunicorn 23, which does not linger",
        sync_2_of_23,
        Any(&["--clients=5", "--routes=/fast,/sleep/400"]),
        First("sleeping", &[]),
    ),
    scenario(
        "gthread-healthy",
        "light load of 5 ms requests",
        gthread_2x4,
        Any(&["--clients=2", "--keep-alive=10", "--think-ms=60", "--routes=/truth/sleep/5,/fast"]),
        Healthy,
    ),
    scenario(
        "sync-healthy",
        "light load of small requests that compute a little",
        sync_2,
        Any(&["--clients=1", "--think-ms=60", "--routes=/truth/cpu/5,/fast"]),
        Healthy,
    ),
    scenario("sync-idle", "no request at all", sync_2, Nobody, Undecided),
];
