//! Tasks that a request makes of its own: what they wait for is the request's.
//!
//! In: uvicorn, whose application asks a back end twice and sleeps at once (`asyncio.gather`), beside quick
//! requests. What it asks second takes longest, so that nothing else hides it. Out: verdicts.

use anyhow::ensure;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// What requests of a route had of their time, in percent.
#[derive(Debug)]
struct Shares {
    requests: u64,
    waited_percent: f64,
    unexplained_percent: f64,
}

fn shares(traced: &Traced, route: &str) -> Shares {
    let (mut requests, mut total_ns, mut waited_ns, mut unexplained_ns) = (0, 0, 0, 0);
    let of_route = traced.requests.iter().filter(|request| request.path().starts_with(route));
    for request in of_route.filter(|request| !(request.open || request.truncated)) {
        requests += 1;
        total_ns += request.total_ns;
        waited_ns += request.phase_ns("sleep") + request.phase_ns("backend_wait");
        unexplained_ns += request.phase_ns("unexplained");
    }
    let percent = |ns: u64| ns as f64 * 100.0 / total_ns.max(1) as f64;
    Shares { requests, waited_percent: percent(waited_ns), unexplained_percent: percent(unexplained_ns) }
}

/// What became of requests that gather, and of quick ones beside them.
fn watched(clients: &str) -> anyhow::Result<(Shares, Shares)> {
    let _alone = exclusive()?;
    let server = Server::start(&Uvicorn { application: Application::Asgi, workers: 1 })?;
    let trace = Trace::start(server.pid())?;
    let load = ["--requests=120", clients, "--keep-alive=10", "--routes=/gather/30=2,/fast=1"];
    Load::run(server.address(), &load)?;
    let traced = trace.end()?;
    let (gathered, quick) = (shares(&traced, "/gather"), shares(&traced, "/fast"));
    eprintln!("  {clients}: {gathered:?}; quick ones {quick:?}");
    ensure!(gathered.requests > 40 && quick.requests > 20, "{gathered:?}, {quick:?}");
    // Nobody else's, whatever is known of them.
    ensure!(quick.waited_percent < 1.0, "{quick:?}");
    ensure!(gathered.waited_percent + gathered.unexplained_percent > 80.0, "{gathered:?}");
    Ok((gathered, quick))
}

#[test]
#[ignore = "make live-all"]
fn what_the_tasks_of_a_request_wait_for_is_the_request_s() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let (gathered, quick) = watched("--clients=1")?;
    ensure!(gathered.unexplained_percent < 3.0, "{gathered:?}");
    ensure!(quick.unexplained_percent < 3.0, "{quick:?}");
    Ok(())
}

/// Up to all of what four such requests at once wait for may stay unexplained (docs/limits-loops.md).
#[test]
#[ignore = "make live-all"]
fn what_the_tasks_of_several_requests_wait_for_is_never_another_s() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    watched("--clients=4").map(drop)
}
