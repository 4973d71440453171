//! Findings about the interpreter lock: threads of one process, and the same work in processes of their own.
//!
//! In: servers whose threads want the lock at the same time. Out: cases.

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;

use crate::case::{Case, Seen, between, load};

const COMPUTING: &[&[&str]] = &[&["--clients=4", "--routes=/truth/cpu/60"]];
const CALLING: &[&[&str]] = &[&["--clients=4", "--routes=/truth/calls/20"]];
const KEEPING: &[&[&str]] = &[&["--clients=3", "--routes=/truth/keep/40"]];
/// One client computes; the others want little.
const ONE_COMPUTES: &[&[&str]] = &[
    &["--clients=1", "--routes=/truth/cpu/100"],
    &["--clients=3", "--think-ms=5", "--routes=/truth/sleep/1"],
];

fn threads() -> Settings {
    Settings::gthread(Version::V27, 1, 4)
}

fn processes() -> Settings {
    Settings::sync(Version::V27, 4)
}

/// Waits for the lock: at least what threads neither ran nor were ready to while they computed, by their own
/// clocks; at most what clients waited beside the computing, by theirs.
fn asleep(seen: &Seen) -> anyhow::Result<(f64, f64)> {
    let pairs = seen.witnessed()?;
    let asleep = pairs.iter().map(|(_, line)| line.asleep_ns()).sum::<u64>() as f64 / 1e9;
    // Of the client's time, no more than what the thread did not compute.
    let whole_ns: u64 = pairs.iter().map(|(sent, _)| sent.end_ns.saturating_sub(sent.sent_ns)).sum();
    let ran_ns: u64 = pairs.iter().map(|(_, line)| line.cpu_ns + line.run_queue_ns).sum();
    Ok((asleep * 0.9, whole_ns.saturating_sub(ran_ns) as f64 / 1e9))
}

fn requests_waited(seen: &Seen) -> anyhow::Result<()> {
    between("request-seconds of waiting", seen.cost()?, asleep(seen)?)
}

fn threads_waited(seen: &Seen) -> anyhow::Result<()> {
    let window = seen.traced.number("/window/length_ns")? as f64 / 1e9;
    let (least, most) = asleep(seen)?;
    // A thread that wants the lock looks again every 5 ms; where cores are short it waits for one to do so,
    // and goes on wanting.
    let without_cpu_ns: u64 = seen.witnessed()?.iter().map(|(_, line)| line.run_queue_ns).sum();
    let without_cpu = without_cpu_ns as f64 / 1e9;
    // The thread that accepts wants the lock as well, and serves no request.
    let waited = seen.figure("gil_waiting_threads")? * window;
    between("thread-seconds of waiting", waited, (least, most + without_cpu + window))
}

/// While one of three keeps the lock both others want it, but for the moments between two requests.
fn kept(seen: &Seen) -> anyhow::Result<()> {
    let kept_ns: u64 = seen.witnessed()?.iter().map(|(_, line)| line.wall_ns).sum();
    let kept = kept_ns as f64 / 1e9;
    between("seconds kept", seen.figure("gil_not_honoured_seconds")?, (kept * 0.8, kept * 2.0))
}

/// Requests that only sleep for a millisecond wait because of the one that computes: most of what their sleep
/// took longer by the application's clock, at most all of their time by the client's.
fn starved(seen: &Seen) -> anyhow::Result<()> {
    let (mut longer_ns, mut whole_ns) = (0, 0);
    for (sent, line) in seen.witnessed()?.into_iter().filter(|(_, line)| line.kind == "sleep") {
        longer_ns += line.wall_ns.saturating_sub(1_000_000);
        whole_ns += sent.end_ns.saturating_sub(sent.sent_ns);
    }
    between("request-seconds starved", seen.cost()?, (longer_ns as f64 / 1e9 * 0.7, whole_ns as f64 / 1e9))
}

/// At least half of the waits within the application are those of threads that missed the lock, and no client
/// waits for longer than its request takes.
fn missed(seen: &Seen) -> anyhow::Result<()> {
    let whole_ns: u64 = seen.sent.iter().map(|sent| sent.end_ns.saturating_sub(sent.sent_ns)).sum();
    let (least, _) = asleep(seen)?;
    between("request-seconds of missing it", seen.cost()?, (least * 0.5, whole_ns as f64 / 1e9))
}

crate::cases! {
    #[ignore = "make live"]
    contention_of_threads_of_gunicorn => Case {
        finding: "gil-contention",
        sick: load(threads(), COMPUTING),
        well: load(processes(), COMPUTING),
        witness: requests_waited,
    };
    #[ignore = "make live"]
    contention_of_threads_of_uwsgi => Case {
        finding: "gil-contention",
        sick: load(Uwsgi::new(1, 4), COMPUTING),
        well: load(Uwsgi::new(4, 1), COMPUTING),
        witness: requests_waited,
    };
    too_many_threads_of_gunicorn => Case {
        finding: "gil-threads",
        sick: load(threads(), COMPUTING),
        well: load(processes(), COMPUTING),
        witness: threads_waited,
    };
    #[ignore = "make live"]
    too_many_threads_of_uwsgi => Case {
        finding: "gil-threads",
        sick: load(Uwsgi::new(1, 4), COMPUTING),
        well: load(Uwsgi::new(4, 1), COMPUTING),
        witness: threads_waited,
    };
    #[ignore = "make live"]
    convoy_of_gunicorn => Case {
        finding: "gil-convoy",
        sick: load(threads(), CALLING),
        well: load(processes(), CALLING),
        witness: missed,
    };
    #[ignore = "make live"]
    convoy_of_uwsgi => Case {
        finding: "gil-convoy",
        sick: load(Uwsgi::new(1, 4), CALLING),
        well: load(Uwsgi::new(4, 1), CALLING),
        witness: missed,
    };
    #[ignore = "make live"]
    a_lock_that_is_kept_in_gunicorn => Case {
        finding: "gil-not-released",
        sick: load(threads(), KEEPING),
        well: load(processes(), KEEPING),
        witness: kept,
    };
    #[ignore = "make live"]
    a_lock_that_is_kept_in_uwsgi => Case {
        finding: "gil-not-released",
        sick: load(Uwsgi::new(1, 4), KEEPING),
        well: load(Uwsgi::new(4, 1), KEEPING),
        witness: kept,
    };
    #[ignore = "make live"]
    starvation_in_gunicorn => Case {
        finding: "gil-starvation",
        sick: load(threads(), ONE_COMPUTES),
        well: load(processes(), ONE_COMPUTES),
        witness: starved,
    };
    #[ignore = "make live"]
    starvation_in_uwsgi => Case {
        finding: "gil-starvation",
        sick: load(Uwsgi::new(1, 4), ONE_COMPUTES),
        well: load(Uwsgi::new(4, 1), ONE_COMPUTES),
        witness: starved,
    };
}
