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
fn busy_sync_workers_with_a_queue_are_called_exhausted() -> anyhow::Result<()> {
    judge("sync-exhausted").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn sync_workers_that_are_busy_now_and_then_are_called_exhausted() -> anyhow::Result<()> {
    judge("sync-forecast").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn a_busy_thread_pool_with_a_queue_is_called_exhausted() -> anyhow::Result<()> {
    let Some(judged) = judge("gthread-exhausted")? else { return Ok(()) };
    let slots = &judged.snapshot.slots;
    // Threads that take one job after the other wait for none: their time must not be lost for that.
    let share = slots.exhausted_ns as f64 / judged.snapshot.window.length_ns() as f64;
    assert!(share > 0.9, "all busy for {share} of the window\n{}", judged.text());
    Ok(())
}

#[test]
fn one_full_worker_beside_an_idle_one_is_called_exhausted_and_named() -> anyhow::Result<()> {
    let Some(judged) = judge("gthread-one-worker-exhausted")? else { return Ok(()) };
    let finding =
        present(&judged, "slots-exhausted").map(|finding| finding.sentence.as_str()).unwrap_or_default();
    let fullest =
        judged.snapshot.slots.heat.iter().max_by_key(|row| row.exhausted_ns).map_or(0, |row| row.tgid);
    assert!(finding.contains(&format!("All 4 threads of worker {fullest} were busy")), "{finding}");
    assert!(finding.contains("requests that sleep"), "{finding}");
    Ok(())
}

#[test]
#[ignore = "make live; make test watches it in a terminal, and replays its recording"]
fn slow_uploads_are_charged_to_their_clients() -> anyhow::Result<()> {
    judge("gthread-slow-upload").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn slow_downloads_are_charged_to_their_clients() -> anyhow::Result<()> {
    judge("sync-slow-reader").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn connections_that_send_nothing_are_found_to_hold_sync_workers() -> anyhow::Result<()> {
    judge("sync-fresh-connections").map(drop)
}

#[test]
fn clients_that_do_not_close_are_found_to_hold_sync_workers() -> anyhow::Result<()> {
    judge("sync-lingering-close").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn clients_that_do_not_close_are_found_to_stop_the_accepting_thread() -> anyhow::Result<()> {
    judge("gthread-acceptor-linger").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn a_slow_back_end_is_what_takes_the_time() -> anyhow::Result<()> {
    judge("gthread-back-end").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn a_computing_sync_worker_is_called_cpu_bound() -> anyhow::Result<()> {
    judge("sync-cpu").map(drop)
}

#[test]
#[ignore = "make live; make test replays its recording"]
fn threads_that_compute_in_turns_are_called_cpu_bound() -> anyhow::Result<()> {
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
fn quick_requests_behind_long_ones_are_found_to_wait() -> anyhow::Result<()> {
    let Some(judged) = judge("sync-short-behind-long")? else { return Ok(()) };
    let finding = present(&judged, "short-behind-long");
    assert!(finding.is_some_and(|one| one.sentence.starts_with("GET /fast/")), "{}", judged.text());
    Ok(())
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
