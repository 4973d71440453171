//! Waits for the interpreter lock against the application's own clocks.
//!
//! In: servers whose requests compute at the same time, or never. Out: verdicts.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gil_episodes::waits_of;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::{Trace, Traced};

fn traced(server: &Gunicorn, options: &[&str]) -> anyhow::Result<Traced> {
    let trace = Trace::start(server.master())?;
    let sent = Load::run(server.address(), options)?;
    server.access_log(sent.answered())?;
    trace.end()
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Threads that only compute sleep for nothing but the lock: what their own clocks say of wall, CPU and run
/// queue leaves the time that they waited for it.
#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn waits_for_the_interpreter_lock_agree_with_the_threads_own_clocks() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 2))?;
    let traced = traced(&server, &["--requests", "2", "--clients", "1", "--routes", "/truth/gil/1500"])?;
    let told = waits_of(&traced.recording)?;
    let witnesses: Vec<_> = server.witness()?.into_iter().filter(|witness| witness.kind == "cpu").collect();
    assert_eq!(witnesses.len(), 4);
    // What the host took from a thread that ran is neither its CPU time nor its run queue: by its own clocks
    // it slept.
    let stolen_ns = traced.number("/losses/conservation/stolen_ns")?;
    for witness in witnesses {
        // A thread waits before its clocks are read first and after they are read last as well: that is none
        // of theirs.
        let (by_holder, handover_ns) = told.asleep(witness.tid, witness.start_ns, witness.end_ns);
        let ours_ns = by_holder.values().sum::<u64>() + handover_ns;
        let error = share(ours_ns.abs_diff(witness.asleep_ns()), witness.asleep_ns());
        eprintln!(
            "thread {}: asleep for the lock {:.1} ms, {:.1} ms of it for the next holder, by its own clocks {:.1} ms of \
             {:.1} ms, error {:.2} %",
            witness.tid,
            ours_ns as f64 / 1e6,
            handover_ns as f64 / 1e6,
            witness.asleep_ns() as f64 / 1e6,
            witness.wall_ns as f64 / 1e6,
            error * 100.0,
        );
        assert!(witness.asleep_ns() > witness.cpu_ns / 2, "the load did not contend");
        let (least_ns, most_ns) = (witness.asleep_ns() * 98 / 100, witness.asleep_ns() * 102 / 100);
        assert!(
            (least_ns.saturating_sub(stolen_ns)..=most_ns).contains(&ours_ns),
            "{ours_ns} against {}, {stolen_ns} stolen",
            witness.asleep_ns()
        );
    }
    Ok(())
}

/// Two threads keep the lock for 11 ms and sleep for 2 ms by turns, without computing: the rest of its time
/// each waits, about half. No probe is involved, and nobody's CPU time.
#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn threads_that_take_turns_wait_as_long_as_their_own_clocks_say() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let mut command = Command::new(Version::V27.python());
    command
        .arg(wsgi_trace_test_support::root().join("tests/apps/gil_odd.py"))
        .arg("duty")
        .stdout(Stdio::piped());
    let mut child = Child::start(&mut command, "two threads")?;
    let mut line = String::new();
    BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
    let port: u16 = line.trim().parse().context("no port")?;
    let mut program = Program::start(&["--pid", &child.pid().to_string(), "--format", "json"])?;
    program.wait_for_stderr("watching process")?;
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    program.signal(libc::SIGINT);
    let report: Value = serde_json::from_str(&program.finish(Duration::from_secs(60))?.stdout)?;
    let number = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_u64).with_context(|| format!("no {key} in {value}"))
    };
    let threads = report.pointer("/gil/threads").and_then(Value::as_array).context("no threads")?;
    let told: Vec<Value> = serde_json::from_str(&answer)?;
    assert_eq!(told.len(), 2);
    for witness in &told {
        let tid = number(witness, "tid")?;
        let waiter = threads.iter().find(|thread| number(thread, "tid").is_ok_and(|found| found == tid));
        let ours_ns = number(waiter.context("it never waited")?, "total_ns")?;
        let (theirs_ns, wall_ns) = (number(witness, "waited_ns")?, number(witness, "wall_ns")?);
        let run_queue_ns = number(witness, "run_queue_ns")?;
        eprintln!(
            "thread {tid}: waited {:.1} ms, by its own clock {:.1} ms of {:.1} ms ({:.1} ms without a CPU)",
            ours_ns as f64 / 1e6,
            theirs_ns as f64 / 1e6,
            wall_ns as f64 / 1e6,
            run_queue_ns as f64 / 1e6
        );
        assert!(theirs_ns > wall_ns * 3 / 10, "the load did not contend");
        assert!(
            ours_ns.abs_diff(theirs_ns) <= theirs_ns / 50 + run_queue_ns,
            "{ours_ns} against {theirs_ns}"
        );
    }
    Ok(())
}

/// Requests wait for the lock as their threads do. A request also waits for it outside of what the
/// application times, but no longer than that takes.
fn who_computes_waits_for_the_interpreter_lock(version: Version) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(&Settings::gthread(version, 1, 4))?;
    let options = ["--requests", "30", "--seconds", "60", "--clients", "3", "--routes", "/truth/cpu/100"];
    let traced = traced(&server, &options)?;
    let ours: BTreeMap<u64, _> =
        traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let (mut ours_ns, mut handed_over_ns, mut theirs_ns, mut cpu_ns, mut outside_ns) = (0, 0, 0, 0, 0);
    let witnesses = server.witness()?;
    assert_eq!(witnesses.len(), 30);
    for witness in &witnesses {
        let request = ours.get(&witness.id.parse()?).context("a request is missing")?;
        ours_ns += request.phase_ns("gil_wait");
        // Who is made to give the lock up waits until another has taken it, which takes long where cores are
        // short.
        handed_over_ns += request.phase_ns("lock_wait");
        theirs_ns += witness.asleep_ns();
        cpu_ns += witness.cpu_ns;
        outside_ns += request.total_ns - witness.wall_ns;
        let sum_ns: u64 = request.phases.values().flatten().sum();
        assert_eq!(sum_ns, request.total_ns);
    }
    eprintln!(
        "{version:?}: gil_wait {:.1} ms; by the application {:.1} ms within its part, at most {:.1} ms outside",
        ours_ns as f64 / 1e6,
        theirs_ns as f64 / 1e6,
        outside_ns as f64 / 1e6,
    );
    assert!(theirs_ns > cpu_ns / 2, "the load did not contend");
    assert!(
        ours_ns + handed_over_ns + theirs_ns / 50 >= theirs_ns,
        "{ours_ns} and {handed_over_ns} against {theirs_ns}"
    );
    assert!(ours_ns <= theirs_ns + theirs_ns / 50 + outside_ns, "{ours_ns} against {theirs_ns}");
    let finding = traced.finding("gil-contention")?;
    assert_eq!(finding.get("answer"), Some(&"present".into()), "{finding}");
    Ok(())
}

#[test]
fn requests_that_compute_at_the_same_time_wait_for_the_interpreter_lock() -> anyhow::Result<()> {
    who_computes_waits_for_the_interpreter_lock(Version::V27)
}

#[test]
#[ignore = "make live: the same for another release"]
fn requests_that_compute_at_the_same_time_on_gunicorn_23_wait_for_the_interpreter_lock() -> anyhow::Result<()>
{
    who_computes_waits_for_the_interpreter_lock(Version::V23)
}

/// Requests that sleep for a moment and then want the lock wait because of those that compute meanwhile.
#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn a_wait_is_attributed_to_the_endpoint_that_held_the_lock() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 2))?;
    let options =
        ["--requests", "60", "--seconds", "60", "--clients", "2", "--routes", "/truth/cpu/120,/sleep/3"];
    let traced = traced(&server, &options)?;
    assert_eq!(traced.value("/gil/has_holders")?, &Value::Bool(true));
    let edges = traced.value("/gil/edges")?.as_array().context("no edges")?;
    let (mut all_ns, mut sleepers_ns, mut because_of_cpu_ns, mut unknown_ns) = (0, 0, 0, 0);
    for edge in edges {
        let total_ns = edge.get("total_ns").and_then(Value::as_u64).context("no time")?;
        let endpoint = |side: &str| edge.get(side)?.get("endpoint")?.as_str();
        let holder_tid = edge.pointer("/holder/tid").and_then(Value::as_u64);
        let (waiter, holder) = (endpoint("waiter"), endpoint("holder"));
        eprintln!("{:8.1} ms  {waiter:?} because of {holder:?} {holder_tid:?}", total_ns as f64 / 1e6);
        all_ns += total_ns;
        if waiter == Some("GET /sleep/{number}/{number}") {
            sleepers_ns += total_ns;
            if holder == Some("GET /truth/cpu/{number}/{number}") {
                because_of_cpu_ns += total_ns;
            }
        }
        if holder.is_none() && holder_tid.is_none() {
            unknown_ns += total_ns;
        }
    }
    // Every wait is attributed to somebody, once.
    assert_eq!(all_ns + traced.number("/gil/other_edges_ns")?, traced.number("/gil/waits/sum_ns")?);
    eprintln!(
        "of what sleepers waited {:.1} % because of those that compute; {:.1} % of all not known",
        share(because_of_cpu_ns, sleepers_ns) * 100.0,
        share(unknown_ns, all_ns) * 100.0
    );
    assert!(sleepers_ns > 50_000_000, "the load did not contend: {sleepers_ns}");
    assert!(share(because_of_cpu_ns, sleepers_ns) > 0.9);
    assert!(share(unknown_ns, all_ns) < 0.02);
    Ok(())
}

/// Requests that run one after the other, in a process without other threads, never wait for the lock.
#[test]
fn a_server_of_single_threads_never_waits_for_the_interpreter_lock() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 2))?;
    let traced = traced(&server, &["--requests", "40", "--clients", "2", "--routes", "/cpu,/fast,/sleep/5"])?;
    assert_eq!(traced.number("/gil/waits/count")?, 0);
    assert_eq!(traced.number("/phases/gil_wait_ns")?, 0);
    let interpreters = traced.value("/gil/interpreters")?.as_array().context("no interpreters")?;
    let version = Command::new(Version::V27.python()).arg("--version").output()?;
    let version = String::from_utf8(version.stdout)?;
    let mut pids = server.worker_pids();
    pids.push(server.master());
    for pid in pids {
        let seen = interpreters.iter().find(|seen| seen.get("pid") == Some(&pid.into()));
        let seen = seen.with_context(|| format!("nothing of {pid}"))?;
        assert_eq!(seen.get("locks"), Some(&1.into()), "{seen}");
        assert_eq!(
            seen.get("version").and_then(|text| text.as_str()),
            version.trim().strip_prefix("Python ")
        );
    }
    Ok(())
}
