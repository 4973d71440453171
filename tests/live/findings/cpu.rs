//! Findings about the CPU: work that takes it, a quota that takes it away.
//!
//! In: servers that compute. Out: cases.

use anyhow::Context as _;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;

use crate::case::{Case, Seen, Side, between, load};

const COMPUTING: &[&[&str]] = &[&["--clients=1", "--routes=/truth/cpu/20"]];
/// The work of `COMPUTING`, a tenth of the time.
const SOMETIMES: &[&[&str]] = &[&["--clients=1", "--think-ms=200", "--routes=/truth/cpu/20"]];
const LITTLE: &[&[&str]] = &[&["--clients=1", "--think-ms=20", "--routes=/truth/cpu/2"]];
/// As `LITTLE`, until so many are answered: with a quota a slow machine answers few in three seconds, and
/// findings need ten.
const LITTLE_AND_LONG: &[&[&str]] =
    &[&["--clients=1", "--think-ms=20", "--routes=/truth/cpu/2", "--requests=60", "--seconds=60"]];

/// A figure of the report has six digits.
const ROUNDED: f64 = 1e-5;
/// A twentieth of a core: less than the clients ask for.
const QUOTA_CORES: f64 = 0.05;

fn sync(workers: usize) -> Settings {
    Settings::sync(Version::V27, workers)
}

fn throttled(side: Side) -> Side {
    Side { quota_cores: Some(QUOTA_CORES), ..side }
}

/// Time on a CPU and in line for one, by the threads' own clocks, is most of what the finding counts.
fn computed(seen: &Seen) -> anyhow::Result<()> {
    let used_ns: u64 = seen.witnessed()?.iter().map(|(_, line)| line.cpu_ns + line.run_queue_ns).sum();
    let used = used_ns as f64 / 1e9;
    between("request-seconds of CPU", seen.cost()?, (used * 0.9, used * 1.3))
}

/// No longer than the kernel says that it stopped the server, and most of that: the first and the last of it
/// are outside of the window.
fn stopped(seen: &Seen) -> anyhow::Result<()> {
    let kernel = seen.throttled.context("there was no quota")?;
    between("seconds stopped", seen.figure("throttled_seconds")?, (kernel * 0.7, kernel + ROUNDED))
}

crate::cases! {
    #[ignore = "make live"]
    computing_in_gunicorn => Case {
        finding: "cpu-bound",
        sick: load(sync(1), COMPUTING),
        well: load(sync(1), SOMETIMES),
        witness: computed,
    };
    #[ignore = "make live"]
    computing_in_uwsgi => Case {
        finding: "cpu-bound",
        sick: load(Uwsgi::new(1, 1), COMPUTING),
        well: load(Uwsgi::new(1, 1), SOMETIMES),
        witness: computed,
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
