//! Threads of a daemon process that compute and contend for the GIL behind Apache: what a request computed is
//! in its account, though its thread waits for the GIL again once Apache has sent the response.
//!
//! In: mod_wsgi's daemon mode, long requests beside short ones. Out: a verdict against what the application
//! burns of its thread's own CPU clock.

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_apache;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::trace::Trace;

/// What `/steps/cN` burns of the CPU clock, in ms.
fn burnt_ms(path: &str) -> Option<u64> {
    path.strip_prefix("/steps/c")?.split('/').next()?.parse().ok()
}

#[test]
#[ignore = "make live-all"]
fn what_a_request_of_a_daemon_computed_is_its_cpu_time_whatever_its_thread_waits_for_later()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_apache!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(&ModWsgi::daemon(1, 4))?;
    let trace = Trace::start(server.pid())?;
    let options = ["--clients", "4", "--requests", "240", "--routes", "/steps/c2=4,/steps/c20"];
    let sent = Load::run(server.address(), &options)?;
    ensure!(sent.answered() == 240, "{} answers", sent.answered());
    let traced = trace.end()?;
    let (mut least, mut waited_ns, mut compared) = (f64::INFINITY, 0, 0);
    let (mut unexplained_ns, mut all_ns) = (0, 0);
    for request in traced.under("/steps/") {
        let burnt_ms = burnt_ms(request.path()).with_context(|| format!("not of ours: {request:?}"))?;
        let computed_ms = request.phase_ns("cpu") as f64 / 1e6;
        // The clock by which the application burns is looked at before its last turn of 0.1 ms ends: it never
        // burns less. What is not known may be that: it is bounded below, over all.
        let unknown_ms = request.phase_ns("unexplained") as f64 / 1e6;
        ensure!(computed_ms + unknown_ms >= burnt_ms as f64 * 0.98, "it computed {burnt_ms} ms: {request:?}");
        unexplained_ns += request.phase_ns("unexplained");
        all_ns += request.total_ns;
        least = least.min((computed_ms + unknown_ms) / burnt_ms as f64);
        waited_ns += request.phase_ns("gil_wait");
        compared += 1;
    }
    eprintln!(
        "  {compared} requests, cpu of {:.1} % and more of what was burnt; gil_wait {:.1} s in all; {:.2} % unexplained",
        least * 100.0,
        waited_ns as f64 / 1e9,
        unexplained_ns as f64 * 100.0 / all_ns as f64
    );
    ensure!(compared == 240, "{compared} requests were seen");
    ensure!(unexplained_ns * 100 <= all_ns, "{unexplained_ns} ns of {all_ns} are unexplained");
    // Without that nothing was put to the test.
    ensure!(waited_ns > 1_000_000_000, "its threads hardly waited for the GIL: {waited_ns} ns");
    Ok(())
}
