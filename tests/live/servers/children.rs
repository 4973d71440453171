//! Waits for child processes against the application's clock, by a full trace and by light mode at once.
//!
//! In: servers whose threads start programs and wait for them. Out: verdicts: that wait is `child_wait`, from
//! both sides, and reading a child's output is not.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::intervals::{Between, Intervals, Pair};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::switches::{Switches, Waits};
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest};
use wsgi_trace_test_support::witness::Witness;
use wsgi_trace_test_support::yardstick::Yardstick;

/// Programs that are waited for, `vfork` by both calls that can do it, and a program whose output is read.
const ROUTES: &str = "/truth/child/25=3,/truth/vfork/20,/truth/vfork/21,/truth/output/25=2,/fast";
/// A difference whose request is shown, should the test fail.
const FAR_NS: u64 = 1_000_000;
/// Who only waits for its child is nowhere else meanwhile.
const PHASES: [(&str, &[&str]); 3] =
    [("child", &["child_wait"]), ("vfork", &["child_wait"]), ("output", &["lock_wait", "child_wait"])];

/// Both traces know the same of each piece of work.
fn agrees(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let switches = Switches::start()?;
    let server = Server::start(recipe)?;
    let full = Trace::start(server.pid())?;
    let light = Trace::start_with(server.pid(), &["--light"])?;
    let yardstick = Yardstick::start()?;
    let options = ["--requests", "160", "--seconds", "40", "--clients", "1", "--routes", ROUTES];
    let sent = Load::run(server.address(), &options)?;
    server.log(sent.answered())?;
    let speed = yardstick.end()?;
    let (light, full) = (light.end()?, full.end()?);
    let waits = switches.stop()?.waits();
    let witnesses = server.witness()?;
    for (mode, traced) in [("full", &full), ("light", &light)] {
        let stolen_ns = traced.number("/losses/conservation/stolen_ns")?;
        let between = Between {
            speed,
            is_woken_rarely: false,
            resolution_ns: 1,
            shares_gil: recipe.shares_gil(),
            stolen_ns,
        };
        let wrong = of(mode, traced, &witnesses, &waits)?.wrong(between);
        ensure!(wrong.is_empty(), "{mode}: {}", wrong.join("\n"));
    }
    Ok(())
}

/// Each piece of work as one mode has it, beside the application's clock.
fn of(mode: &str, traced: &Traced, witnesses: &[Witness], waits: &Waits) -> anyhow::Result<Intervals> {
    let requests: BTreeMap<u64, &TracedRequest> =
        traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let undecided_ns = traced.undecided_ns()?;
    let mut intervals = Intervals::default();
    let mut sums: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for witness in witnesses {
        let request =
            requests.get(&witness.id.parse()?).with_context(|| format!("no request of {witness:?}"))?;
        let named = PHASES.iter().find(|(kind, _)| *kind == witness.kind);
        let (kind, phases) = *named.with_context(|| format!("no such kind: {witness:?}"))?;
        let ours_ns: u64 = phases.iter().map(|phase| request.phase_ns(phase)).sum();
        // Who sleeps without the GIL wants it again at the end; starting a program may wait for memory or a
        // disk.
        let beside = ["gil_wait", "fault_wait", "file_wait"].map(|phase| request.phase_ns(phase));
        let least_ns = witness.asleep_ns().saturating_sub(beside.iter().sum());
        let most_ns = witness.wall_ns.saturating_sub(witness.cpu_ns);
        // A wait whose end the kernel did not show is unexplained instead, and counted.
        let untold_ns = request.phase_ns("unexplained").min(undecided_ns);
        let theirs_ns = ours_ns.clamp(least_ns.saturating_sub(untold_ns), most_ns.max(least_ns));
        let without_cpu_ns =
            waits.of_any(&traced.threads_of(request.pid)?, &(witness.start_ns..witness.end_ns));
        if ours_ns.abs_diff(theirs_ns) > FAR_NS {
            eprintln!("{mode}: {ours_ns} ns for {theirs_ns}: {witness:?} {request:?}");
        }
        intervals.add(kind, Pair { ours_ns, theirs_ns, without_cpu_ns, waits: 1 });
        // What it reads it does not wait for.
        let most_ns = witness.wall_ns.saturating_sub(witness.read_ns.unwrap_or(0));
        ensure!(request.phase_ns("child_wait") <= most_ns, "{mode}: {witness:?} {request:?}");
        let sum = sums.entry(kind).or_default();
        *sum = (sum.0 + ours_ns, sum.1 + theirs_ns, sum.2 + 1);
    }
    for (kind, (ours_ns, theirs_ns, count)) in &sums {
        let error = (*ours_ns as f64 / (*theirs_ns).max(1) as f64 - 1.0) * 100.0;
        eprintln!(
            "{mode} {kind}: {count} requests, {ours_ns} ns, by the application {theirs_ns} ns, {error:+.2} %"
        );
    }
    ensure!(sums.len() == PHASES.len() && sums.values().all(|(_, _, count)| *count >= 20), "{sums:?}");
    Ok(intervals)
}

#[test]
#[ignore = "make live-all"]
fn children_of_threads() -> anyhow::Result<()> {
    agrees(&Settings::gthread(Version::V27, 1, 4))
}

#[test]
#[ignore = "make live-all"]
fn children_of_sync_workers() -> anyhow::Result<()> {
    agrees(&Settings::sync(Version::V27, 2))
}

#[test]
#[ignore = "make live-all"]
fn children_of_uwsgi_s_processes() -> anyhow::Result<()> {
    agrees(&Uwsgi::new(2, 1))
}

#[test]
#[ignore = "make live-all"]
fn children_of_uwsgi_s_threads() -> anyhow::Result<()> {
    agrees(&Uwsgi::new(1, 4))
}
