//! A worker ends while it serves: by its own master's timeout, by a crash, for want of memory, by an
//! operator.
//!
//! In: servers whose workers end so. Out: verdicts, with the request that each was serving.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use wsgi_trace_test_support::cgroup::MemoryLimit;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::dropping::{Clients, Drops};
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::raw::until_inside;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::trace::Trace;

use crate::{BOTH_MODES, carry_out, carry_out_in};

/// `clock_nanosleep`: the application sleeps.
const CLOCK_NANOSLEEP: u32 = 230;

/// Path of the request that the first worker to end was serving, and why it ended.
fn first_end(drops: &Drops) -> (&str, &str) {
    let Some(end) = drops.worker_ends.first() else { return ("", "") };
    let path = end.request.as_ref().and_then(|request| request.path.as_deref()).unwrap_or_default();
    (end.cause.as_str(), path)
}

#[test]
fn a_crash_and_an_exit_are_told_apart_and_name_their_requests() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for mode in BOTH_MODES {
        let plan = ["get:/fault", "get:/abort", "get:/leave", "get:/fast"];
        let outcome = carry_out_in(mode, &Settings::sync(Version::V23, 2), &plan)?;
        outcome.must_be(
            &["closed", "closed", "closed", "200"],
            1,
            &[("worker_crashed", 2), ("worker_exited", 1)],
        );
        assert_eq!(first_end(&outcome.drops), ("worker_crashed", "/fault"), "{:?}", outcome.drops);
    }
    Ok(())
}

#[test]
fn a_signal_of_an_operator_is_named_with_its_sender() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    for signal in [libc::SIGKILL, libc::SIGSEGV] {
        let trace = Trace::start(server.master())?;
        let workers = server.worker_pids();
        let clients = Clients::start(server.address(), &["get:/sleep/20000"])?;
        let worker = until_inside(&workers, CLOCK_NANOSLEEP)?;
        // SAFETY: `kill` takes no pointers; the worker is our server's child and was alive a moment ago.
        unsafe { libc::kill(libc::pid_t::try_from(worker)?, signal) };
        assert_eq!(clients.finish()?.count("closed"), 1);
        let drops = Drops::of(&trace.end()?)?;
        assert_eq!(drops.counts().into_iter().collect::<Vec<_>>(), [("worker_killed", 1)], "{drops:?}");
        let sender = format!("from process {}", std::process::id());
        let said = drops.first("worker_killed").map(|example| example.evidence.clone()).unwrap_or_default();
        assert!(said.contains(&sender), "{said}");
        until("a new worker", Duration::from_secs(15), || {
            Ok(server.worker_pids().into_iter().find(|pid| *pid != worker))
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "make live: waits for time-outs"]
fn a_worker_that_gunicorn_kills_for_its_timeout_is_named_with_the_request_that_took_too_long()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for version in [Version::V23, Version::V27] {
        let settings = Settings::sync(version, 1).with(&["--timeout", "1"]);
        // Python's handler of the signal runs between the application's steps: an answer of the server's own.
        let outcome = carry_out(&settings, &["get:/fast", "get:/sleep/20000"])?;
        assert_eq!(outcome.seen.count("200"), 1, "{:?}", outcome.seen);
        assert_eq!(outcome.drops.counts().into_iter().collect::<Vec<_>>(), [("worker_timeout", 1)]);
        let first = outcome.drops.first("worker_timeout");
        let path =
            first.and_then(|example| example.request.as_ref()).and_then(|request| request.path.as_deref());
        assert_eq!(path, Some("/sleep/20000"), "{:?}", outcome.drops);
    }
    // A call of the C library ends with the signal, and the handler runs then.
    let settings = Settings::sync(Version::V27, 1).with(&["--timeout", "1"]);
    let outcome = carry_out(&settings, &["get:/block/20000"])?;
    outcome.must_be(&["500"], 0, &[("worker_timeout", 1)]);
    Ok(())
}

#[test]
#[ignore = "make live: waits for time-outs"]
fn a_harakiri_of_uwsgi_is_named_with_the_request_that_took_too_long() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    // With the second option it asks the worker to end first, as for a stop.
    for arguments in [&["--harakiri=1"][..], &["--harakiri=1", "--harakiri-graceful-timeout=5"]] {
        let uwsgi = Uwsgi::new(1, 1).with(arguments);
        let outcome = carry_out(&uwsgi, &["get:/fast", "get:/sleep/20000"])?;
        outcome.must_be(&["200", "closed"], 1, &[("worker_timeout", 1)]);
        assert_eq!(first_end(&outcome.drops), ("worker_timeout", "/sleep/20000"), "{:?}", outcome.drops);
    }
    Ok(())
}

/// What `apps/dropping.py` was in: the line with this remark, in this function.
fn line(remark: &str, function: &str) -> anyhow::Result<String> {
    let source = std::fs::read_to_string(wsgi_trace_test_support::root().join("tests/apps/dropping.py"))?;
    let at = source.lines().position(|line| line.ends_with(remark)).context("no such line")?;
    Ok(format!("apps/dropping.py:{} {function}", at + 1))
}

/// Workers that are killed as they wait and as they compute say at which lines they did.
fn killed_where(mode: &[&str], recipe: &dyn Recipe) -> anyhow::Result<()> {
    let outcome = carry_out_in(mode, recipe, &["get:/recv", "get:/spin"])?;
    // The last worker may end after the trace; the connection has ended before.
    let killed = outcome.drops.causes.iter().filter(|cause| cause.cause == "worker_timeout");
    let killed: Vec<_> = killed.flat_map(|cause| &cause.examples).collect();
    for (path, state, line, call) in [
        ("/recv", "asleep", line("# the line that waits", "wait_for_silent")?, Some("recvfrom")),
        ("/spin", "computing", line("# the line that computes", "spin")?, None),
    ] {
        let mut requests = killed.iter().filter_map(|example| example.request.as_ref());
        let request = requests.find(|request| request.path.as_deref() == Some(path));
        let was = request.and_then(|request| request.was.as_ref());
        let was = was.with_context(|| format!("{mode:?} {path} was nowhere: {killed:?}"))?;
        eprintln!("{mode:?} {path}: {was:?}");
        ensure!(was.state == state && was.system_call.as_deref() == call, "{path}: {was:?}");
        ensure!(was.own_lines.as_ref().is_some_and(|lines| lines.ends_with(&line)), "{path}: {was:?}");
        ensure!(was.slept_ns.is_some() == (state == "asleep"), "{path}: {was:?}");
        // A worker has two seconds. uWSGI's are those of a clock that has only whole ones.
        ensure!(was.slept_ns.is_none_or(|ns| ns >= 900_000_000), "{path}: {was:?}");
    }
    Ok(())
}

#[test]
#[ignore = "make live: waits for time-outs"]
fn a_worker_that_is_killed_for_its_timeout_has_the_line_that_it_was_in() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for mode in BOTH_MODES {
        killed_where(mode, &Settings::sync(Version::V27, 1).with(&["--timeout", "2"]))?;
        killed_where(mode, &Uwsgi::new(1, 1).with(&["--harakiri=2"]))?;
    }
    Ok(())
}

#[test]
#[ignore = "make live: runs out of memory in a cgroup"]
fn a_worker_that_memory_runs_out_for_is_told_from_one_that_is_killed() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let group = MemoryLimit::new(200 << 20)?;
    for pid in server.worker_pids() {
        group.take(pid)?;
    }
    let trace = Trace::start(server.master())?;
    let seen = Clients::run(server.address(), &["get:/fast", "get:/memory"])?;
    let drops = Drops::of(&trace.end()?)?;
    assert_eq!((seen.count("200"), seen.count("closed")), (1, 1), "{seen:?}");
    assert_eq!(drops.counts().into_iter().collect::<Vec<_>>(), [("worker_out_of_memory", 1)], "{drops:?}");
    assert_eq!(first_end(&drops), ("worker_out_of_memory", "/memory"), "{drops:?}");
    drop(server);
    Ok(())
}
