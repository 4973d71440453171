//! Pools: a wait for a thread is as long as the sleeps before it.
//!
//! In: servers with one pool. Out: verdicts against the clients' clocks and the application's.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, TracedRequest};

/// Six clients at once ask for 50 ms of sleep each, of a pool of two: who waits for a thread waits for the
/// sleeps before it. The witness is the moment at which the application was called, by its own clock, against
/// the request's arrival.
fn wait_for_a_thread(recipe: &dyn Recipe) -> anyhow::Result<()> {
    wait_for_a_thread_after(recipe, &["accept_queue", "loop_wait", "pool_wait"])
}

/// `phases`: all that lies between arrival and call and is a wait, or another process's work.
fn wait_for_a_thread_after(recipe: &dyn Recipe, phases: &[&str]) -> anyhow::Result<()> {
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
        // What lies between arrival and call beside the wait itself: accepting, reading, parsing, a CPU for
        // it.
        let ours_ns: u64 = phases.iter().map(|phase| request.phase_ns(phase)).sum();
        waited_ns += request.phase_ns("pool_wait");
        // On a busy machine its thread waits for a CPU before the call, and for the GIL of one that does.
        let kept_ns = request.phase_ns("run_queue") + request.phase_ns("gil_wait");
        errors_ns.push(ours_ns.saturating_sub(theirs_ns).max(theirs_ns.saturating_sub(ours_ns + kept_ns)));
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
#[ignore = "make live-all"]
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

/// Apache's own threads are enough for all clients: who waits, waits for the daemon.
#[test]
#[ignore = "make live-all"]
fn the_wait_for_a_thread_of_mod_wsgi_s_daemon_is_that_of_the_sleeps_before() -> anyhow::Result<()> {
    let recipe = ModWsgi::daemon(1, 2).with(&["--max-clients", "30"]).witnessed();
    wait_for_a_thread_after(&recipe, &["accept_queue", "front_end", "pool_wait"])
}
