//! Which task an event loop's thread makes a call for, against what the tasks note of themselves.
//!
//! In: greenlets and coroutines, each with descriptors of its own. Out: verdicts.

use std::process::Command;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::Version;
use wsgi_trace_test_support::late_timers;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::gevent::GunicornGevent;
use wsgi_trace_test_support::server::{Place, Server};
use wsgi_trace_test_support::task_names::{Told, Work, compare};
use wsgi_trace_test_support::trace::Trace;

/// One work, alone and beside threads that take the lock.
fn every_call_is_its_tasks(python: impl Fn() -> Command, kind: &'static str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    for threads in [0, 2] {
        let work = Work { kind, tasks: 8, rounds: 60, threads };
        let told = compare(python(), work)?;
        eprintln!("  {kind}, {threads} threads beside: {told:?}");
        let Told { right, wrong, before, waits_wrong, .. } = told;
        ensure!(wrong == 0 && waits_wrong == 0, "{told:?}");
        let calls = 2 * work.tasks * work.rounds;
        ensure!(right + before == calls && before < calls / 2, "{told:?}");
    }
    Ok(())
}

#[test]
fn every_call_of_a_coroutine_is_attributed_to_its_task() -> anyhow::Result<()> {
    every_call_is_its_tasks(|| Command::new("python3"), "asyncio")
}

#[test]
fn every_call_of_a_greenlet_is_attributed_to_it_however_deep_it_is() -> anyhow::Result<()> {
    every_call_is_its_tasks(|| Command::new(Place::servers_program("python")), "gevent")
}

#[test]
fn timers_that_came_due_while_the_loop_was_busy_are_those_of_the_tasks_that_slept() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let told = late_timers::compare(Command::new("python3"))?;
    eprintln!("  {told:?}");
    ensure!(told.wrong == 0 && told.missed * 10 <= told.late && told.late > 10, "{told:?}");
    Ok(())
}

/// Both load asyncio and greenlets: which of them the loop runs shows as it waits.
#[test]
fn what_tells_tasks_is_told_from_the_loop_where_both_kinds_are_loaded() -> anyhow::Result<()> {
    every_call_is_its_tasks(|| Command::new(Version::V23.python()), "eventlet")?;
    every_call_is_its_tasks(|| Command::new(Version::V23.python()), "asyncio-greenlet")
}

/// The worker is forked, and loads its modules then: it is looked at as it is found, and again.
#[test]
fn tasks_are_told_of_a_server_s_worker_and_not_where_nothing_is_read_of_its_interpreter() -> anyhow::Result<()>
{
    require_bpf!(Ok(()));
    let _others = shared()?;
    for (way, is_told) in [("--gil=auto", true), ("--gil=off", false)] {
        let server = Server::start(&GunicornGevent { workers: 1 })?;
        let trace = Trace::start_with(server.pid(), &[way])?;
        Load::run(
            server.address(),
            &["--requests=100", "--clients=4", "--keep-alive=10", "--routes=/sleep/2"],
        )?;
        let traced = trace.end()?;
        let kinds = traced.value("/losses/conservation/emitted_by_kind")?;
        let of_tasks = kinds.as_array().into_iter().flatten().find(|kind| kind["name"] == "task");
        let count = of_tasks.and_then(|kind| kind["count"].as_u64()).context("no such kind")?;
        // Each connection has a greenlet, and the loop is one: for each request they take turns.
        ensure!(if is_told { count > 100 } else { count == 0 }, "{way}: {count} in {kinds}");
    }
    Ok(())
}
