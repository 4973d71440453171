//! Verdicts on real servers: each situation is brought about, watched for a moment, and judged.
//!
//! In: the scenarios of `tests/support/scenario`. Out: the finding that the situation calls for is present
//! and first, and none that is false. A few run in every test run, all of them in `make live`; their
//! recordings are replayed each time.

use std::time::Duration;

use profiler_core::finding::{Answer, Finding};
use wsgi_trace_test_support::cgroup::CpuQuota;
use wsgi_trace_test_support::gate::{can_bpf, exclusive, skip};
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::scenario::Scenario;
use wsgi_trace_test_support::verdict::Judged;

/// Watches the scenario and judges what was seen.
fn judge(name: &str) -> anyhow::Result<Option<Judged>> {
    require_bpf!(Ok(None));
    let Some(scenario) = Scenario::named(name) else { anyhow::bail!("there is no scenario {name}") };
    let _alone = exclusive()?;
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("run.wtrace").display().to_string();
    let running = scenario.start()?;
    let (target, duration) = (running.server.pid().to_string(), scenario.duration());
    let arguments = ["--pid", &target, "--duration", &duration, "--record", &recording];
    let outcome = Program::run(&arguments, Duration::from_secs(60))?;
    anyhow::ensure!(outcome.status.success(), "{}", outcome.stderr);
    drop(running);
    let judged = Judged::recording(recording.as_ref())?;
    judged.must_be(scenario)?;
    Ok(Some(judged))
}

/// The finding with this id, where it is present.
fn present<'a>(judged: &'a Judged, id: &str) -> Option<&'a Finding> {
    judged.findings.iter().find(|finding| finding.id == id && finding.answer == Answer::Present)
}

#[test]
fn sleepers_in_sync_workers_are_what_the_queue_waits_for() -> anyhow::Result<()> {
    judge("sync-exhausted").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn sleepers_are_named_where_workers_are_busy_now_and_then() -> anyhow::Result<()> {
    judge("sync-forecast").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn sleepers_in_a_thread_pool_are_what_the_queue_waits_for() -> anyhow::Result<()> {
    let Some(judged) = judge("gthread-exhausted")? else { return Ok(()) };
    let slots = &judged.snapshot.slots;
    // Threads that take one job after the other wait for none: their time must not be lost for that.
    let share = slots.exhausted_ns as f64 / judged.snapshot.window.length_ns() as f64;
    assert!(share > 0.9, "all busy for {share} of the window\n{}", judged.text());
    Ok(())
}

#[test]
#[ignore = "make live: which worker takes a connection is chance; make test replays its recording"]
fn connections_that_stay_with_one_full_worker_are_advised_for_that() -> anyhow::Result<()> {
    let Some(judged) = judge("gthread-one-worker-exhausted")? else { return Ok(()) };
    let finding = present(&judged, "sleeping").map(|finding| finding.advice.as_str()).unwrap_or_default();
    assert!(finding.contains("connections stay with the worker that took them"), "{finding}");
    Ok(())
}

#[test]
#[ignore = "make live; make test watches it in a terminal, and replays its recording"]
fn slow_uploads_that_nobody_waits_for_are_usual() -> anyhow::Result<()> {
    judge("gthread-slow-upload").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn slow_downloads_that_nobody_waits_for_are_usual() -> anyhow::Result<()> {
    judge("sync-slow-reader").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn connections_that_send_nothing_are_found_to_make_others_wait() -> anyhow::Result<()> {
    judge("sync-fresh-connections").map(drop)
}

#[test]
fn clients_that_do_not_close_accuse_nobody_while_a_worker_is_free() -> anyhow::Result<()> {
    judge("sync-lingering-close").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn clients_that_do_not_close_are_found_to_stop_the_accepting_thread() -> anyhow::Result<()> {
    judge("gthread-acceptor-linger").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn a_slow_back_end_that_nobody_else_waits_for_is_usual() -> anyhow::Result<()> {
    judge("gthread-back-end").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn a_computing_sync_worker_that_nobody_waits_for_is_usual() -> anyhow::Result<()> {
    judge("sync-cpu").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn threads_that_compute_in_turns_wait_for_the_gil() -> anyhow::Result<()> {
    judge("gthread-cpu").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn more_computing_workers_than_cores_are_called_cpu_bound() -> anyhow::Result<()> {
    judge("sync-cores-short").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn a_cpu_quota_that_bites_is_named_and_nothing_else_is_blamed_for_it() -> anyhow::Result<()> {
    if can_bpf()
        && let Err(error) = CpuQuota::new(1.0)
    {
        skip(&format!("needs a cgroup with a CPU quota: {error:#}"));
        return Ok(());
    }
    judge("sync-throttled").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn quick_requests_wait_for_long_ones_that_sleep() -> anyhow::Result<()> {
    judge("sync-short-behind-long").map(drop)
}

#[test]
fn a_lightly_loaded_thread_pool_is_healthy() -> anyhow::Result<()> {
    judge("gthread-healthy").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn lightly_loaded_sync_workers_are_healthy() -> anyhow::Result<()> {
    judge("sync-healthy").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn nothing_is_said_of_a_server_without_requests() -> anyhow::Result<()> {
    judge("sync-idle").map(drop)
}
