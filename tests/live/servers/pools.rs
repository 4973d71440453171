//! Pools: a wait for a thread is as long as the sleeps before it, and a slow client holds a thread only where it does.
//!
//! In: servers with one pool. Out: verdicts against the clients' clocks and the application's.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_tests::gate::{exclusive, shared};
use wsgi_trace_tests::gunicorn::{Settings, Version};
use wsgi_trace_tests::load::Load;
use wsgi_trace_tests::require_bpf;
use wsgi_trace_tests::require_nginx;
use wsgi_trace_tests::server::cheroot::Cheroot;
use wsgi_trace_tests::server::gevent::GunicornGevent;
use wsgi_trace_tests::server::mod_wsgi::ModWsgi;
use wsgi_trace_tests::server::nginx::{Link, Nginx};
use wsgi_trace_tests::server::uwsgi::Uwsgi;
use wsgi_trace_tests::server::waitress::Waitress;
use wsgi_trace_tests::server::{Recipe, Server};
use wsgi_trace_tests::trace::{Trace, TracedRequest};

/// Six clients at once ask for 50 ms of sleep each, of a pool of two: who waits for a thread waits for the sleeps before
/// it. The witness is the moment at which the application was called, by its own clock, against the request's arrival.
fn wait_for_a_thread(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    let options = ["--clients", "6", "--requests", "36", "--routes", "/sleep/50"];
    let sent = Load::run(server.address(), &options)?;
    ensure!(sent.answered() == 36, "{} answers", sent.answered());
    let log = server.log(36)?;
    let traced = trace.end()?;
    let ours: BTreeMap<u64, &TracedRequest> =
        traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let mut errors_ns = Vec::new();
    let mut waited_ns = 0;
    for line in &log {
        let request =
            line.id().and_then(|id| ours.get(&id)).with_context(|| format!("not seen: {line:?}"))?;
        let called_ns = line.start_ns.context("the witness has no start")?;
        let theirs_ns = called_ns.saturating_sub(request.start_ns);
        // What lies between arrival and call beside the wait itself: accepting, reading, parsing, a CPU for it.
        let ours_ns: u64 =
            ["accept_queue", "loop_wait", "pool_wait"].map(|phase| request.phase_ns(phase)).iter().sum();
        waited_ns += request.phase_ns("pool_wait");
        errors_ns.push(ours_ns.abs_diff(theirs_ns));
    }
    errors_ns.sort_unstable();
    let median_ns = errors_ns.get(errors_ns.len() / 2).copied().context("nothing was compared")?;
    eprintln!(
        "{}: pool_wait {:.1} ms in all; against the application's clock: median error {:.0} µs, p90 {:.0} µs",
        recipe.about(),
        waited_ns as f64 / 1e6,
        median_ns as f64 / 1e3,
        errors_ns.get(errors_ns.len() * 9 / 10).copied().unwrap_or(0) as f64 / 1e3
    );
    // Of 36 requests on 2 threads all but the first two wait for one sleep or two.
    ensure!(waited_ns > 30 * 50_000_000, "{waited_ns} ns of pool_wait");
    ensure!(median_ns <= 1_000_000, "median error {median_ns} ns");
    Ok(())
}

#[test]
fn the_wait_for_a_thread_of_waitress_is_that_of_the_sleeps_before() -> anyhow::Result<()> {
    wait_for_a_thread(&Waitress { threads: 2 })
}

#[test]
#[ignore = "make live-all"]
fn the_wait_for_a_thread_of_cheroot_is_that_of_the_sleeps_before() -> anyhow::Result<()> {
    wait_for_a_thread(&Cheroot { threads: 2 })
}

#[test]
#[ignore = "make live-all"]
fn the_wait_for_a_thread_of_gthread_is_that_of_the_sleeps_before() -> anyhow::Result<()> {
    wait_for_a_thread(&Settings::gthread(Version::V27, 1, 2).witnessed())
}

/// How long a slot is held for a slow client.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// As long as the client is slow.
    AsLong,
    /// Most of that: the rest lies in buffers of the process between, or waits for that one.
    Mostly,
    /// As long as the front end takes to store what the client will take slowly.
    ForTheFrontEndAlone,
    /// Not at all.
    Not,
}

/// A client that sends its body slowly, and one that takes 16 MB slowly: what a slot was held for them.
fn slow_clients(recipe: &dyn Recipe, held: Held) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(recipe)?;
    let in_front = server.pids().get(1).copied().filter(|_| recipe.traces_front_end());
    let front_end = in_front.map(|pid| format!("--with-front-end={pid}"));
    let options: Vec<&str> = front_end.as_deref().into_iter().collect();
    let trace = Trace::start_with(server.pid(), &options)?;
    let body = ["--clients", "0", "--slow-bodies", "1", "--slow-body-bytes", "1500", "--requests", "1"];
    let sender = Load::run(server.address(), &body)?;
    let reader = ["--clients", "0", "--slow-readers", "1", "--slow-read-seconds", "2", "--requests", "1"];
    let reader = Load::run(server.address(), &[&reader[..], &["--first-id", "2000001"]].concat())?;
    server.log(2)?;
    let traced = trace.end()?;
    let held_ns = |kind: &str| traced.number(&format!("/slots/held/{kind}_ns"));
    for (path, phase, sent) in
        [("/upload", "client_read_stall", &sender), ("/download", "client_write_stall", &reader)]
    {
        let sent = sent.requests.first().context("nothing was sent")?;
        ensure!(sent.status == Some(200), "{sent:?}");
        let request = traced.under(path).next().with_context(|| format!("{path} is missing"))?;
        let (stall_ns, held_ns) = (request.phase_ns(phase), held_ns(phase)?);
        let took_ns = sent.end_ns - sent.sent_ns;
        eprintln!(
            "{}: {path}: client {:.0} ms, {phase} {:.0} ms, slot held {:.0} ms, request {:.0} ms",
            recipe.about(),
            took_ns as f64 / 1e6,
            stall_ns as f64 / 1e6,
            held_ns as f64 / 1e6,
            request.total_ns as f64 / 1e6
        );
        // Of a response that is read slowly the last 4 MB lie in the kernel's buffers when the server is done.
        ensure!(
            stall_ns >= took_ns / 2 && stall_ns <= took_ns,
            "{phase} {stall_ns} of {took_ns} ns: {request:?}"
        );
        let agrees = match held {
            Held::AsLong => held_ns.abs_diff(stall_ns) <= stall_ns / 20,
            Held::Mostly => held_ns >= stall_ns / 2 && held_ns <= request.total_ns,
            Held::ForTheFrontEndAlone => held_ns <= stall_ns / 2,
            Held::Not => held_ns <= stall_ns / 20,
        };
        ensure!(agrees, "{phase}: stalled {stall_ns} ns, and a slot was held {held_ns} ns, not {held:?}");
    }
    Ok(())
}

#[test]
fn slow_clients_of_waitress_hold_no_thread() -> anyhow::Result<()> {
    slow_clients(&Waitress { threads: 2 }, Held::Not)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_cheroot_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&Cheroot { threads: 2 }, Held::AsLong)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_uwsgi_hold_a_worker() -> anyhow::Result<()> {
    slow_clients(&Uwsgi::new(2, 1), Held::AsLong)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_gunicorn_sync_hold_a_worker() -> anyhow::Result<()> {
    slow_clients(&Settings::sync(Version::V27, 2), Held::AsLong)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_gthread_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&Settings::gthread(Version::V27, 1, 2), Held::AsLong)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_mod_wsgi_daemons_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&ModWsgi::daemon(1, 2), Held::Mostly)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_mod_wsgi_embedded_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&ModWsgi::embedded(1, 5), Held::AsLong)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_gevent_hold_nothing() -> anyhow::Result<()> {
    slow_clients(&GunicornGevent { workers: 1 }, Held::Not)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_nginx_hold_no_slot_behind_it() -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    slow_clients(&Nginx::before(Settings::sync(Version::V27, 2), Link::Tcp), Held::ForTheFrontEndAlone)
}

/// What does not pass yet: the reactor's wait for a client that takes its response slowly is not told from others, so that its
/// time is unexplained. No slot is charged for it.
mod gaps {
    use wsgi_trace_tests::server::twisted::Twisted;

    use super::*;

    #[test]
    #[ignore = "make live-all"]
    fn slow_clients_of_twisted_hold_no_thread() -> anyhow::Result<()> {
        slow_clients(&Twisted, Held::Not)
    }
}
