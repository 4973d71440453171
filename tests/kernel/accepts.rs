//! Accepts that fail, in light mode, on any kernel: only those that are known not to let their functions be
//! hooked are left out.
//!
//! In: a gunicorn whose worker has no file descriptor left. Out: verdicts: the report has the accept that
//! failed, with its limit, and the worker that ended by it; what the next worker serves is served.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::program::Program;

use crate::known::is_known_to_lack;
use crate::load::Load;
use crate::real::has_light_mode;
use crate::server::{Gunicorn, LIMIT, Workers};

const ONE: Workers = Workers { class: "gthread", processes: 1, threads: 2 };
const REQUESTS: Load = Load { clients: 1, requests: 2, kept: 1, paths: &["/fast"] };

/// gunicorn's worker ends by an accept that fails, and another takes its place.
pub(crate) fn counted() -> anyhow::Result<()> {
    if !has_light_mode() || is_known_to_lack("accept4_returns") {
        println!("no light mode here, or no hooks on functions");
        return Ok(());
    }
    let server = Gunicorn::start(ONE)?;
    let worker = only_child(server.pid())?;
    until("the worker to wait for connections", LIMIT, || Ok(polls(worker)?.then_some(())))?;
    let limit = lowest_unused(worker)?;
    leave_no_more_than(worker, limit)?;
    let pid = server.pid().to_string();
    let mut program = Program::start(&["--pid", &pid, "--light", "--format", "json"])?;
    program.wait_for_stderr("watching process")?;
    REQUESTS.run(server.port())?;
    program.signal(libc::SIGINT);
    let outcome = program.finish(LIMIT)?;
    ensure!(outcome.status.success(), "{}: {}", outcome.status, outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).context("the report is not JSON")?;
    let drops = report.get("drops").context("no drops")?;
    let failures = drops.get("accept_failures").and_then(Value::as_array).context("no failures")?;
    let of_worker = failures.iter().find(|failure| failure.get("pid") == Some(&worker.into()));
    let failure = of_worker.with_context(|| format!("none of process {worker}: {drops}"))?;
    ensure!(failure.get("error") == Some(&"EMFILE".into()), "{failure}");
    ensure!(failure.get("count").and_then(Value::as_u64).is_some_and(|count| count > 0), "{failure}");
    ensure!(failure.get("open_files_limit") == Some(&limit.into()), "{failure}, limit {limit}");
    // The client waited in the queue for the next worker. Its connections may be open at the end.
    let number = |key: &str| drops.get(key).and_then(Value::as_u64);
    let of_clients = number("served").zip(number("open")).map(|(served, open)| served + open);
    ensure!(of_clients == Some(REQUESTS.total() as u64) && number("dropped") == Some(0), "{drops}");
    Ok(())
}

fn only_child(pid: u32) -> anyhow::Result<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(children.split_ascii_whitespace().next().context("it has no worker")?.parse()?)
}

/// Whether an epoll instance of the process has something to wait for (`tfd` in proc_pid_fdinfo(5)). Before
/// that it opens files for a moment, and its epoll instance itself.
fn polls(pid: u32) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // The descriptor may have been closed meanwhile.
        if std::fs::read_to_string(entry?.path()).unwrap_or_default().contains("tfd:") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The descriptor that the process gets next.
fn lowest_unused(pid: u32) -> anyhow::Result<u64> {
    let directory = PathBuf::from(format!("/proc/{pid}/fd"));
    (0..u64::from(u16::MAX)).find(|fd| !directory.join(fd.to_string()).is_symlink()).context("all are in use")
}

fn leave_no_more_than(pid: u32, limit: u64) -> anyhow::Result<()> {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    let pid = libc::pid_t::try_from(pid)?;
    // SAFETY: the pointer is to a whole structure; no old limit is asked for.
    let outcome = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    ensure!(outcome == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}
