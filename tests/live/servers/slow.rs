//! Slow clients: their stall is part of their own request, and a slot is charged for it only where it holds
//! one.
//!
//! In: each server, and what it does for a client that sends its head slowly, its body slowly, or takes its
//! response slowly. Out: verdicts against the clients' clocks.

use std::ops::RangeInclusive;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::require_nginx;
use wsgi_trace_test_support::server::cheroot::{Cheroot, CherryPy};
use wsgi_trace_test_support::server::gevent::{GunicornGevent, Pywsgi};
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::nginx::{Link, Nginx};
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::wsgiref::Wsgiref;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

/// How long a slot is held for a slow client.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// As long as the client is slow.
    AsLong,
    /// Most of that: the rest lies in buffers of the process between, or waits for that one.
    Mostly,
    /// As long as the front end takes to store what the client will take slowly.
    ForTheFrontEndAlone,
    /// Not at all.
    Not,
}

impl Held {
    /// Between which lengths a slot is held while its client stalls for so long, in ns.
    const fn limits_ns(self, stall_ns: u64, total_ns: u64) -> (u64, u64) {
        let doubt_ns = stall_ns / 20;
        match self {
            Self::AsLong => (stall_ns - doubt_ns, stall_ns + doubt_ns),
            Self::Mostly => (stall_ns / 2, total_ns),
            Self::ForTheFrontEndAlone => (0, stall_ns / 2),
            Self::Not => (0, doubt_ns),
        }
    }
}

/// What a server does for each kind of slow client.
#[derive(Clone, Copy, Debug)]
struct Slow {
    head: Held,
    /// `None`: not asked.
    body: Option<Held>,
    reader: Held,
}

impl Slow {
    const fn all(held: Held) -> Self {
        Self { head: held, body: Some(held), reader: held }
    }
}

/// A second of head, a second and a half of body, two seconds of 16 MB: one client after the other.
fn slow_clients(recipe: &dyn Recipe, slow: Slow) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(recipe)?;
    let in_front = server.pids().get(1).copied().filter(|_| recipe.traces_front_end());
    let front_end = in_front.map(|pid| format!("--with-front-end={pid}"));
    let options: Vec<&str> = front_end.as_deref().into_iter().collect();
    let trace = Trace::start_with(server.pid(), &options)?;
    let head: &[&str] = &["--slow-heads", "1", "--first-id", "1000001"];
    let body: &[&str] = &["--slow-bodies", "1", "--slow-body-bytes", "1500", "--first-id", "2000001"];
    let reader: &[&str] = &["--slow-readers", "1", "--slow-read-seconds", "2", "--first-id", "3000001"];
    // Which share of its client's time a request stalls. A head comes in nine pieces, and the request begins
    // with the first. Of a body all is waited for but the first piece. Of a response that is read slowly,
    // 2 to 4 of 16 MB lie in the kernel's buffers when the server is done. A front end and its sockets
    // hold as much again, which it goes on sending when the server is done.
    let reads_slowly = if recipe.traces_front_end() { 0.50..0.88 } else { 0.70..0.88 };
    let kinds = [
        ("/fast", "client_read_stall", Some(slow.head), head, 0.80..0.90),
        ("/upload", "client_read_stall", slow.body, body, 0.95..1.00),
        ("/download", "client_write_stall", Some(slow.reader), reader, reads_slowly),
    ];
    let mut clients = Vec::new();
    for (path, phase, held, options, stalls) in kinds {
        let Some(held) = held else { continue };
        let sent = Load::run(server.address(), &[&["--clients", "0", "--requests", "1"], options].concat())?;
        clients.push((path, phase, held, stalls, sent.requests.first().context("nothing was sent")?.clone()));
    }
    server.log(clients.len())?;
    let traced = trace.end()?;
    let mut wrong = Vec::new();
    let (mut read_ns, mut write_ns) = ((0, 0), (0, 0));
    for (path, phase, held, stalls, sent) in &clients {
        ensure!(sent.status == Some(200), "{sent:?}");
        let request = traced.under(path).next().with_context(|| format!("{path} is missing"))?;
        let (stall_ns, took_ns) = (request.phase_ns(phase), sent.end_ns - sent.sent_ns);
        eprintln!(
            "{}: {path}: client {:.0} ms, {phase} {:.0} ms, request {:.0} ms: {held:?}",
            recipe.about(),
            took_ns as f64 / 1e6,
            stall_ns as f64 / 1e6,
            request.total_ns as f64 / 1e6
        );
        if !stalls.contains(&(stall_ns as f64 / took_ns as f64)) {
            wrong.push(format!("{phase} {stall_ns} of {took_ns} ns, not {stalls:?}: {request:?}"));
        }
        let (least_ns, most_ns) = held.limits_ns(stall_ns, request.total_ns);
        let sum = if *phase == "client_read_stall" { &mut read_ns } else { &mut write_ns };
        *sum = (sum.0 + least_ns, sum.1 + most_ns);
    }
    for (phase, (least_ns, most_ns)) in [("client_read_stall", read_ns), ("client_write_stall", write_ns)] {
        let held_ns = traced.number(&format!("/slots/held/{phase}_ns"))?;
        eprintln!("  slots held for {phase}: {:.0} ms", held_ns as f64 / 1e6);
        let limits: RangeInclusive<u64> = least_ns..=most_ns;
        if !limits.contains(&held_ns) {
            wrong.push(format!("slots were held for {phase} for {held_ns} ns, not {limits:?}: {slow:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}: {}", recipe.about(), wrong.join("\n"));
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_waitress_hold_no_thread() -> anyhow::Result<()> {
    slow_clients(&Waitress { threads: 2 }, Slow::all(Held::Not))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_cheroot_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&Cheroot { threads: 2 }, Slow::all(Held::AsLong))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_cherrypy_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&CherryPy { threads: 2 }, Slow::all(Held::AsLong))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_uwsgi_hold_a_worker() -> anyhow::Result<()> {
    slow_clients(&Uwsgi::new(2, 1), Slow::all(Held::AsLong))
}

/// The router reads heads by itself, and passes on everything else as it comes.
#[test]
#[ignore = "make live-all"]
fn slow_clients_of_uwsgi_s_router_hold_a_worker_but_for_their_heads() -> anyhow::Result<()> {
    let slow = Slow { head: Held::Not, body: Some(Held::Mostly), reader: Held::Mostly };
    slow_clients(&Uwsgi::new(2, 1).routed(), slow)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_gunicorn_sync_hold_a_worker() -> anyhow::Result<()> {
    slow_clients(&Settings::sync(Version::V27, 2), Slow::all(Held::AsLong))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_gthread_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&Settings::gthread(Version::V27, 1, 2), Slow::all(Held::AsLong))
}

/// Apache's children read heads by themselves.
#[test]
#[ignore = "make live-all"]
fn slow_clients_of_mod_wsgi_daemons_hold_a_thread_but_for_their_heads() -> anyhow::Result<()> {
    let slow = Slow { head: Held::Not, body: Some(Held::Mostly), reader: Held::Mostly };
    slow_clients(&ModWsgi::daemon(1, 2), slow)
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_mod_wsgi_embedded_hold_a_thread() -> anyhow::Result<()> {
    slow_clients(&ModWsgi::embedded(1, 5), Slow::all(Held::AsLong))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_mod_wsgi_prefork_hold_a_child() -> anyhow::Result<()> {
    slow_clients(&ModWsgi::embedded(1, 5).with(&["--server-mpm=prefork"]), Slow::all(Held::AsLong))
}

/// wsgiref sees no end of a body.
#[test]
#[ignore = "make live-all"]
fn slow_clients_of_wsgiref_hold_its_thread() -> anyhow::Result<()> {
    slow_clients(&Wsgiref, Slow { body: None, ..Slow::all(Held::AsLong) })
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_gunicorn_gevent_hold_nothing() -> anyhow::Result<()> {
    slow_clients(&GunicornGevent { workers: 1 }, Slow::all(Held::Not))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_pywsgi_hold_nothing() -> anyhow::Result<()> {
    slow_clients(&Pywsgi, Slow::all(Held::Not))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_uvicorn_hold_nothing() -> anyhow::Result<()> {
    slow_clients(&Uvicorn { application: Application::Asgi, workers: 1 }, Slow::all(Held::Not))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_a2wsgi_hold_no_slot() -> anyhow::Result<()> {
    slow_clients(
        &Uvicorn { application: Application::A2wsgi { threads: 2 }, workers: 1 },
        Slow::all(Held::Not),
    )
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_twisted_hold_no_thread() -> anyhow::Result<()> {
    slow_clients(&Twisted, Slow::all(Held::Not))
}

#[test]
#[ignore = "make live-all"]
fn slow_clients_of_nginx_hold_no_slot_behind_it() -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    let nginx = Nginx::before(Settings::sync(Version::V27, 2), Link::Tcp);
    slow_clients(&nginx, Slow { head: Held::Not, body: Some(Held::Not), reader: Held::ForTheFrontEndAlone })
}
