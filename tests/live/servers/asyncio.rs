//! asyncio: time of requests that interleave on one loop is that of their coroutines, by the coroutines' own
//! notes.
//!
//! In: uvicorn under mixed load, on a quiet machine and on one that has nothing to spare. Out: verdicts.

use std::collections::BTreeMap;

use anyhow::ensure;
use wsgi_trace_test_support::busy::Busy;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::steps::{self, Spent};
use wsgi_trace_test_support::trace::{Trace, TracedRequest};
use wsgi_trace_test_support::yardstick::Yardstick;

/// What uvicorn itself does for a request outside of its coroutine, in times that bare Python takes for a
/// head on this machine in the same run.
const SERVER_HEADS: u64 = 30;

/// What of a request's time we lay to what, in ns, in the words of its coroutine.
fn ours(request: &TracedRequest) -> Spent {
    let sum = |names: &[&str]| names.iter().map(|name| request.phase_ns(name)).sum();
    let ran = ["cpu", "run_queue", "read_head", "read_body", "write", "fault_wait", "file_wait", "gil_wait"];
    let mut spent =
        Spent { ran_ns: sum(&ran), slept_ns: sum(&["sleep"]), locked_ns: sum(&["lock_wait"]), rest_ns: 0 };
    let known_ns = spent.ran_ns + spent.slept_ns + spent.locked_ns + request.phase_ns("unexplained");
    spent.rest_ns = request.total_ns.saturating_sub(known_ns);
    spent
}

/// Sums over requests, in ns.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    requests: u64,
    /// What a head took this machine meanwhile.
    head_ns: u64,
    total_ns: u64,
    unexplained_ns: u64,
    ours: Spent,
    theirs: Spent,
    /// By how much ours is more than theirs, request by request.
    over: Spent,
    /// By how much it is less.
    under: Spent,
}

impl Sums {
    fn add(&mut self, request: &TracedRequest, theirs: Spent) {
        let ours = ours(request);
        self.requests += 1;
        self.total_ns += request.total_ns;
        self.unexplained_ns += request.phase_ns("unexplained");
        self.ours = plus(self.ours, ours, |sum, one| sum + one);
        self.theirs = plus(self.theirs, theirs, |sum, one| sum + one);
        self.over = plus(self.over, plus(ours, theirs, u64::saturating_sub), |sum, one| sum + one);
        self.under = plus(self.under, plus(theirs, ours, u64::saturating_sub), |sum, one| sum + one);
    }
}

fn plus(a: Spent, b: Spent, with: impl Fn(u64, u64) -> u64) -> Spent {
    Spent {
        ran_ns: with(a.ran_ns, b.ran_ns),
        slept_ns: with(a.slept_ns, b.slept_ns),
        locked_ns: with(a.locked_ns, b.locked_ns),
        rest_ns: with(a.rest_ns, b.rest_ns),
    }
}

fn in_ms(spent: Spent) -> String {
    let Spent { ran_ns, slept_ns, locked_ns, rest_ns } = spent;
    let [ran, slept, locked, rest] = [ran_ns, slept_ns, locked_ns, rest_ns].map(|ns| ns as f64 / 1e6);
    format!("ran {ran:.1}, slept {slept:.1}, lock {locked:.1}, rest {rest:.1} ms")
}

/// What is watched of these routes of uvicorn under such a load.
fn watched(is_starlette: bool, load: &[&str], routes: &[&str]) -> anyhow::Result<Sums> {
    let recipe = Uvicorn { application: Application::Steps { is_starlette }, workers: 1 };
    let server = Server::start(&recipe)?;
    let trace = Trace::start(server.pid())?;
    let yardstick = Yardstick::start()?;
    Load::run(server.address(), load)?;
    let head_ns = yardstick.end()?.head_ns;
    let traced = trace.end()?;
    let theirs = steps::parse(&std::fs::read_to_string(server.file("witness.jsonl"))?)?;
    let mut sums = Sums { head_ns, ..Sums::default() };
    let mut by_route: BTreeMap<&str, Sums> = BTreeMap::new();
    for request in traced.requests.iter().filter(|request| !(request.open || request.truncated)) {
        let route = request.path().split('/').nth(1).unwrap_or_default();
        let Some(steps) = request.id().and_then(|id| theirs.get(&id)) else { continue };
        if let Some(route) = routes.iter().find(|watched| **watched == route) {
            let theirs = steps.spent((request.start_ns, request.start_ns + request.total_ns));
            sums.add(request, theirs);
            by_route.entry(route).or_default().add(request, theirs);
        }
    }
    let Sums { requests, head_ns, total_ns, unexplained_ns, ours, theirs, over, under } = &sums;
    eprintln!(
        "  {requests} requests, a head {head_ns} ns, {:.1} ms, {:.2} % unexplained\n    ours   {}\n    theirs {}\n    over   {}\n    under  {}",
        *total_ns as f64 / 1e6,
        *unexplained_ns as f64 / (*total_ns).max(1) as f64 * 100.0,
        in_ms(*ours),
        in_ms(*theirs),
        in_ms(*over),
        in_ms(*under)
    );
    for (route, Sums { requests, over, under, .. }) in &by_route {
        eprintln!("    /{route}, {requests}: over {}; under {}", in_ms(*over), in_ms(*under));
    }
    Ok(sums)
}

/// A mixed load, on a machine as it is and beside as many computing threads as it has CPUs.
fn quiet_and_busy(check: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    check()?;
    let _busy = Busy::start()?;
    check()
}

const MIXED: [&str; 6] = [
    "--requests=600",
    "--seconds=20",
    "--clients=3",
    "--keep-alive=5",
    "--routes",
    "/fast=4,/cpu=2,/backend,/stream,/empty,/mixed=2,/sleep/5",
];

/// What is attributed to something is that: what a request is said to have run, slept or waited is at most by
/// this much more than its coroutine noted. The server's own work for it is no step of the coroutine.
#[test]
#[ignore = "make live-all"]
fn time_of_coroutines_on_one_loop_is_attributed_to_those_that_had_it() -> anyhow::Result<()> {
    quiet_and_busy(|| {
        let routes = ["fast", "cpu", "backend", "stream", "empty", "mixed", "sleep"];
        let Sums { requests, head_ns, total_ns, unexplained_ns, theirs, over, under, .. } =
            watched(false, &MIXED, &routes)?;
        ensure!(requests >= 550, "{requests} requests");
        // What is told, too: on loops it is a matter of chance how much (2 to 11 % unexplained), and a build
        // that tells nothing must fail.
        ensure!(unexplained_ns <= total_ns / 4, "{unexplained_ns} of {total_ns} ns are unexplained");
        ensure!(under.ran_ns <= theirs.ran_ns / 5, "ran for more: {} of {}", in_ms(under), in_ms(theirs));
        ensure!(under.rest_ns <= theirs.rest_ns / 3, "waited more: {} of {}", in_ms(under), in_ms(theirs));
        ensure!(under.slept_ns <= theirs.slept_ns / 2, "slept more: {} of {}", in_ms(under), in_ms(theirs));
        let server_ns = requests * SERVER_HEADS * head_ns;
        ensure!(over.ran_ns <= server_ns + total_ns / 50, "ran: {}", in_ms(over));
        // Half a millisecond of each sleep is the loop's: its timeouts are whole milliseconds.
        ensure!(over.slept_ns <= total_ns / 33, "slept: {}", in_ms(over));
        ensure!(over.rest_ns <= total_ns / 50, "waited: {}", in_ms(over));
        ensure!(over.locked_ns == 0, "no other thread lets anybody go on: {}", in_ms(over));
        Ok(())
    })
}

/// A lock that the loop hands from one coroutine to the next makes no system call, and timers of others come
/// due meanwhile.
#[test]
#[ignore = "make live-all"]
fn a_coroutine_that_waits_for_another_s_lock_is_not_said_to_sleep() -> anyhow::Result<()> {
    quiet_and_busy(|| {
        let load = ["--clients=12", "--seconds=3", "--keep-alive=5", "--routes=/fast=2,/sleep/7=3,/turn/5=2"];
        let Sums { theirs, over, under, .. } = watched(false, &load, &["turn"])?;
        ensure!(theirs.locked_ns > 4_000_000_000, "nobody waited: {}", in_ms(theirs));
        ensure!(under.ran_ns <= theirs.ran_ns / 5, "ran for more: {} of {}", in_ms(under), in_ms(theirs));
        ensure!(under.rest_ns <= theirs.rest_ns / 3, "waited more: {} of {}", in_ms(under), in_ms(theirs));
        // 0 to 0.9 % in our runs; 14 % where any timer that comes due makes a sleep of it.
        ensure!(over.slept_ns <= theirs.locked_ns / 20, "waits for a lock are called sleep: {}", in_ms(over));
        Ok(())
    })
}
