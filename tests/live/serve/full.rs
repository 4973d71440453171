//! Full traces beside light mode: on request, by a condition, under a budget.
//!
//! In: gunicorn, clients, an agent in light mode. Out: verdicts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::agent::{Agent, Answer, Samples, sum};
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::program::kernel_programs;
use wsgi_trace_test_support::require_bpf;

use super::{ask, free_port, gunicorn_on};

/// Long enough for attaching on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
const REQUESTS: &str = "wsgi_trace_requests_total";
const MODE: &str = "wsgi_trace_mode";
const MODE_SECONDS: &str = "wsgi_trace_mode_seconds_total";
const ACCEPTED: &str = "wsgi_trace_connections_accepted_total";

/// Asks for a full trace.
fn post(agent: &Agent, query: &str, headers: &str) -> anyhow::Result<Answer> {
    send(agent, "POST", query, headers)
}

fn send(agent: &Agent, method: &str, query: &str, headers: &str) -> anyhow::Result<Answer> {
    let host = agent.address();
    agent
        .ask(&format!("{method} /full{query} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n"))
}

fn mode(samples: &Samples) -> [f64; 2] {
    ["light", "full"].map(|mode| sum(samples, MODE, &[&format!("mode=\"{mode}\"")]))
}

fn text<'a>(report: &'a Value, pointer: &str) -> &'a str {
    report.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// Asks until told to stop; how often it was answered.
fn ask_on(port: u16, stop: &AtomicBool, answered: &AtomicU64) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        ensure!(ask(port, "/sleep/2")? == 200);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn full_trace_on_request_counts_no_request_twice_loses_none_and_leaves_the_kernel_as_it_was()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let agent = Agent::watching(&port.to_string(), &["--light", "--window", "1s"])?;
    let light_programs = kernel_programs(agent.pid());
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| ask_on(port, &stop, &answered));
        let verdict = trace_in_full(&agent, light_programs.len());
        stop.store(true, Ordering::Relaxed);
        client.join().unwrap_or_else(|_panicked| anyhow::bail!("the client panicked"))?;
        verdict
    })?;

    let all = answered.load(Ordering::Relaxed) as f64;
    let samples = agent.wait_for_metrics("all requests", |samples| sum(samples, REQUESTS, &[]) >= all)?;
    ensure!(sum(&samples, REQUESTS, &[]) == all, "{all} were answered");
    ensure!(sum(&samples, "wsgi_trace_records_lost_total", &[]) == 0.0, "{samples:?}");
    let [light, full] =
        ["light", "full"].map(|mode| sum(&samples, MODE_SECONDS, &[&format!("mode=\"{mode}\"")]));
    ensure!(light > full && full > 0.0, "{light} s light, {full} s in full");
    ensure!(sum(&samples, "wsgi_trace_watched_seconds_total", &[]) == light, "{samples:?}");
    // Only what the full trace loaded was unloaded.
    until("the programs of the full trace to be gone", LIMIT, || {
        Ok((kernel_programs(agent.pid()) == light_programs).then_some(()))
    })?;
    let outcome = agent.end()?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    ensure!(
        outcome.stderr.contains("light mode; POST /full?seconds=60 traces in full"),
        "{}",
        outcome.stderr
    );
    Ok(())
}

/// What the agent says before, during and after a full trace that is ended on request.
fn trace_in_full(agent: &Agent, light_programs: usize) -> anyhow::Result<()> {
    let before = agent.wait_for_metrics("requests", |samples| sum(samples, REQUESTS, &[]) > 0.0)?;
    ensure!(mode(&before) == [1.0, 0.0], "{before:?}");
    ensure!(!before.contains_key(ACCEPTED), "light mode does not see accepts: {before:?}");
    ensure!(
        sum(&before, "wsgi_trace_accept_queue_limit", &[]) > 0.0,
        "the kernel tells of queues: {before:?}"
    );
    ensure!(agent.get("/report.json?window=full")?.status == 503);

    let granted = post(agent, "?seconds=300", "")?;
    ensure!(granted.status == 202 && granted.body.contains("\"full_for_seconds\":300"), "{granted:?}");
    let again = post(agent, "", "")?;
    ensure!(again.status == 429 && again.head.to_ascii_lowercase().contains("retry-after: "), "{again:?}");

    let during = agent.wait_for_metrics("the full trace", |samples| {
        mode(samples) == [1.0, 1.0] && sum(samples, ACCEPTED, &[]) > 0.0
    })?;
    ensure!(kernel_programs(agent.pid()).len() > light_programs, "{during:?}");
    let open = agent.json("/report.json?window=full")?;
    ensure!(
        text(&open, "/tool/hooks") == "btf" && text(&open, "/window/end_reason") == "still_open",
        "{open}"
    );

    let cut = send(agent, "DELETE", "", "")?;
    ensure!(cut.status == 202, "{cut:?}");
    agent.wait_for_metrics("the end of the full trace", |samples| mode(samples) == [1.0, 0.0])?;
    let full = agent.json("/report.json?window=full")?;
    ensure!(
        text(&full, "/window/end_reason") == "interrupted" && text(&full, "/tool/hooks") == "btf",
        "{full}"
    );
    ensure!(number(&full, "/requests/completed") > 0.0, "{full}");
    ensure!(number(&full, "/tool/other_profilers") == 0.0, "{full}");
    ensure!(full.pointer("/listeners/0/accepted").and_then(Value::as_f64) > Some(0.0), "{full}");
    // Light mode goes on: its windows come again, and what it cannot know is absent and not zero.
    let light = until("a window of light mode", LIMIT, || {
        Ok(Some(agent.json("/report.json")?).filter(|report| text(report, "/tool/hooks") == "light"))
    })?;
    ensure!(number(&light, "/tool/other_profilers") == 0.0, "{light}");
    let after = agent.metrics()?;
    ensure!(!after.contains_key(ACCEPTED), "{after:?}");
    ensure!(sum(&after, "wsgi_trace_full_traces_total", &["cause=\"request\""]) == 1.0, "{after:?}");
    Ok(())
}

#[test]
fn slow_requests_begin_a_full_trace_and_the_budget_ends_it() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let options = ["--light", "--window", "1s", "--full-when", "p99=20ms", "--full-for", "1s"];
    let agent = Agent::watching(&port.to_string(), &options)?;
    let begun = |samples: &Samples| sum(samples, "wsgi_trace_full_traces_total", &["cause=\"p99\""]);
    until("a full trace", LIMIT, || {
        ensure!(ask(port, "/sleep/30")? == 200);
        Ok((begun(&agent.metrics()?) > 0.0).then_some(()))
    })?;
    let report = until("its report", LIMIT, || {
        ensure!(ask(port, "/sleep/30")? == 200);
        let answer = agent.get("/report.json?window=full")?;
        let report: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        Ok((text(&report, "/window/end_reason") == "duration").then_some(report))
    })?;
    let listed = report.get("findings").and_then(Value::as_array).context("no findings")?;
    ensure!(!listed.is_empty() && text(&report, "/tool/hooks") == "btf", "{report}");
    // Still slow: the pause after a full trace lets none begin by itself, and that is counted.
    let refused = |samples: &Samples| sum(samples, "wsgi_trace_full_traces_refused_total", &[]);
    let samples = until("a refusal", LIMIT, || {
        ensure!(ask(port, "/sleep/30")? == 200);
        Ok(Some(agent.metrics()?).filter(|samples| refused(samples) > 0.0))
    })?;
    ensure!(begun(&samples) == 1.0, "{samples:?}");
    Ok(())
}

#[test]
fn who_may_not_have_a_full_trace_is_told_why() -> anyhow::Result<()> {
    let agent = Agent::start(&["--port", &free_port()?.to_string(), "--light"])?;
    agent.wait_for_state("waiting")?;
    for (query, headers, status, says) in [
        ("", "", 503, "nothing is watched now"),
        ("?seconds=0", "", 400, "from 1 to 300"),
        ("?seconds=301", "", 400, "from 1 to 300"),
        ("?minutes=1", "", 400, "from 1 to 300"),
        // A page elsewhere that a browser on this machine shows.
        ("?seconds=60", "Origin: http://evil.example\r\n", 403, "no page in a browser"),
    ] {
        let refused = post(&agent, query, headers)?;
        ensure!(refused.status == status && refused.body.contains(says), "{query}: {refused:?}");
    }
    let cut = send(&agent, "DELETE", "", "")?;
    ensure!(cut.status == 503, "{cut:?}");
    let read = agent.get("/full")?;
    ensure!(read.status == 405 && read.head.to_ascii_lowercase().contains("allow: post"), "{read:?}");
    Ok(())
}

#[test]
fn server_that_is_traced_in_full_all_the_time_gets_no_full_trace_beside_it() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let agent = Agent::watching(&port.to_string(), &["--full"])?;
    ensure!(ask(port, "/")? == 200);
    let refused = post(&agent, "?seconds=2", "")?;
    ensure!(refused.status == 409 && refused.body.contains("all the time"), "{refused:?}");
    let samples = agent.wait_for_metrics("an accept", |samples| sum(samples, ACCEPTED, &[]) > 0.0)?;
    ensure!(mode(&samples) == [0.0, 1.0], "{samples:?}");
    ensure!(text(&agent.json("/report.json?window=current")?, "/tool/hooks") == "btf");
    let outcome = agent.end()?;
    ensure!(outcome.stderr.contains("everything is traced"), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn without_an_option_serve_is_light_or_says_in_one_sentence_what_that_would_lack() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let agent = Agent::watching(&port.to_string(), &[])?;
    ensure!(ask(port, "/")? == 200);
    let samples = agent.wait_for_metrics("a request", |samples| sum(samples, REQUESTS, &[]) > 0.0)?;
    // Whichever it is, alerts that page have their series.
    for series in
        ["connections_dropped_total{cause=\"worker_crashed\"}", "accepts_failed_total{error=\"EMFILE\"}"]
    {
        ensure!(samples.contains_key(&format!("wsgi_trace_{series}")), "{series}: {samples:?}");
    }
    let sentence = match mode(&samples) {
        [1.0, 0.0] => "light mode; POST /full?seconds=60 traces in full",
        [0.0, 1.0] => "everything is traced: light mode would not see accepts that fail",
        other => anyhow::bail!("modes: {other:?}"),
    };
    let outcome = agent.end()?;
    ensure!(outcome.stderr.matches(sentence).count() == 1, "{}", outcome.stderr);
    Ok(())
}
