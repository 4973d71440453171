//! gunicorn's upgrade: a new master beside the old one, which then ends (docs.gunicorn.org, "Upgrading to a
//! new binary on the fly").
//!
//! In: a server that gets the signals of an upgrade while it is watched. Out: verdicts on the roles of its
//! processes, against whose children they are.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::{Place, Recipe as _, Server, children_of};
use wsgi_trace_test_support::trace::{Trace, Traced};

use super::listeners::{number, reloads, until_replaced};

const WAIT: Duration = Duration::from_secs(30);

/// Two workers, whose gunicorn can start itself again: it starts the file that it was started with, whose
/// directory must not be where modules are looked for.
fn settings(arguments: &[&str]) -> Settings {
    let safe = ("PYTHONSAFEPATH".to_owned(), "1".to_owned());
    Settings { environment: vec![safe], ..Settings::sync(Version::V27, 2).with(arguments) }
}

/// Starts a new master, and waits until its workers are there and have loaded the application. Returns its
/// PID.
fn upgrade(server: &Server, settings: &Settings) -> anyhow::Result<u32> {
    server.signal(libc::SIGUSR2);
    until("a new master's workers", WAIT, || {
        let loaded = std::fs::read_to_string(server.file("ready"))?.lines().count();
        let new = server.worker_pids().into_iter().find(|pid| children_of(*pid).len() == settings.workers);
        Ok(new.filter(|_| loaded >= 2 * settings.loads()))
    })
}

/// The old and the new one are masters, and everybody else who was there is a worker.
fn roles_are_told(traced: Option<&Traced>, masters: [u32; 2]) -> anyhow::Result<()> {
    let Some(traced) = traced else { return Ok(()) };
    let processes = traced.value("/processes")?.as_array().context("no processes")?;
    for process in processes {
        let pid = u32::try_from(number(process, "/pid"))?;
        let expected = if masters.contains(&pid) { "master" } else { "worker" };
        let told = process.get("role").and_then(Value::as_str);
        ensure!(told == Some(expected), "{pid} is told as {told:?}, masters {masters:?}: {processes:#?}");
    }
    ensure!(processes.len() == 6, "{processes:#?}");
    Ok(())
}

/// Both masters are there at the end, about a second after the new one was born.
fn both_are_masters(arguments: &[&str]) -> anyhow::Result<()> {
    let settings = settings(arguments);
    let mut masters = [0; 2];
    let traced = reloads(&settings, |server| {
        masters = [server.pid(), upgrade(server, &settings)?];
        Ok(())
    })?;
    roles_are_told(traced.as_ref(), masters)
}

#[test]
#[ignore = "make live: five seconds"]
fn new_master_is_one_beside_the_old_one() -> anyhow::Result<()> {
    both_are_masters(&[])
}

#[test]
#[ignore = "make live: five seconds"]
fn new_master_that_loads_the_application_before_it_forks_is_one_beside_the_old_one() -> anyhow::Result<()> {
    both_are_masters(&["--preload"])
}

/// The upgrade as gunicorn documents it: the old master's workers end, it stays, then it goes as well.
#[test]
#[ignore = "make live: five seconds"]
fn new_master_is_one_once_the_old_one_has_ended() -> anyhow::Result<()> {
    let configuration = Place::apps().join("winch.py");
    let settings = settings(&["--config", &configuration.to_string_lossy()]);
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&settings)?;
    let trace = Trace::start(server.pid())?;
    let old = server.pid();
    let before = server.worker_pids();
    let new = upgrade(&server, &settings)?;
    server.signal(libc::SIGWINCH);
    until_replaced(&server, &before, 2 * settings.loads())?;
    ensure!(server.worker_pids() == [new], "the old master has other children than the new one");
    server.signal(libc::SIGQUIT);
    // The watch ends while it does: its children may have another parent before it is gone.
    roles_are_told(Some(&trace.end()?), [old, new])
}

#[test]
#[ignore = "make live: five seconds"]
fn new_master_that_takes_the_listener_over_is_followed() -> anyhow::Result<()> {
    let settings = settings(&[]);
    reloads(&settings, |server| {
        let before = server.worker_pids();
        upgrade(server, &settings)?;
        // The old master goes with its workers; the new one stays in its process group, which ends with the
        // test.
        server.signal(libc::SIGTERM);
        until_replaced(server, &before, 2 * settings.loads())
    })
    .map(drop)
}
