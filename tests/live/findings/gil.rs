//! Findings about the interpreter lock: threads of one process, and the same work in processes of their own.
//!
//! In: servers whose threads want the lock at the same time. Out: cases.

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;

use crate::case::{Case, Seen, between, load};

const COMPUTING: &[&[&str]] = &[&["--clients=4", "--routes=/truth/cpu/60"]];

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

/// No more than that is the finding's; where cores are short, who had the CPU has the rest of it.
fn requests_waited(seen: &Seen) -> anyhow::Result<()> {
    let (least, most) = asleep(seen)?;
    between("request-seconds of waiting for the lock", seen.figure("inflicted_seconds")?, (0.0, most))?;
    let all = seen.traced.number("/verdict/all_waiting_ns")? as f64 / 1e9;
    between("request-seconds of waiting for others", all, (least, f64::INFINITY))
}

crate::cases! {
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
}
