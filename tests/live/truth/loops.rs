//! Calls that block an event loop, against the clocks of those who made them.
//!
//! In: gunicorn's gevent worker, uvicorn and Twisted, with a blocking call of 50 ms among short requests. Out: verdicts.
//!
//! The loop is one thread, so the application's own clock, which waits for a CPU as the loop does, says between which two
//! lengths the time lies that a request held it: at least from the application's call to its return; at most from the
//! return of the request before to the call of the one after.

use std::ops::RangeInclusive;

use anyhow::{Context as _, ensure};
use wsgi_trace_tests::gate::exclusive;
use wsgi_trace_tests::load::Load;
use wsgi_trace_tests::require_bpf;
use wsgi_trace_tests::server::gevent::{GunicornGevent, WitnessedGevent};
use wsgi_trace_tests::server::twisted::Reactor;
use wsgi_trace_tests::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_tests::server::{Line, Recipe, Server};
use wsgi_trace_tests::trace::{Trace, Traced};

const BLOCK: &str = "/block/50/";

/// From the application's call to its return.
fn call_ns(line: &Line) -> Option<u64> {
    line.returned_ns?.checked_sub(line.start_ns?)
}

/// Between which two lengths the request of a path held the loop, in the window from `start_ns` to `end_ns`.
fn held_ns(log: &[Line], path: &str, (start_ns, end_ns): (u64, u64)) -> anyhow::Result<RangeInclusive<u64>> {
    let own = log.iter().find(|line| line.path == path).context("not in the log")?;
    let began_ns = own.start_ns.context("no start")?;
    let before_ns =
        log.iter().filter(|line| line.start_ns < own.start_ns).filter_map(|line| line.returned_ns);
    let after_ns = log.iter().filter(|line| line.start_ns > own.start_ns).filter_map(|line| line.start_ns);
    let before_ns = before_ns.max().unwrap_or(start_ns);
    let after_ns = after_ns.min().unwrap_or(end_ns);
    ensure!(before_ns <= began_ns, "two requests at once on one loop");
    Ok(call_ns(own).context("no answer")?..=after_ns.saturating_sub(before_ns))
}

/// Path of the request with this number in the report.
fn path_of(traced: &Traced, number: u64) -> anyhow::Result<String> {
    for line in traced.ndjson.lines() {
        let request: serde_json::Value = serde_json::from_str(line)?;
        if request.get("id").and_then(serde_json::Value::as_u64) == Some(number) {
            return Ok(request
                .get("path")
                .and_then(serde_json::Value::as_str)
                .context("no path")?
                .to_owned());
        }
    }
    anyhow::bail!("no request {number}")
}

fn a_blocking_call_is_found_sized_and_named(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    let options = ["--requests", "160", "--seconds", "20", "--clients", "3", "--keep-alive", "5"];
    let sent = Load::run(server.address(), &[&options[..], &["--routes", "/fast=4,/block/50=1"]].concat())?;
    let log = server.log(sent.answered())?;
    let traced = trace.end()?;

    let holder = traced.value("/event_loops/0/holders/0")?;
    let ours_ns = traced.number("/event_loops/0/holders/0/longest_ns")?;
    let path = path_of(&traced, traced.number("/event_loops/0/holders/0/longest_request")?)?;
    ensure!(path.starts_with(BLOCK), "{path}: {holder}");
    let theirs_ns = held_ns(&log, &path, (sent.start_ns, sent.end_ns))?;
    eprintln!("{}: {ours_ns} ns, by the application {theirs_ns:?}", recipe.about());
    ensure!(theirs_ns.contains(&ours_ns), "{path}: {ours_ns} ns, by the application {theirs_ns:?}: {holder}");
    let longest_ns = log.iter().filter(|line| line.path.starts_with(BLOCK)).filter_map(call_ns).max();
    ensure!(Some(ours_ns) >= longest_ns, "{path}: {ours_ns} ns, and one blocked for {longest_ns:?}");
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
    a_blocking_call_is_found_sized_and_named(&WitnessedGevent(GunicornGevent { workers: 1 }))
}

#[test]
#[ignore = "make live: several seconds"]
fn a_sleep_in_a_coroutine_is_found_sized_and_named() -> anyhow::Result<()> {
    a_blocking_call_is_found_sized_and_named(&Uvicorn { application: Application::Asgi, workers: 1 })
}

#[test]
#[ignore = "make live: several seconds"]
fn a_sleep_on_the_reactor_is_found_sized_and_named() -> anyhow::Result<()> {
    a_blocking_call_is_found_sized_and_named(&Reactor)
}
