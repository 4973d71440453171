//! The last seconds of a stream, kept in memory, are a recording like any other.
//!
//! In: gunicorn under load, an agent that keeps. Out: verdicts, against what the clients noted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::agent::{Agent, sum};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::{Load, Sent};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::report_on;

use super::port;

/// What is kept at least.
const KEPT_SECONDS: f64 = 10.0;
/// So near the edges of the recording a request may be in it or not.
const EDGE_NS: u64 = 100_000_000;

/// The recording of this moment, as a report.
fn recorded(agent: &Agent) -> anyhow::Result<Value> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("kept.wtrace");
    std::fs::write(&path, agent.bytes("/recording.wtrace")?)?;
    let outcome = report_on(&path, "json")?;
    ensure!(outcome.status.success(), "{outcome:?}");
    Ok(serde_json::from_str(&outcome.stdout)?)
}

fn number(report: &Value, pointer: &str) -> anyhow::Result<u64> {
    report.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no {pointer}"))
}

/// Every request that ended in the recording's window is in it, and no other.
fn assert_holds(report: &Value, sent: &Sent) -> anyhow::Result<()> {
    let [start_ns, end_ns, completed] = [
        number(report, "/window/start_ns")?,
        number(report, "/window/end_ns")?,
        number(report, "/requests/completed")?,
    ];
    let ended_within = |from_ns: u64, until_ns: u64| {
        let is_within = |end_ns: u64| end_ns > from_ns && end_ns < until_ns;
        sent.requests.iter().filter(|request| request.status.is_some() && is_within(request.end_ns)).count()
            as u64
    };
    let least = ended_within(start_ns + EDGE_NS, end_ns - EDGE_NS);
    let most = ended_within(start_ns - EDGE_NS, end_ns + EDGE_NS);
    ensure!(least > 0 && (least..=most).contains(&completed), "{completed}, sent {least} to {most}");
    ensure!(report.pointer("/losses/is_complete") == Some(&Value::Bool(true)), "{:?}", report.get("losses"));
    let impossible = report.pointer("/losses/impossible").and_then(Value::as_array);
    ensure!(impossible.is_none_or(Vec::is_empty), "{impossible:?}");
    let broken = report.pointer("/losses/conservation/broken").and_then(Value::as_array);
    ensure!(broken.is_none_or(Vec::is_empty), "{broken:?}");
    Ok(())
}

fn keeps(mode: &str) -> anyhow::Result<()> {
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 2, 2))?;
    let agent = Agent::watching(&port(server.address()), &[mode, "--window", "4s", "--keep", "10s"])?;
    let options =
        ["--seconds", "18", "--clients", "3", "--keep-alive", "4", "--routes", "/,/cpu/2,/sleep/10"];
    // One that was there before the recording begins, and stays.
    let lasting = ["--seconds", "18", "--clients", "1", "--keep-alive", "1000000", "--think-ms", "20"];
    let lasting = Load::start(server.address(), &[&lasting[..], &["--first-id", "7000001"]].concat())?;
    let load = Load::start(server.address(), &options)?;
    std::thread::sleep(Duration::from_secs(16));
    let asked = Instant::now();
    let samples = agent.metrics()?;
    let report = recorded(&agent)?;
    let since_asked = asked.elapsed().as_secs_f64();
    let mut sent = load.finish()?;
    sent.requests.extend(lasting.finish()?.requests);

    let seconds = (number(&report, "/window/end_ns")? - number(&report, "/window/start_ns")?) as f64 / 1e9;
    let said = sum(&samples, "wsgi_trace_kept_seconds", &[]);
    // How much longer than wanted it may be is a matter of marks, and marks of how busy the machine is.
    ensure!((KEPT_SECONDS..=said + since_asked).contains(&seconds), "{mode}: {seconds} s, {said} s said");
    ensure!(said >= KEPT_SECONDS && sum(&samples, "wsgi_trace_kept_bytes", &[]) > 0.0, "{mode}: {said} s");
    assert_holds(&report, &sent)?;
    // What is learned once, long before the recording begins, is in it.
    let python = report.pointer("/target/server/python_version").and_then(Value::as_str);
    ensure!(python.is_some_and(|version| version.starts_with("3.")), "{mode}: {python:?}");
    // The windows of the agent itself go on as if nobody had asked.
    ensure!(agent.json("/report.json")?.pointer("/losses/is_complete") == Some(&Value::Bool(true)));
    agent.end()?;
    Ok(())
}

#[test]
fn last_seconds_in_full_are_a_recording_with_every_request() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    keeps("--full")
}

#[test]
fn last_seconds_in_light_mode_are_a_recording_with_every_request() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    keeps("--light")
}

#[test]
fn without_keep_nothing_is_kept_and_that_is_said() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let agent = Agent::watching(&port(server.address()), &["--light"])?;
    let answer = agent.get("/recording.wtrace")?;
    ensure!(answer.status == 503 && answer.body.contains("serve --keep 60s"), "{answer:?}");
    agent.end()?;
    Ok(())
}
