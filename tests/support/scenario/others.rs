//! The situations of every other kind of server, and of every other way to look: one entry each.
//!
//! In: nothing. Out: [`SCENARIOS`]. Their recordings keep event loops, pools, front ends, dropped connections
//! and windows that roll under the eyes of replays. Rates are low and windows short, so that they stay small.

use std::time::Duration;

use super::Clients::{self, Any, Dropping};
use super::Verdict::{OneOf, Unsaid, Usual};
use super::gunicorn::sync_1;
use super::{Scenario, scenario};
use crate::gunicorn::{Settings, Version};
use crate::server::Recipe;
use crate::server::fastapi::FastApi;
use crate::server::gevent::{GunicornGevent, Pywsgi};
use crate::server::lasting::Lasting;
use crate::server::mod_wsgi::ModWsgi;
use crate::server::nginx::{Link, Nginx};
use crate::server::twisted::Twisted;
use crate::server::uvicorn::{Application, Uvicorn};
use crate::server::uwsgi::Uwsgi;
use crate::server::waitress::Waitress;

/// Several requests at once on one loop: each waits for a back end, sleeps or computes beside the others.
pub(super) const INTERLEAVED: &[&str] = &[
    "--clients=3",
    "--keep-alive=5",
    "--think-ms=20",
    "--routes=/fast,/backend=3,/mixed,/cpu,/sleep/5,/stream",
    "--kinds=get=4,sized,chunked,head",
];
/// As `INTERLEAVED`, less often, for servers that make more calls for each.
const SELDOM: &[&str] = &[
    "--clients=3",
    "--keep-alive=5",
    "--think-ms=50",
    "--routes=/fast,/backend=3,/mixed,/cpu,/sleep/5,/stream",
    "--kinds=get=4,sized,chunked,head",
];
/// As `INTERLEAVED`, where a connection has one request.
const SHORT: &[&str] = &[
    "--clients=3",
    "--think-ms=20",
    "--routes=/fast,/backend=3,/mixed,/cpu,/sleep/5,/stream",
    "--kinds=get=4,sized,head",
];

/// Plain functions in the framework's threads, and coroutines.
const PLAIN_BESIDE_COROUTINES: &[&str] = &[
    "--clients=4",
    "--keep-alive=5",
    "--think-ms=20",
    "--routes=/fast,/truth/backend/20=3,/await/backend/20=2,/truth/sleep/6,/await/sleep/6,/computed",
    "--kinds=get",
];

/// Some are answered, some are cut short, and some leave before that.
pub(super) const LEAVING: &[&str] = &[
    "--after",
    "0.3",
    "get:/fast:4",
    "get:/short/10:2",
    "pipelined:/fast",
    "get:/error:2",
    "leave_reading:/big",
    "leave:/sleep/700",
    "leave:/fast",
    "leave:/sleep/700",
    "leave:/fast",
    "get:/fast:4",
];

pub(super) fn gunicorn_gevent() -> Box<dyn Recipe> {
    Box::new(GunicornGevent { workers: 1 })
}

fn pywsgi() -> Box<dyn Recipe> {
    Box::new(Pywsgi)
}

pub(super) fn uvicorn() -> Box<dyn Recipe> {
    Box::new(Uvicorn { application: Application::Asgi, workers: 1 })
}

fn starlette() -> Box<dyn Recipe> {
    Box::new(Uvicorn { application: Application::Starlette, workers: 1 })
}

fn fastapi() -> Box<dyn Recipe> {
    Box::new(FastApi { event_loop: "uvloop", http: "httptools" })
}

fn a2wsgi() -> Box<dyn Recipe> {
    Box::new(Uvicorn { application: Application::A2wsgi { threads: 4 }, workers: 1 })
}

fn twisted() -> Box<dyn Recipe> {
    Box::new(Twisted)
}

pub(super) fn waitress() -> Box<dyn Recipe> {
    Box::new(Waitress { threads: 4 })
}

fn uwsgi_processes() -> Box<dyn Recipe> {
    Box::new(Uwsgi::new(3, 1))
}

pub(super) fn uwsgi_threads() -> Box<dyn Recipe> {
    Box::new(Uwsgi::new(1, 4))
}

fn mod_wsgi_daemon() -> Box<dyn Recipe> {
    Box::new(ModWsgi::daemon(1, 5))
}

fn mod_wsgi_embedded() -> Box<dyn Recipe> {
    Box::new(ModWsgi::embedded(1, 5))
}

fn behind_nginx() -> Box<dyn Recipe> {
    Box::new(Nginx::before(Settings::gthread(Version::V27, 1, 4), Link::Tcp))
}

const fn mixed(name: &'static str, about: &'static str, server: fn() -> Box<dyn Recipe>) -> Scenario {
    let window = Duration::from_millis(1_500);
    Scenario { window, ..scenario(name, about, server, Any(INTERLEAVED), Usual("back-end")) }
}

const fn seldom(name: &'static str, about: &'static str, server: fn() -> Box<dyn Recipe>) -> Scenario {
    let window = Duration::from_millis(1_200);
    Scenario { window, ..scenario(name, about, server, Any(SELDOM), Usual("back-end")) }
}

fn lasting_threads() -> Box<dyn Recipe> {
    Box::new(Lasting::Gthread { threads: 6 })
}

pub(super) fn lasting_loop() -> Box<dyn Recipe> {
    Box::new(Lasting::Uvicorn)
}

/// Every situation.
pub(super) const SCENARIOS: &[Scenario] = &[
    mixed(
        "gevent-gunicorn",
        "gunicorn's gevent worker, requests of all sorts that interleave",
        gunicorn_gevent,
    ),
    mixed("gevent-pywsgi", "gevent's own server, the same requests", pywsgi),
    mixed("uvicorn-asgi", "coroutines that interleave on asyncio's loop", uvicorn),
    mixed("uvicorn-starlette", "Starlette: coroutines, and plain functions in threads", starlette),
    Scenario {
        clients: Any(PLAIN_BESIDE_COROUTINES),
        ..mixed("uvicorn-uvloop", "FastAPI on uvloop: coroutines, and plain functions in threads", fastapi)
    },
    seldom("uvicorn-a2wsgi", "a WSGI application in a2wsgi's threads behind asyncio's loop", a2wsgi),
    seldom("twisted", "Twisted's reactor and the threads of its pool", twisted),
    seldom("waitress", "Waitress: a main thread that reads, four that run the application", waitress),
    Scenario {
        clients: Any(SHORT),
        ..mixed("uwsgi-processes", "uWSGI with three processes", uwsgi_processes)
    },
    Scenario { clients: Any(SHORT), ..mixed("uwsgi-threads", "uWSGI with four threads", uwsgi_threads) },
    seldom("mod-wsgi-daemon", "mod_wsgi's daemon of five threads behind Apache", mod_wsgi_daemon),
    Scenario { ..mixed("mod-wsgi-embedded", "mod_wsgi in Apache's own children", mod_wsgi_embedded) },
    seldom("nginx-gthread", "gunicorn behind nginx, both traced", behind_nginx),
    Scenario {
        clients: Dropping(LEAVING),
        // One worker: who comes behind a request that sleeps waits for it.
        verdict: OneOf(&["clients-leave", "sleeping"], &[]),
        ..mixed("sync-dropped", "clients that leave, and answers that a sync worker cuts short", sync_1)
    },
    Scenario {
        window: Duration::from_millis(2_300),
        rolls: true,
        ..mixed(
            "gevent-rolled",
            "two windows that follow one another while requests are in flight",
            gunicorn_gevent,
        )
    },
    scenario(
        "lasting-gthread",
        "WebSockets and streams of events, each with a thread, and some pages",
        lasting_threads,
        Clients::Lasting,
        Unsaid,
    ),
];
