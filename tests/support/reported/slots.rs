//! What waits for a slot, or for a process that serves: pools, locks at a fork, sockets that stay open.
//!
//! In: nothing. Out: [`REPORTED`].

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use profiler_core::model::chain::LeafKind;

use super::application::Application;
use super::{Expected, Reported, Scene, State, Whole, pause};
use crate::address::Address;
use crate::gunicorn::{Settings, Version};
use crate::server::fastapi::FastApi;
use crate::server::mod_wsgi::ModWsgi;
use crate::server::uwsgi::Uwsgi;

/// The environment with frameworks and libraries of these problems.
const ENVIRONMENT: &str = "venv-reported";
/// WebSockets that are open.
const SOCKETS: usize = 4;

/// All of them.
pub(super) const REPORTED: &[Reported] = &[
    Reported {
        name: "pool-smaller-than-threads",
        about: "threads wait for a connection of a pool, whose owners wait for a thread",
        source: "fastapi #3205, #12066",
        expected: Expected {
            kinds: &[LeafKind::NotReleased],
            by: &[],
            words: &[("grade", &["cycle", "nobody_could"])],
            share: 0.6,
            of: Whole::Waiting,
            never: &[LeafKind::BackEnd, LeafKind::Client, LeafKind::File, LeafKind::Sleep],
            is_light: true,
        },
        recipe: || Box::new(FastApi { event_loop: "asyncio", http: "h11" }),
        begin: pool,
    },
    Reported {
        name: "websockets-hold-threads",
        about: "each open WebSocket has a thread of the pool, and none is left for pages",
        source: "unstract #2241, flask-sock #78",
        expected: Expected {
            kinds: &[LeafKind::Upgraded],
            by: &["pool_wait", "loop_wait"],
            words: &[],
            share: 0.8,
            of: Whole::Waiting,
            never: &[LeafKind::NotReleased, LeafKind::BackEnd, LeafKind::Sleep, LeafKind::NotFollowed],
            is_light: true,
        },
        recipe: || Box::new(Settings::gthread(Version::V27, 1, 4)),
        begin: websockets,
    },
    Reported {
        name: "lock-held-at-the-fork",
        about: "workers are forked while a thread of their master holds a lock, which nobody of theirs will release",
        source: "gunicorn #3529, #3520",
        expected: Expected {
            kinds: &[LeafKind::NotReleased],
            by: &[],
            words: &[("grade", &["nobody_could", "cycle"])],
            share: 0.8,
            of: Whole::Waiting,
            never: &[LeafKind::BackEnd, LeafKind::Client, LeafKind::NotFollowed, LeafKind::StoodStill],
            is_light: true,
        },
        recipe: || Box::new(Settings::gthread(Version::V27, 2, 3)),
        begin: fork,
    },
    Reported {
        name: "router-gives-up",
        about: "uWSGI's own router leaves long requests, whose workers go on for nobody",
        source: "uwsgi #2264",
        expected: Expected {
            kinds: &[LeafKind::Sleep],
            by: &["accept_queue", "pool_wait", "front_end"],
            words: &[("endpoint", &["export"])],
            // The rest waits for its own sleep.
            share: 0.3,
            of: Whole::Waiting,
            never: &[LeafKind::Client, LeafKind::BackEnd, LeafKind::NotReleased],
            is_light: true,
        },
        recipe: || Box::new(Uwsgi::new(3, 1).routed()),
        begin: router,
    },
    Reported {
        name: "reload-waits-for-a-request",
        about: "a touched script ends mod_wsgi's only process, which waits for a long request while all others wait",
        source: "mod_wsgi #923, #383",
        expected: Expected {
            kinds: &[LeafKind::NoThread],
            by: &[],
            words: &[],
            // The long request waits for itself.
            share: 0.4,
            of: Whole::Waiting,
            never: &[LeafKind::BackEnd, LeafKind::NotReleased, LeafKind::StoodStill, LeafKind::FrontEnd],
            is_light: true,
        },
        recipe: || Box::new(ModWsgi::daemon(1, 5)),
        begin: reload,
    },
];

/// Cured: a connection is given back before the thread is, and there are as many as threads.
fn pool(state: State) -> anyhow::Result<Scene> {
    let files = tempfile::tempdir()?;
    let database = files.path().join("app.db").display().to_string();
    let server = FastApi { event_loop: "asyncio", http: "h11" };
    let application = Application::new(server, "sessions").of(ENVIRONMENT);
    let application = application.with("DATABASE", &database).with("POOL_TIMEOUT", "2.5");
    let application = application.with("POOL_SIZE", state.choose("3", "8"));
    let application = application.with("WITHIN", state.choose("", "1"));
    let scene = Scene::new(&application)?;
    let clients =
        ["--clients=24", "--seconds=5", "--think-ms=40", "--requests=400", "--timeout=5", "--routes=/item"];
    Ok(scene.with_clients(&clients).keeping(files))
}

/// Cured: ten threads more than there are sockets.
fn websockets(state: State) -> anyhow::Result<Scene> {
    let server = Settings::gthread(Version::V27, 1, state.choose(SOCKETS, SOCKETS + 10));
    let application = Application::new(server.with(&["--graceful-timeout", "1"]), "websockets");
    let scene = Scene::new(&application.of(ENVIRONMENT))?;
    let clients = ["--clients=2", "--seconds=5", "--think-ms=100", "--routes=/page"];
    Ok(scene.with_clients(&clients).meanwhile(|server| {
        pause(700);
        let sockets: Vec<TcpStream> =
            (0..SOCKETS).map(|_| opened(server.address())).collect::<anyhow::Result<_>>()?;
        pause(3000);
        drop(sockets);
        Ok(())
    }))
}

/// A WebSocket.
fn opened(address: &Address) -> anyhow::Result<TcpStream> {
    let mut socket = TcpStream::connect(address.to_string())?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let head = "GET /socket/1 HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    socket.write_all(head.as_bytes())?;
    let mut answer = [0; 256];
    let bytes = socket.read(&mut answer).context("no answer")?;
    let answer = String::from_utf8_lossy(answer.get(..bytes).unwrap_or_default()).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 101"), "no WebSocket: {answer:?}");
    Ok(socket)
}

/// Cured: the thread begins in each worker.
fn fork(state: State) -> anyhow::Result<Scene> {
    let server = Settings::gthread(Version::V27, 2, 3).with(&["--preload", "--graceful-timeout", "1"]);
    let application = Application::new(server, "lock_at_fork");
    let scene = Scene::new(&application.with("AFTER_FORK", state.choose("", "1")))?;
    let counted = ["--clients=3", "--seconds=5", "--requests=9", "--timeout=2", "--routes=/counted"];
    let health = ["--clients=2", "--seconds=5", "--think-ms=200", "--timeout=2", "--routes=/health"];
    Ok(scene.with_clients(&counted).with_clients(&health))
}

/// Cured: the router waits longer than requests take.
fn router(state: State) -> anyhow::Result<Scene> {
    let server = match state {
        State::Ill => Uwsgi::new(3, 1).routed().with(&["--http-timeout", "1", "--socket-timeout", "30"]),
        State::Cured => Uwsgi::new(3, 1).routed().with(&["--http-timeout", "10", "--socket-timeout", "30"]),
    };
    let scene = Scene::new(&Application::new(server, "exports").with("EXPORT_SECONDS", "2.5"))?;
    let pages = ["--clients=1", "--seconds=6", "--think-ms=100", "--timeout=5", "--routes=/page"];
    let exports = ["--clients=2", "--seconds=5", "--think-ms=300", "--timeout=5", "--routes=/export"];
    Ok(scene.with_clients(&pages).with_clients(&exports))
}

/// Cured: there are two processes, one of which goes on.
fn reload(state: State) -> anyhow::Result<Scene> {
    let scene = Scene::new(&ModWsgi::daemon(state.choose(1, 2), 5))?;
    let pages = ["--clients=3", "--seconds=8", "--think-ms=100", "--timeout=8", "--routes=/fast"];
    let long = ["--clients=1", "--seconds=1", "--requests=1", "--timeout=9", "--routes=/sleep/8000"];
    Ok(scene.with_clients(&pages).with_clients(&long).meanwhile(|server| {
        pause(1500);
        // As a deployment does.
        let script = std::fs::File::options().write(true).open(server.file("application.wsgi"))?;
        Ok(script.set_modified(std::time::SystemTime::now())?)
    }))
}
