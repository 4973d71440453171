//! What became of a change: windows before a restart against windows after it.
//!
//! In: a gunicorn that comes back with other settings, clients that ask by the clock. Out: verdicts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::agent::{Agent, sum};
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;

use super::{free_port, gunicorn_with};

/// Long enough for as many windows as are tried.
const LIMIT: Duration = Duration::from_secs(90);
/// Windows before the change.
const WINDOWS: f64 = 2.0;
/// Eight clients that ask all at once, by the clock: one worker serves one after the other.
const CLIENTS: [&str; 6] = ["--clients", "8", "--routes", "/sleep/40", "--seconds", "120"];

/// Where the agent answers about the only server that it watches.
fn place(agent: &Agent, is_of_all: bool) -> anyhow::Result<String> {
    if !is_of_all {
        return Ok(String::new());
    }
    let servers = agent.json("/servers.json")?;
    let path = servers.pointer("/0/path").and_then(Value::as_str).context("no server")?;
    Ok(path.trim_end_matches('/').to_owned())
}

/// The server comes back with so many workers, and clients ask at such distances, before and after. What is
/// said of it, and how often it was counted, by an agent for this server or for all.
fn change(workers: [&str; 2], every_ms: [&str; 2], is_of_all: bool) -> anyhow::Result<(String, f64)> {
    let port = free_port()?;
    let address = Address::Tcp(format!("127.0.0.1:{port}"));
    let clients = |every_ms| Load::start(&address, &[&CLIENTS[..], &["--every-ms", every_ms]].concat());
    let mut server = gunicorn_with(port, workers[0])?;
    let options = ["--full", "--window", "4s"];
    let only = format!("--match=port={port}");
    let agent = match is_of_all {
        true => Agent::start(&[&["--all", &only], &options[..]].concat())?,
        false => Agent::start(&[&["--port", &port.to_string()], &options[..]].concat())?,
    };
    agent.wait_for_state("watching")?;
    let load = clients(every_ms[0])?;
    agent.wait_for_metrics("windows before", |samples| {
        sum(samples, "wsgi_trace_windows_total", &[]) >= WINDOWS
    })?;
    server.stop();
    agent.wait_for_state("waiting")?;
    load.kill();
    ensure!(agent.get("/change.json")?.status == 404, "nothing was compared yet");
    let _server = gunicorn_with(port, workers[1])?;
    let load = clients(every_ms[1])?;
    agent.wait_for_state("watching")?;
    let place = place(&agent, is_of_all)?;
    let change = until("what became of it", LIMIT, || Ok(agent.json(&format!("{place}/change.json")).ok()))?;
    load.kill();
    let outcome = change.get("outcome").and_then(Value::as_str).context("no outcome")?;
    let label = format!("outcome=\"{outcome}\"");
    let count = sum(&agent.metrics()?, "wsgi_trace_changes_total", &[&label]);
    let said = agent.json(&format!("{place}/healthz"))?;
    ensure!(said.get("change") == change.get("sentence"), "{said}");
    agent.end()?;
    let sentence = change.get("sentence").and_then(Value::as_str).unwrap_or_default();
    eprintln!("{sentence}");
    Ok((sentence.to_owned(), count))
}

#[test]
#[ignore = "make live: takes a minute"]
fn more_workers_that_helped_are_said_to_have() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    [false, true].into_iter().try_for_each(|is_of_all| {
        let (sentence, count) = change(["1", "8"], ["500", "500"], is_of_all)?;
        ensure!(sentence.starts_with("slots 1 → 8, workers 1 → 8: better: "), "{sentence}");
        ensure!(sentence.contains("p99 ") && count == 1.0, "{sentence}, counted {count} times");
        Ok(())
    })
}

#[test]
#[ignore = "make live: takes half a minute"]
fn change_under_another_load_is_not_compared() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let (sentence, count) = change(["2", "2"], ["500", "1000"], false)?;
    ensure!(sentence.starts_with("restarted: cannot be compared"), "{sentence}");
    ensure!(sentence.contains("different rate") && count == 1.0, "{sentence}, counted {count} times");
    Ok(())
}
