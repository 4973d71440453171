//! The trials: a server, a load that provokes a finding on it, and what is known of advice that does not help here.
//!
//! In: nothing. Out: [`TRIALS`].

use std::time::Duration;

use crate::setup::{Kind, Setup};

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) about: &'static str,
    /// Options of `clients/load.py`, one program each.
    pub(crate) clients: &'static [&'static [&'static str]],
    /// How long clients are at work before the watch begins.
    pub(crate) run_up: Duration,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    /// On the command line.
    pub(crate) name: &'static str,
    /// The finding whose advice is applied.
    pub(crate) finding: &'static str,
    /// Server, kind of worker, processes, threads.
    server: (Kind, &'static str, u32, u32),
    pub(crate) work: Work,
    /// Why the finding may stay all the same.
    pub(crate) known: Option<&'static str>,
}

impl Trial {
    pub(crate) const fn setup(&self) -> Setup {
        let (kind, class, processes, threads) = self.server;
        Setup::new(kind, class, processes, threads)
    }
}

const fn work(about: &'static str, clients: &'static [&'static [&'static str]]) -> Work {
    Work { about, clients, run_up: Duration::from_millis(500) }
}

const LONG: Work = work(
    "8 clients; each request sleeps 300 ms",
    &[&["--clients=8", "--keep-alive=20", "--routes=/sleep/300"]],
);
const CPU: Work =
    work("8 clients; each request computes 5 ms", &[&["--clients=8", "--keep-alive=20", "--routes=/cpu"]]);
const BACK_END: Work = work(
    "8 clients; each request waits 20 ms for a back end",
    &[&["--clients=8", "--keep-alive=20", "--routes=/backend"]],
);
const SHORT_LONG: Work = work(
    "8 clients; of five requests one sleeps 400 ms, four are done at once",
    &[&["--clients=8", "--routes=/fast=4,/sleep/400"]],
);
const SLOW: Work = work(
    "6 clients send 1 kB in 1 s; 2 quick ones beside them",
    &[&["--clients=2", "--think-ms=50", "--slow-bodies=6", "--slow-body-bytes=1000"]],
);
const SHORT: Work = work("8 clients, a connection for each request", &[&["--clients=8", "--think-ms=10"]]);

/// Why the advice of servers with one process cannot be followed by settings.
const SECOND: &str = "a second server and a proxy are not started here";

/// Why a full loop stays full under clients that do not wait.
const ASK_AGAIN: &str = "the clients ask again at once, and keep both loops full";
/// Why one step is not enough, and no other is a setting that always holds.
const TWO_THREADS: &str =
    "two threads a worker are too few, and what to do then depends on what the long requests do";

const fn trial(
    name: &'static str,
    finding: &'static str,
    server: (Kind, &'static str, u32, u32),
    work: Work,
) -> Trial {
    Trial { name, finding, server, work, known: None }
}

/// All of them, in the order of the table.
pub(crate) const TRIALS: &[Trial] = &[
    trial("slots-gthread", "slots-exhausted", (Kind::Gunicorn, "gthread", 1, 4), LONG),
    trial("slots-sync", "slots-exhausted", (Kind::Gunicorn, "sync", 4, 1), LONG),
    trial("slots-uwsgi-processes", "slots-exhausted", (Kind::Uwsgi, "", 4, 1), LONG),
    trial("slots-uwsgi-threads", "slots-exhausted", (Kind::Uwsgi, "", 1, 4), LONG),
    trial("slots-mod_wsgi", "slots-exhausted", (Kind::ModWsgi, "", 1, 5), LONG),
    trial("slots-waitress", "slots-exhausted", (Kind::Waitress, "", 1, 4), LONG),
    trial("slots-cheroot", "slots-exhausted", (Kind::Cheroot, "", 1, 4), LONG),
    trial("back-end-gthread", "slots-exhausted", (Kind::Gunicorn, "gthread", 1, 4), BACK_END),
    trial("back-end-uwsgi", "slots-exhausted", (Kind::Uwsgi, "", 1, 4), BACK_END),
    trial("gil-threads-gthread", "gil-threads", (Kind::Gunicorn, "gthread", 1, 4), CPU),
    trial("gil-threads-uwsgi", "gil-threads", (Kind::Uwsgi, "", 1, 4), CPU),
    trial("gil-threads-mod_wsgi", "gil-threads", (Kind::ModWsgi, "", 1, 5), CPU),
    Trial {
        known: Some(SECOND),
        ..trial("gil-threads-waitress", "gil-threads", (Kind::Waitress, "", 1, 4), CPU)
    },
    Trial {
        known: Some(SECOND),
        ..trial("gil-threads-cheroot", "gil-threads", (Kind::Cheroot, "", 1, 4), CPU)
    },
    Trial {
        known: Some(
            "the load takes all cores there are, and fewer workers add none: requests wait in line and no longer for a core",
        ),
        ..trial("cores-sync", "cpu-bound", (Kind::Gunicorn, "sync", 6, 1), CPU)
    },
    Trial {
        known: Some(ASK_AGAIN),
        ..trial("loop-gevent", "loop-saturated", (Kind::Gunicorn, "gevent", 1, 1), CPU)
    },
    Trial {
        known: Some(TWO_THREADS),
        ..trial("short-long-sync", "short-behind-long", (Kind::Gunicorn, "sync", 4, 1), SHORT_LONG)
    },
    Trial {
        known: Some(SECOND),
        ..trial("short-long-uwsgi", "short-behind-long", (Kind::Uwsgi, "", 1, 4), SHORT_LONG)
    },
    Trial {
        known: Some(SECOND),
        ..trial("slow-clients-gthread", "slow-clients", (Kind::Gunicorn, "gthread", 1, 4), SLOW)
    },
    trial("herd-sync", "herd", (Kind::Gunicorn, "sync", 8, 1), SHORT),
    trial("herd-gthread", "herd", (Kind::Gunicorn, "gthread", 8, 2), SHORT),
    trial("herd-uwsgi", "herd", (Kind::Uwsgi, "", 8, 1), SHORT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_trials_are_unique() {
        for (index, trial) in TRIALS.iter().enumerate() {
            assert!(TRIALS.iter().skip(index + 1).all(|other| other.name != trial.name), "{}", trial.name);
        }
    }
}
