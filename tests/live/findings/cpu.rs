//! Findings about the CPU: work that takes it, a quota that takes it away.
//!
//! In: servers that compute. Out: cases.

use anyhow::ensure;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;

use crate::case::{Case, Seen, Side, between, load};

const COMPUTING: &[&[&str]] = &[&["--clients=3", "--routes=/truth/cpu/20"]];
/// One client with the work of `COMPUTING`, a tenth of the time.
const SOMETIMES: &[&[&str]] = &[&["--clients=1", "--think-ms=200", "--routes=/truth/cpu/20"]];
const LITTLE: &[&[&str]] = &[&["--clients=1", "--think-ms=20", "--routes=/truth/cpu/2"]];
/// As `LITTLE`, until so many are answered: with a quota a slow machine answers few in three seconds, and
/// findings need ten.
const LITTLE_AND_LONG: &[&[&str]] =
    &[&["--clients=1", "--think-ms=20", "--routes=/truth/cpu/2", "--requests=60", "--seconds=60"]];

/// A twentieth of a core: less than the clients ask for.
const QUOTA_CORES: f64 = 0.05;

fn sync(workers: usize) -> Settings {
    Settings::sync(Version::V27, workers)
}

fn throttled(side: Side) -> Side {
    Side { quota_cores: Some(QUOTA_CORES), ..side }
}

/// No more than their clients waited, by their own clocks.
fn waited(seen: &Seen) -> anyhow::Result<()> {
    let all_ns: u64 = seen.sent.iter().map(|sent| sent.end_ns.saturating_sub(sent.sent_ns)).sum();
    let all = all_ns as f64 / 1e9;
    between("request-seconds waited", seen.figure("inflicted_seconds")?, (all * 0.1, all))
}

/// The kernel says that the quota stopped the server.
fn stopped(seen: &Seen) -> anyhow::Result<()> {
    ensure!(seen.throttled.is_some_and(|seconds| seconds > 0.0), "the kernel stopped nothing");
    waited(seen)
}

crate::cases! {
    #[ignore = "make live"]
    computing_in_gunicorn => Case {
        finding: "cpu-bound",
        sick: load(sync(1), COMPUTING),
        well: load(sync(1), SOMETIMES),
        witness: waited,
    };
    #[ignore = "make live"]
    computing_in_uwsgi => Case {
        finding: "cpu-bound",
        sick: load(Uwsgi::new(1, 1), COMPUTING),
        well: load(Uwsgi::new(1, 1), SOMETIMES),
        witness: waited,
    };
    #[ignore = "make live"]
    a_quota_of_gunicorn => Case {
        finding: "cpu-throttled",
        sick: throttled(load(sync(2), LITTLE_AND_LONG)),
        well: load(sync(2), LITTLE),
        witness: stopped,
    };
    #[ignore = "make live"]
    a_quota_of_uwsgi => Case {
        finding: "cpu-throttled",
        sick: throttled(load(Uwsgi::new(2, 1), LITTLE_AND_LONG)),
        well: load(Uwsgi::new(2, 1), LITTLE),
        witness: stopped,
    };
}
