//! The test harness itself: servers come up, clients and logs agree, the application's clocks tell the truth.
//!
//! In: nothing. Out: verdicts. Needs no privilege: nothing is traced.

use std::collections::BTreeMap;

use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Listen, Settings, Version};
use wsgi_trace_test_support::load::Load;

const MIXED: &[&str] = &[
    "--requests",
    "200",
    "--seconds",
    "20",
    "--clients",
    "4",
    "--keep-alive",
    "4",
    "--routes",
    "/fast=6,/cpu,/backend,/stream,/empty,/unchanged,/missing",
    "--kinds",
    "get=6,head,sized,chunked,expect",
];

/// Every answered request is one line of the log with the same method, path and status.
fn log_and_clients_agree(settings: &Settings) -> anyhow::Result<()> {
    let _others = shared()?;
    let server = Gunicorn::start(settings)?;
    assert_eq!(server.worker_pids().len(), settings.workers);
    let sent = Load::run(server.address(), MIXED)?;
    assert_eq!(sent.requests.len(), 200);
    assert_eq!(sent.answered(), 200);
    let log = server.access_log(200)?;
    let logged: BTreeMap<_, _> = log
        .iter()
        .filter_map(|line| Some((line.id()?, (line.method.as_str(), line.path.as_str(), Some(line.status)))))
        .collect();
    assert_eq!(log.len(), 200);
    for request in &sent.requests {
        let ours = (request.method.as_str(), request.path.as_str(), request.status);
        assert_eq!(logged.get(&request.id), Some(&ours));
    }
    Ok(())
}

#[test]
fn gunicorn_27_gthread_logs_what_the_clients_sent() -> anyhow::Result<()> {
    log_and_clients_agree(&Settings::gthread(Version::V27, 2, 4))
}

#[test]
fn gunicorn_23_gthread_on_a_unix_socket_logs_what_the_clients_sent() -> anyhow::Result<()> {
    log_and_clients_agree(&Settings::gthread(Version::V23, 1, 4).on(Listen::Unix))
}

#[test]
fn gunicorn_23_sync_logs_what_the_clients_sent() -> anyhow::Result<()> {
    log_and_clients_agree(&Settings::sync(Version::V23, 4))
}

#[test]
fn the_application_measures_the_time_that_its_path_asks_for() -> anyhow::Result<()> {
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let routes = "/truth/sleep/20,/truth/backend/30,/truth/lock/25,/truth/file,/truth/cpu/15";
    let sent = Load::run(server.address(), &["--requests", "40", "--clients", "1", "--routes", routes])?;
    let witnesses = server.witness()?;
    assert_eq!(witnesses.len(), sent.answered());
    for witness in &witnesses {
        let asked_ns = (witness.asked_ms * 1e6) as u64;
        let measured_ns = if witness.kind == "cpu" { witness.cpu_ns } else { witness.wall_ns };
        assert!(measured_ns >= asked_ns, "{witness:?}");
    }
    Ok(())
}

#[test]
fn a_stopped_server_leaves_no_process_behind() -> anyhow::Result<()> {
    let mut server = Gunicorn::start(&Settings::sync(Version::V27, 2))?;
    let mut pids = server.worker_pids();
    pids.push(server.master());
    server.stop();
    for pid in pids {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A killed worker may be a zombie until its new parent looks.
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }
    Ok(())
}
