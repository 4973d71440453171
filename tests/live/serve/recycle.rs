//! Workers that are replaced all the time leave nothing behind in `serve`.
//!
//! In: a gunicorn whose workers end after three requests each, with a new control socket for each worker, and
//! clients. Out: verdicts.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::agent::{Agent, sum};
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::Version;
use wsgi_trace_test_support::require_bpf;

use super::{ask, free_port};

/// Workers replaced where nobody says how many, and where an hour of deploys is asked for.
const WORKERS: usize = 400;
/// See [`WORKERS`].
const MANY_WORKERS: usize = 2000;
/// Requests that each serves.
const REQUESTS: u64 = 3;
/// Clients at a time.
const CLIENTS: usize = 3;
/// How far memory may move, in bytes, from the first quarter of the workers to the last: what the newest
/// requests take, which are kept for the page, and one more mapping of the allocator.
const MEMORY_STEP: u64 = 4_000_000;
/// Longest time for one worker to be replaced, on a machine that does other work too.
const LONGEST_EACH: Duration = Duration::from_millis(600);

/// Memory of a process that is its own: no mapped files, and no rings shared with the kernel.
fn own_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Asks until it is told to stop; counts what was answered.
fn ask_on(port: u16, stop: &AtomicBool, answered: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        // A worker that ends may leave a client without answer; that is not asked here.
        if ask(port, "/fast").is_ok_and(|status| status == 200) {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Most memory by quarter of the workers.
fn watch(workers: usize, ready: &std::path::Path, agent: &Agent) -> anyhow::Result<[u64; 4]> {
    let born = || -> anyhow::Result<usize> { Ok(std::fs::read_to_string(ready)?.lines().count()) };
    let limit = LONGEST_EACH * u32::try_from(workers)?;
    let (began, first) = (Instant::now(), born()?);
    let mut most = [0; 4];
    until("the workers to be replaced", limit, || {
        let replaced = born()? - first;
        let quarter = (replaced * 4 / workers).min(3);
        let bytes = own_bytes(agent.pid())?;
        if let Some(most) = most.get_mut(quarter) {
            *most = bytes.max(*most);
        }
        Ok((replaced >= workers).then_some(()))
    })?;
    let took = began.elapsed().as_secs_f64();
    let megabytes = most.map(|bytes| bytes as f64 / 1e6);
    eprintln!("{workers} workers replaced in {took:.0} s: {megabytes:.1?} MB at most in each quarter");
    Ok(most)
}

#[test]
#[ignore = "make live: replaces four hundred workers, make deploys two thousand in some minutes"]
fn deploys_leave_nothing_of_workers_that_are_replaced_by_the_thousand() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let workers = std::env::var_os("WSGI_TRACE_DEPLOYS").map_or(WORKERS, |_| MANY_WORKERS);
    let (port, directory) = (free_port()?, tempfile::tempdir()?);
    let ready = directory.path().join("ready");
    let mut command = Command::new(Version::V27.python());
    command
        .args(["-m", "gunicorn", "--workers", "4", "--worker-class", "gthread", "--threads", "2"])
        .args(["--log-level", "error", &format!("--max-requests={REQUESTS}")])
        .arg(format!("--bind=127.0.0.1:{port}"))
        .arg("--control-socket")
        .arg(directory.path().join("control"))
        .arg("--chdir")
        .arg(wsgi_trace_test_support::root().join("tests/apps"))
        .arg("demo_app:app")
        .env("READY_FILE", &ready)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut server = Child::start(&mut command, "gunicorn")?;
    until("gunicorn to answer", Duration::from_secs(20), || Ok(ask(port, "/fast").ok()))?;
    let agent = Agent::watching(&port.to_string(), &["--window", "1s"])?;
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let most = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| ask_on(port, &stop, &answered));
        }
        let most = watch(workers, &ready, &agent);
        stop.store(true, Ordering::Relaxed);
        most
    })?;
    ensure!(most[3] <= most[0] + MEMORY_STEP, "memory grows: {most:?}");
    let all = answered.into_inner();
    ensure!(all >= workers as u64 * REQUESTS / 2, "{all} requests for {workers} workers");
    // Nothing of it was paid for with what is seen.
    agent.wait_for_metrics("all requests to be counted", |samples| {
        sum(samples, "wsgi_trace_requests_total", &[]) >= all as f64
    })?;
    server.stop();
    let outcome = agent.end()?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    Ok(())
}
