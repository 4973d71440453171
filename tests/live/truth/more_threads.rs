//! Capacity by worker: slots, what arrived while all were busy, what requests did, memory.
//!
//! In: a gunicorn of two threads. Out: verdicts against the clients' clocks, the application's, and the
//! kernel's own account of the worker's memory.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::trace::Trace;

/// `nanosleep` and `clock_nanosleep` on x86_64; on others both are known by what the kernel waits in.
const SLEEPS: [&str; 2] = ["35 ", "230 "];

/// Threads of a process that sleep on purpose.
fn asleep(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let calls = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("syscall")).ok());
    calls.filter(|call| SLEEPS.iter().any(|number| call.starts_with(number))).count()
}

/// Lines of `/proc/PID/smaps_rollup` in bytes.
fn rollup(pid: u32, names: &[&str]) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    names.iter().try_fold(0, |sum, name| {
        let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        let kibibytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(sum + kibibytes * 1024)
    })
}

#[test]
#[ignore = "make live"]
fn arrivals_while_all_threads_were_busy_and_the_worker_s_memory_are_those_of_the_witnesses()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(&Settings::gthread(Version::V27, 1, 2).witnessed())?;
    let worker = server.worker_pids().into_iter().next().context("there is no worker")?;
    let trace = Trace::start(server.pid())?;
    let long = Load::start(server.address(), &["--clients=2", "--requests=2", "--routes=/sleep/1500"])?;
    until("both threads to sleep", Duration::from_secs(20), || Ok((asleep(worker) >= 2).then_some(())))?;
    let short = ["--clients=5", "--requests=5", "--routes=/fast", "--first-id=2000001"];
    let short = Load::run(server.address(), &short)?;
    long.finish()?;
    let log = server.log(7)?;
    let before = rollup(worker, &["Private_Clean:", "Private_Dirty:"])?;
    let traced = trace.end()?;
    let resident = rollup(worker, &["Rss:"])?;

    let workers = traced.value("/capacity/workers")?.as_array().context("no list")?;
    let row = workers.iter().find(|row| row["pid"] == worker).context("the worker is missing")?;
    let number = |key: &str| row.get(key).and_then(Value::as_u64).with_context(|| format!("no {key}: {row}"));
    ensure!((number("slots")?, number("slots_seen")?, workers.len()) == (2, 2, 1), "{workers:?}");

    // By the clocks of the application and of the clients: both threads slept, and these were sent whole
    // meanwhile.
    let sleeps = || log.iter().filter(|line| line.path.starts_with("/sleep"));
    let began = sleeps().filter_map(|line| line.start_ns).max().context("no sleep")?;
    let ended = sleeps().filter_map(|line| line.end_ns).min().context("no sleep")?;
    let meanwhile =
        short.requests.iter().filter(|sent| sent.sent_ns > began && sent.all_sent_ns < ended).count();
    ensure!(meanwhile > 0, "the machine was too busy: nobody came while both threads slept");
    let sent = u64::try_from(short.requests.len())?;
    for arrived in [number("arrived_full")?, traced.number("/capacity/arrived_full")?] {
        ensure!(
            arrived >= meanwhile as u64 && arrived <= sent,
            "{arrived} arrived, {meanwhile} to {sent} did"
        );
    }
    ensure!(traced.number("/capacity/arrivals_unplaced")? == 0);
    let full_ns = number("exhausted_ns")?;
    ensure!(full_ns >= ended - began, "all busy for {full_ns} ns, both slept for {} ns", ended - began);

    let slept_ns: u64 = sleeps().filter_map(|line| line.duration_ns).sum();
    let share = row["other_wait_ratio"].as_f64().context("no share")?;
    let waited_ns = number("served_ns")? as f64 * share;
    // Beside the sleeps only locks for which the other requests waited can be in it.
    let others_ns: u64 = traced.under("/fast").filter_map(|request| request.service_ns).sum();
    ensure!(
        waited_ns >= 3e9 && waited_ns <= (slept_ns + others_ns) as f64,
        "{waited_ns} ns waited, {slept_ns} slept, {others_ns} served others"
    );

    // What is private is all the worker's; what is resident is counted by the kernel to some pages a CPU and
    // kind of page.
    let own = number("proportional_bytes")?;
    ensure!(own >= before && own <= resident, "PSS {own}, private {before}, resident {resident}");
    let cpus = std::thread::available_parallelism()?.get() as u64;
    let lag = 4096 * 4 * cpus * (2 * cpus).max(32);
    ensure!(
        number("resident_bytes")?.abs_diff(resident) <= lag,
        "{} and {resident}",
        number("resident_bytes")?
    );
    Ok(())
}
