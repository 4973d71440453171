//! Calls that block an event loop, against the clocks of those who made them.
//!
//! In: gunicorn's gevent worker and uvicorn, with a blocking call of 50 ms among short requests. Out: verdicts.

use anyhow::{Context as _, ensure};
use wsgi_trace_tests::gate::exclusive;
use wsgi_trace_tests::load::Load;
use wsgi_trace_tests::require_bpf;
use wsgi_trace_tests::server::gevent::GunicornGevent;
use wsgi_trace_tests::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_tests::server::{Recipe, Server};
use wsgi_trace_tests::trace::Trace;

const BLOCK: &str = "/block/50";

fn a_blocking_call_is_found_sized_and_named(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    let options = ["--requests", "160", "--seconds", "20", "--clients", "3", "--keep-alive", "5"];
    let sent = Load::run(server.address(), &[&options[..], &["--routes", "/fast=4,/block/50=1"]].concat())?;
    let log = server.log(sent.answered())?;
    let traced = trace.end()?;

    let blocked = log.iter().filter(|line| line.path.starts_with(BLOCK)).filter_map(|line| line.duration_ns);
    let theirs_ns = blocked.max().context("nobody blocked")?;
    let holder = traced.value("/event_loops/0/holders/0")?;
    let ours_ns = traced.number("/event_loops/0/holders/0/longest_ns")?;
    eprintln!("{}: {:.2} ms against {:.2} ms", recipe.about(), ours_ns as f64 / 1e6, theirs_ns as f64 / 1e6);
    ensure!(ours_ns.abs_diff(theirs_ns) <= 2_000_000, "{ours_ns} against {theirs_ns} ns: {holder}");
    let shape = holder.get("path_shape").and_then(serde_json::Value::as_str);
    ensure!(shape == Some("/block/{number}/{number}"), "{holder}");
    ensure!(traced.number("/event_loops/0/holders/0/long/waited")? > 0, "nobody waited: {holder}");

    let finding = traced.finding("loop-blocked")?;
    let text = |key: &str| finding.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    ensure!(text("answer") == "present", "{finding}");
    ensure!(text("sentence").starts_with("GET /block/{number}/{number} kept the event loop"), "{finding}");
    ensure!(text("sentence").contains("asleep"), "{finding}");
    let slots = traced.finding("slots-exhausted")?;
    ensure!(slots.get("answer").and_then(serde_json::Value::as_str) == Some("absent"), "{slots}");
    Ok(())
}

#[test]
fn a_call_that_gevent_cannot_make_yield_is_found_sized_and_named() -> anyhow::Result<()> {
    a_blocking_call_is_found_sized_and_named(&GunicornGevent { workers: 1 })
}

#[test]
#[ignore = "make live: several seconds"]
fn a_sleep_in_a_coroutine_is_found_sized_and_named() -> anyhow::Result<()> {
    a_blocking_call_is_found_sized_and_named(&Uvicorn { application: Application::Asgi, workers: 1 })
}
