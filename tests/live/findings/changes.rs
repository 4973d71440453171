//! Findings about what changes within the window.
//!
//! In: servers whose back end becomes slower, or whose workers are all replaced, and servers of which neither
//! is so. Out: cases.

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::witness::Witness;

use crate::case::{Case, SERVED_FIRST, Seen, Side, Workers, between, load, same};

/// The first questions take 10 ms each, the others 40.
const SLOWING: &[&[&str]] = &[&["--clients=3", "--think-ms=10", "--routes=/truth/slowing/10"]];
/// Some questions of the same endpoint take four times as long as others, from the beginning to the end.
const LONG_AND_SHORT: &[&[&str]] =
    &[&["--clients=3", "--think-ms=10", "--routes=/truth/backend/10=2,/truth/backend/40=1"]];
/// Each takes as long as those at the end.
const SLOW: &[&[&str]] = &[&["--clients=3", "--think-ms=10", "--routes=/truth/backend/40"]];

/// The back end, which says how many questions it answers quickly.
const BACK_END: &str = include_str!("../../apps/backend.py");
/// How exactly a moment is known, in seconds: a window of three seconds and what is around it has stretches
/// of 134 ms.
const STRETCH_SECONDS: f64 = 0.3;

/// Long enough for others to take the workers' place and to serve some of them.
const FOR_LONG: &[&[&str]] = &[&["--clients=3", "--think-ms=10", "--seconds=8", "--routes=/truth/sleep/10"]];

fn sync() -> Settings {
    Settings::sync(Version::V27, 2)
}

/// A worker of uWSGI exits at once by SIGTERM, in the middle of a request, and after its request by SIGHUP;
/// the master begins another (2.0.30).
const ENDS_OF_UWSGI: Workers = Workers::OneEnds(libc::SIGHUP);
/// One of gunicorn exits after its request by SIGTERM.
const ENDS_OF_GUNICORN: Workers = Workers::OneEnds(libc::SIGTERM);

/// Before it executes itself again it closes every number that a descriptor could have: some ten thousand
/// calls, else.
fn uwsgi() -> Uwsgi {
    Uwsgi::new(2, 1).with(&["--max-fd=256"])
}

fn gthread() -> Settings {
    Settings::gthread(Version::V27, 2, 4)
}

fn mean_asleep_ns(of: &[&Witness]) -> f64 {
    let all_ns: u64 = of.iter().map(|line| line.asleep_ns()).sum();
    all_ns as f64 / of.len().max(1) as f64
}

/// Questions that the back end answers quickly.
fn quick_answers() -> anyhow::Result<usize> {
    let number = BACK_END.lines().find_map(|line| line.strip_prefix("QUICK = "));
    Ok(number.context("the back end does not say how many questions it answers quickly")?.parse()?)
}

/// From the question on from which the application was asleep for longer, by its own clocks, waits are longer
/// by as much as it was asleep.
fn slower_since(seen: &Seen) -> anyhow::Result<()> {
    let mut lines: Vec<_> = seen.witnessed()?.into_iter().map(|(_, line)| line).collect();
    lines.sort_by_key(|line| line.start_ns);
    let is_slow = |asleep_ns: u64| asleep_ns > 25_000_000;
    let (slow, quick): (Vec<&Witness>, Vec<&Witness>) =
        lines.iter().partition(|line| is_slow(line.asleep_ns()));
    ensure!(slow.len() >= 40, "only {} slow answers", slow.len());
    // Which of some questions at once is the last quick one is the back end's to say.
    ensure!(quick.len().abs_diff(quick_answers()?) <= 5, "{} quick answers", quick.len());
    let longer = (mean_asleep_ns(&slow) - mean_asleep_ns(&quick)) * slow.len() as f64 / 1e9;
    between("request-seconds longer", seen.cost()?, (longer * 0.85, longer * 1.1))?;

    let window_ns = seen.traced.number("/window/start_ns")?;
    let first_ns = slow.first().context("no slow answer")?.end_ns;
    let since = first_ns.saturating_sub(window_ns) as f64 / 1e9;
    let bounds = (since - STRETCH_SECONDS, since + STRETCH_SECONDS);
    between("seconds until it began", seen.figure("since_seconds")?, bounds)?;
    let number = slow.len() as f64;
    between("requests after", seen.figure("after_requests_count")?, (number * 0.75, number * 1.3))?;
    between("times as long", seen.figure("after_of_before_times")?, (2.8, 4.4))
}

/// Requests count for the side of the worker that the application says it was.
fn parted_by_worker(seen: &Seen) -> anyhow::Result<()> {
    let is_old = |pid: u32| seen.workers_before.contains(&pid);
    let witnessed = seen.witnessed()?;
    let (old, new): (Vec<_>, Vec<_>) =
        witnessed.iter().map(|(_, line)| line).partition(|line| is_old(line.pid));
    ensure!(old.len().min(new.len()) > 50, "{} requests before, {} after", old.len(), new.len());
    same("requests before", seen.figure("requests_before_count")?, old.len() as f64)?;
    same("requests after", seen.figure("requests_after_count")?, new.len() as f64)?;
    same("workers before", seen.figure("workers_before_count")?, seen.workers_before.len() as f64)?;

    // Each slept for 10 ms, and a little more was done for it.
    between("median before", seen.figure("median_before_seconds")?, (0.009, 0.030))?;
    between("median after", seen.figure("median_after_seconds")?, (0.009, 0.030))?;

    // The server was told once the application had witnessed so many requests, and the new workers begin
    // before all that they serve.
    let window_ns = seen.traced.number("/window/start_ns")?;
    let seconds = |time_ns: u64| time_ns.saturating_sub(window_ns) as f64 / 1e9;
    let mut ends_ns: Vec<u64> = seen.server.witness()?.iter().map(|line| line.end_ns).collect();
    ends_ns.sort_unstable();
    let served_first = *ends_ns.get(SERVED_FIRST - 1).context("too few requests before")?;
    let first_new = new.iter().map(|line| line.start_ns).min().context("no request after")?;
    between(
        "seconds until the first was replaced",
        seen.figure("since_seconds")?,
        (seconds(served_first), seconds(first_new)),
    )
}

fn with(workers: Workers, side: Side) -> Side {
    Side { workers, ..side }
}

crate::cases! {
    #[ignore = "make live"]
    workers_of_gunicorn_that_are_all_replaced => Case {
        finding: "workers-replaced",
        sick: with(Workers::Reloaded, load(sync(), FOR_LONG)),
        well: with(ENDS_OF_GUNICORN, load(sync(), FOR_LONG)),
        witness: parted_by_worker,
    };
    #[ignore = "make live"]
    workers_of_uwsgi_that_are_all_replaced => Case {
        finding: "workers-replaced",
        sick: with(Workers::Reloaded, load(uwsgi(), FOR_LONG)),
        well: with(ENDS_OF_UWSGI, load(uwsgi(), FOR_LONG)),
        witness: parted_by_worker,
    };
    #[ignore = "make live"]
    a_back_end_of_gunicorn_that_becomes_slower => Case {
        finding: "back-end-slower",
        sick: load(gthread(), SLOWING),
        well: load(gthread(), LONG_AND_SHORT),
        witness: slower_since,
    };
    #[ignore = "make live"]
    a_back_end_of_uwsgi_that_becomes_slower => Case {
        finding: "back-end-slower",
        sick: load(Uwsgi::new(4, 1), SLOWING),
        well: load(Uwsgi::new(4, 1), SLOW),
        witness: slower_since,
    };
}
