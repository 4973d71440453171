//! Workers that come and go by the server's own doing, while it is watched under load.
//!
//! In: uWSGI that is reloaded. Out: verdicts against its log.

use std::time::Duration;

use std::collections::BTreeMap;

use anyhow::ensure;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::{Recipe as _, Server};
use wsgi_trace_test_support::switches::Waits;
use wsgi_trace_test_support::trace::Trace;
use wsgi_trace_test_support::yardstick::Speed;

use super::truth;
use super::window::Window;

/// SIGHUP: the workers finish what they have, the master begins again, the listener stays.
#[test]
#[ignore = "make live-all"]
fn requests_of_uwsgi_before_and_after_a_reload_are_seen_once() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let recipe = Uwsgi::new(2, 1);
    let server = Server::start(&recipe)?;
    let old = server.worker_pids();
    let trace = Trace::start(server.pid())?;
    let options =
        ["--clients", "3", "--requests", "800", "--seconds", "60", "--routes", "/fast=4,/cpu,/sleep/5=2"];
    let load = Load::start(server.address(), &options)?;
    server.log(60)?;
    server.signal(libc::SIGHUP);
    until("new workers", Duration::from_secs(30), || {
        let new = server.worker_pids();
        Ok((new.len() == 2 && new.iter().all(|pid| !old.contains(pid))).then_some(()))
    })?;
    let sent = load.finish()?;
    let log = server.log(sent.answered())?;
    let traced = trace.end()?;
    let pids: std::collections::BTreeSet<u32> = traced.requests.iter().map(|request| request.pid).collect();
    eprintln!("{}: {} answered, by {pids:?}, before {old:?}", recipe.about(), sent.answered());
    ensure!(pids.iter().any(|pid| old.contains(pid)), "nothing of the old workers: {pids:?}");
    ensure!(pids.iter().any(|pid| !old.contains(pid)), "nothing of the new workers: {pids:?}");
    let window = Window {
        traced,
        sent,
        log,
        switches: BTreeMap::new(),
        waits: Waits::default(),
        speed: Speed::default(),
        witnesses: Vec::new(),
        ports: None,
    };
    truth::every_request_is_seen_once(&window)
}
