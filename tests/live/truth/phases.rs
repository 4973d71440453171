//! Phases against the application's own clocks.
//!
//! In: servers whose routes each wait in one known way. Out: verdicts.

use std::collections::BTreeMap;

use anyhow::Context as _;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::{Load, Sent};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest};

use crate::schedstat::{gained, schedstat};

/// A window around a load that is all logged when it ends.
fn traced(server: &Gunicorn, options: &[&str]) -> anyhow::Result<(Traced, Sent)> {
    let trace = Trace::start(server.master())?;
    let sent = Load::run(server.address(), options)?;
    server.access_log(sent.answered())?;
    Ok((trace.end()?, sent))
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Each route's own phase, over all its requests, is what the application's clock says, within 5 %. A wait
/// whose end the kernel did not show is unexplained instead, and counted. CPU time may also hold what the
/// server computed for a request, by the kernel's account.
fn phases_agree(settings: &Settings) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(settings)?;
    let routes = "/truth/sleep/30,/truth/backend/30,/truth/lock/30,/truth/file,/truth/cpu/30";
    let options = ["--requests", "75", "--seconds", "60", "--clients", "1", "--routes", routes];
    let before = schedstat(&server.worker_pids())?;
    let (traced, _) = traced(&server, &options)?;
    let (computed_ns, _) = gained(&before, &schedstat(&server.worker_pids())?);
    let ours: BTreeMap<u64, _> =
        traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let mut sums: BTreeMap<&str, (u64, u64, u64, u64)> = BTreeMap::new();
    let witnesses = server.witness()?;
    assert_eq!(witnesses.len(), 75);
    // The server computes for a request too, outside of the application's clock.
    let by_clocks_ns: u64 = witnesses.iter().map(|witness| witness.cpu_ns).sum();
    let server_ns = computed_ns.saturating_sub(by_clocks_ns) / u64::try_from(witnesses.len())?;
    for witness in &witnesses {
        let request = ours.get(&witness.id.parse()?).context("a request is missing")?;
        let phase = match witness.kind.as_str() {
            "sleep" => "sleep",
            "backend" => "backend_wait",
            "lock" => "lock_wait",
            "file" => "file_wait",
            "cpu" => "cpu",
            other => anyhow::bail!("no such kind: {other}"),
        };
        // The kernel counts some sleep as a wait for a CPU, where it moves the thread meanwhile (Linux 6.12
        // on). Then the thread slept for longer than its clocks say, and no longer than it had no
        // CPU.
        let (least_ns, most_ns) = match phase {
            "cpu" => (witness.cpu_ns, witness.cpu_ns + server_ns),
            _ => (witness.asleep_ns(), witness.wall_ns.saturating_sub(witness.cpu_ns)),
        };
        let theirs_ns = request.phase_ns(phase).clamp(least_ns, most_ns.max(least_ns));
        let sum = sums.entry(phase).or_default();
        let unexplained_ns = request.phase_ns("unexplained");
        *sum = (sum.0 + request.phase_ns(phase), sum.1 + theirs_ns, sum.2 + 1, sum.3 + unexplained_ns);
    }
    assert_eq!(sums.len(), 5);
    let not_shown_ns = traced.undecided_ns()?;
    let stolen_ns = traced.number("/losses/conservation/stolen_ns")?;
    for (phase, (ours_ns, theirs_ns, count, unexplained_ns)) in &sums {
        let error = share(ours_ns.abs_diff(*theirs_ns), *theirs_ns);
        let theirs_ms = *theirs_ns as f64 / 1e6;
        eprintln!(
            "{} {phase}: {count} requests, {theirs_ms:.1} ms, error {:.2} %; {:.1} ms unexplained, {:.1} ms of the run not shown",
            settings.worker_class,
            error * 100.0,
            *unexplained_ns as f64 / 1e6,
            not_shown_ns as f64 / 1e6
        );
    }
    for (phase, (ours_ns, theirs_ns, _, unexplained_ns)) in sums {
        let not_told_ns = unexplained_ns.min(not_shown_ns);
        // What a hypervisor takes is no CPU time by the thread's clock; by its other clocks it is sleep.
        let (more_ns, less_ns) = if phase == "cpu" { (stolen_ns, 0) } else { (0, stolen_ns) };
        // The nearest to theirs that ours can have been.
        let nearest_ns = theirs_ns.clamp(ours_ns.saturating_sub(more_ns), ours_ns + not_told_ns + less_ns);
        assert!(
            share(nearest_ns.abs_diff(theirs_ns), theirs_ns) <= 0.05,
            "{phase}: {ours_ns} and {not_told_ns} not told, {stolen_ns} stolen, against {theirs_ns}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "make live: make test puts another release to it in servers::gunicorn_sync"]
fn phases_of_sync_agree_with_the_application_s_clock() -> anyhow::Result<()> {
    phases_agree(&Settings::sync(Version::V23, 1))
}

#[test]
fn phases_of_gthread_agree_with_the_application_s_clock() -> anyhow::Result<()> {
    phases_agree(&Settings::gthread(Version::V27, 1, 4))
}

fn almost_nothing_is_unexplained(all: &[Settings]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for settings in all {
        let server = Gunicorn::start(settings)?;
        let options = [
            &["--requests", "300", "--seconds", "20", "--clients", "6", "--keep-alive", "4"],
            &["--routes", "/fast=2,/cpu,/backend,/lock,/file,/stream,/mixed=3,/sleep/5"][..],
            &["--kinds", "get=8,head,sized,chunked,expect"],
        ]
        .concat();
        let (traced, _) = traced(&server, &options)?;
        let sum = |of: fn(&TracedRequest) -> u64| traced.requests.iter().map(of).sum::<u64>();
        let (unexplained_ns, total_ns) =
            (sum(|request| request.phase_ns("unexplained")), sum(|request| request.total_ns));
        let undecided_ns = traced.undecided_ns()?;
        let unexplained_ns = unexplained_ns.saturating_sub(undecided_ns);
        let above = traced
            .requests
            .iter()
            .filter(|request| share(request.phase_ns("unexplained"), request.total_ns) > 0.02);
        eprintln!(
            "{:?} {}: unexplained {:.3} % of {:.1} ms; above 2 % in {} of {} requests",
            settings.version,
            settings.worker_class,
            share(unexplained_ns, total_ns) * 100.0,
            total_ns as f64 / 1e6,
            above.count(),
            traced.requests.len()
        );
        assert!(share(unexplained_ns, total_ns) <= 0.02);
    }
    Ok(())
}

#[test]
fn almost_nothing_of_a_mixed_run_is_unexplained() -> anyhow::Result<()> {
    almost_nothing_is_unexplained(&[Settings::gthread(Version::V27, 2, 4)])
}

#[test]
#[ignore = "make live: another release, and sync workers, which make test has in servers::gunicorn_sync"]
fn almost_nothing_of_a_mixed_run_is_unexplained_on_other_servers() -> anyhow::Result<()> {
    almost_nothing_is_unexplained(&[Settings::sync(Version::V27, 2), Settings::gthread(Version::V23, 2, 4)])
}
