//! Workers that die and workers that are born while the server is watched.
//!
//! In: servers whose workers are killed or time out. Out: verdicts against the access log.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::raw::{RawClient, until_inside};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::{Trace, Traced};

/// `clock_nanosleep`: the application sleeps.
const CLOCK_NANOSLEEP: u32 = 230;

const LOAD: &[&str] =
    &["--requests", "60", "--seconds", "20", "--clients", "3", "--routes", "/fast=3,/cpu,/backend"];

fn new_worker(server: &Gunicorn, old: u32) -> anyhow::Result<u32> {
    until("a new worker", Duration::from_secs(15), || {
        Ok(server.worker_pids().into_iter().find(|pid| *pid != old))
    })
}

/// Everything that the new worker logged is reported, and as its own.
fn assert_new_worker_seen(server: &Gunicorn, traced: &Traced, new: u32, lines: usize) -> anyhow::Result<()> {
    let log = server.access_log(lines)?;
    let logged: BTreeSet<u64> =
        log.iter().filter(|line| line.pid == new).filter_map(|line| line.id()).collect();
    let ours: BTreeSet<u64> = traced
        .requests
        .iter()
        .filter(|request| request.pid == new && request.status == Some(200) && !request.truncated)
        .filter_map(|request| request.id())
        .collect();
    assert_eq!(logged.len(), 60);
    assert_eq!(logged, ours);
    Ok(())
}

#[test]
fn a_worker_killed_within_a_request_and_its_successor_are_followed() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for settings in [Settings::sync(Version::V27, 1), Settings::gthread(Version::V23, 1, 4)] {
        let server = Gunicorn::start(&settings)?;
        let trace = Trace::start(server.master())?;
        let mut client = RawClient::connect(server.address())?;
        client.get("/sleep/30000/7")?;
        let old = until_inside(&server.worker_pids(), CLOCK_NANOSLEEP)?;
        // SAFETY: `kill` takes no pointers; the worker is our server's child and was alive a moment ago.
        unsafe { libc::kill(libc::pid_t::try_from(old)?, libc::SIGKILL) };
        assert_eq!(client.status()?, None);
        let new = new_worker(&server, old)?;
        let sent = Load::run(server.address(), LOAD)?;
        assert_eq!(sent.answered(), 60);
        server.access_log(60)?;
        let traced = trace.end()?;
        let killed = traced.under("/sleep").next().context("the killed request is invisible")?;
        assert_eq!((killed.pid, killed.status, killed.open), (old, None, false), "{killed:?}");
        assert_new_worker_seen(&server, &traced, new, 60)?;
        assert_eq!(traced.requests.len(), 61);
    }
    Ok(())
}

/// gunicorn ends the worker with SIGABRT, which answers 500 itself before it goes.
#[test]
fn a_worker_that_times_out_and_its_successor_are_followed() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1).with(&["--timeout", "2"]))?;
    let old = server.worker_pids().first().copied().context("no worker")?;
    let trace = Trace::start(server.master())?;
    let mut client = RawClient::connect(server.address())?;
    client.get("/sleep/30000/7")?;
    let status = client.status()?;
    let new = new_worker(&server, old)?;
    let sent = Load::run(server.address(), LOAD)?;
    assert_eq!(sent.answered(), 60);
    server.access_log(60)?;
    let traced = trace.end()?;
    let ended = traced.under("/sleep").next().context("the request that timed out is invisible")?;
    assert_eq!((ended.pid, ended.status, ended.open), (old, status, false), "{ended:?}");
    let slept_ns = ended.phase_ns("sleep");
    assert!(slept_ns > 1_500_000_000 && slept_ns <= ended.total_ns, "{ended:?}");
    assert_new_worker_seen(&server, &traced, new, 60)
}
