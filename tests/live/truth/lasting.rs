//! Connections that become something else, against their clients: how many, how many are open, for how long,
//! which slots they hold; and that they are no requests.
//!
//! In: a server of threads and one of coroutines, with WebSockets and streams of events. Out: verdicts.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::lasting::{self, Open};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::lasting::Lasting;
use wsgi_trace_test_support::trace::{Trace, Traced};

/// When the window ended: before, and after that.
type End = (u64, u64);

/// The row of what became so, which one client still has.
fn row<'a>(traced: &'a Traced, became: &str) -> anyhow::Result<&'a Value> {
    let rows = traced.value("/lasting")?.as_array().context("no rows")?;
    let mut of = rows.iter().filter(|row| row["became"] == became);
    let row = of.next().with_context(|| format!("no {became}: {rows:?}"))?;
    ensure!(of.next().is_none(), "several: {rows:?}");
    Ok(row)
}

/// Two were there, one of which is open, for as long as its client says.
fn told(traced: &Traced, became: &str, path: &str, (open, end): (&Open, End)) -> anyhow::Result<()> {
    let row = row(traced, became)?;
    eprintln!("{row}");
    ensure!(row["path_shape"] == path && row["method"] == "GET", "{row}");
    ensure!((row["count"].as_u64(), row["open"].as_u64()) == (Some(2), Some(1)), "{row}");
    let longest_ns = row["longest_ns"].as_u64().context("no length")?;
    let (least_ns, most_ns) = (end.0.saturating_sub(open.begun_ns), end.1.saturating_sub(open.asked_ns));
    ensure!((least_ns..=most_ns).contains(&longest_ns), "{longest_ns} is not {least_ns} to {most_ns}: {row}");
    ensure!(row["lasted_ns"].as_u64() > Some(longest_ns), "{row}");
    ensure!(row["sent_bytes"].as_u64() > Some(0), "{row}");
    Ok(())
}

/// They have rows of their own, and hold slots; requests are pages alone.
fn are_no_requests(server: Lasting, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let running = Server::start(&server)?;
    let trace = Trace::start_with(running.pid(), options)?;
    let visit = lasting::visit(running.address())?;
    let before_ns = monotonic_ns();
    let traced = trace.end()?;
    let end = (before_ns, monotonic_ns());
    told(&traced, "upgraded", "/socket/{number}", (&visit.socket, end))?;
    told(&traced, "stream", "/events/{number}", (&visit.events, end))?;
    let lasting = 4;
    for (key, count) in [("completed", visit.pages + lasting), ("total/count", visit.pages), ("open", 0)] {
        let told = traced.number(&format!("/requests/{key}"))?;
        ensure!(told == count, "{key} is {told}, not {count}");
    }
    if let Lasting::Gthread { threads } = server {
        let slots = traced.value("/slots")?;
        let held = |key: &str| traced.number(&format!("/slots/held/{key}"));
        for (key, became, open) in
            [("upgraded_ns", "upgraded", &visit.socket), ("stream_ns", "stream", &visit.events)]
        {
            // The one that is open has its slot for all of its time, and there were two.
            let least_ns = row(&traced, became)?["longest_ns"].as_u64().unwrap_or(u64::MAX);
            let most_ns = 2 * end.1.saturating_sub(open.asked_ns);
            ensure!((least_ns..=most_ns).contains(&held(key)?), "{key}: {} of {least_ns}", held(key)?);
        }
        ensure!(slots["configured"].as_u64() == Some(u64::from(threads)), "{slots}");
    }
    Ok(())
}

const GTHREAD: Lasting = Lasting::Gthread { threads: 6 };

#[test]
fn websockets_and_streams_of_gunicorn_are_no_requests() -> anyhow::Result<()> {
    are_no_requests(GTHREAD, &[])
}

#[test]
fn websockets_and_streams_of_gunicorn_are_no_requests_in_light_mode() -> anyhow::Result<()> {
    are_no_requests(GTHREAD, &["--light"])
}

#[test]
fn websockets_and_streams_of_uvicorn_are_no_requests() -> anyhow::Result<()> {
    are_no_requests(Lasting::Uvicorn, &[])
}

#[test]
fn websockets_and_streams_of_uvicorn_are_no_requests_in_light_mode() -> anyhow::Result<()> {
    are_no_requests(Lasting::Uvicorn, &["--light"])
}
