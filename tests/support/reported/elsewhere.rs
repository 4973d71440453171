//! What waits for another process: a back end, whoever stops the server.
//!
//! In: nothing. Out: [`REPORTED`].

use profiler_core::model::chain::LeafKind;

use super::application::{Application, Script};
use super::{Expected, Reported, Scene, State, Whole, pause};
use crate::backend::Backend;
use crate::child::until;
use crate::gunicorn::{Settings, Version};
use crate::load::Load;
use crate::named::Mark;
use crate::server::Server;
use crate::server::uwsgi::Uwsgi;

/// All of them.
pub(super) const REPORTED: &[Reported] = &[
    Reported {
        name: "back-end-under-the-gil",
        about: "a driver waits for its back end and keeps the interpreter lock",
        source: "mssql-python #540",
        expected: Expected {
            kinds: &[LeafKind::BackEnd],
            by: &["gil_wait", "pool_wait", "accept_queue"],
            words: &[("call", &["recvfrom"])],
            share: 0.4,
            of: Whole::Waiting,
            never: &[LeafKind::NotReleased, LeafKind::NotFollowed, LeafKind::Client],
            is_light: true,
        },
        recipe: || Box::new(Settings::gthread(Version::V27, 1, 8)),
        begin: under_the_gil,
    },
    Reported {
        name: "one-socket-in-two-workers",
        about: "two workers read from one connection, which was there before they were forked",
        source: "sqlalchemy #5955, nautobot #127",
        expected: Expected {
            kinds: &[LeafKind::BackEnd],
            by: &[],
            words: &[("shared", &["is_shared_connection: true"])],
            share: 0.8,
            of: Whole::Waiting,
            never: &[LeafKind::NotFollowed, LeafKind::Client],
            is_light: true,
        },
        recipe: || Box::new(Uwsgi::new(2, 1)),
        begin: one_socket,
    },
    Reported {
        name: "worker-stopped-from-outside",
        about: "a profiler stops the worker for 400 ms at a time",
        source: "py-spy #390, #872",
        expected: Expected {
            kinds: &[LeafKind::StoodStill],
            by: &[],
            words: &[("how", &["stopped"])],
            share: 0.5,
            of: Whole::Waiting,
            never: &[LeafKind::PageFault, LeafKind::NotReleased, LeafKind::BackEnd, LeafKind::NotFollowed],
            is_light: true,
        },
        recipe: || Box::new(Settings::gthread(Version::V27, 1, 4)),
        begin: stopped,
    },
    Reported {
        name: "small-writes-and-late-acknowledgements",
        about: "head and body are two small writes; the second waits for the client's kernel, and the server is innocent",
        source: "cpython #108736",
        expected: Expected {
            kinds: &[],
            by: &[],
            words: &[],
            share: 0.0,
            of: Whole::Requests,
            never: &[LeafKind::Client, LeafKind::BackEnd, LeafKind::Sleep, LeafKind::NotReleased],
            is_light: true,
        },
        recipe: || Box::new(script(State::Ill)),
        begin: two_writes,
    },
    Reported {
        name: "hung-before-the-trace",
        about: "all threads ask a service that never answers, since before anybody watched",
        source: "gunicorn #1693, #1655, hypothesis/via #188",
        expected: Expected {
            kinds: &[LeafKind::BackEnd],
            // Requests that hang, and requests that wait for them.
            by: &[],
            words: &[("call", &["recvfrom"])],
            share: 0.8,
            of: Whole::Waiting,
            never: &[LeafKind::NotFollowed, LeafKind::NotReleased, LeafKind::StoodStill],
            is_light: true,
        },
        recipe: || Box::new(Settings::gthread(Version::V27, 1, 4)),
        begin: hung,
    },
];

fn port(back_end: &Backend) -> Mark {
    Mark::new("port", &[back_end.address.rsplit(':').next().unwrap_or_default()])
}

/// Cured: the driver gives the lock up.
fn under_the_gil(state: State) -> anyhow::Result<Scene> {
    let back_end = Backend::start()?;
    let application = Application::new(Settings::gthread(Version::V27, 1, 8), "keeps_gil");
    let application =
        application.with("LEAF_ADDRESS", &back_end.address).with("RELEASES", state.choose("", "1"));
    let scene = Scene::new(&application)?.naming(port(&back_end)).naming(Mark::process(back_end.pid()));
    let scene = scene.with_clients(&["--clients=3", "--seconds=4", "--think-ms=50", "--routes=/fast"]);
    let scene = scene.with_clients(&["--clients=1", "--seconds=4", "--think-ms=400", "--routes=/report"]);
    Ok(scene.keeping(back_end))
}

/// Cured: each worker loads the application, and connects, itself.
fn one_socket(state: State) -> anyhow::Result<Scene> {
    let back_end = Backend::start()?;
    let application = Application::new(Uwsgi::new(2, 1), "one_socket");
    let application = application.with("LEAF_ADDRESS", &back_end.address);
    let application = match state {
        State::Ill => application.without(&["--lazy-apps"]).loaded(1),
        State::Cured => application,
    };
    let scene = Scene::new(&application)?.naming(port(&back_end));
    let scene = scene.with_clients(&["--clients=4", "--seconds=4", "--think-ms=20", "--routes=/ask"]);
    Ok(scene.keeping(back_end))
}

/// Cured: who looks does not stop it.
fn stopped(state: State) -> anyhow::Result<Scene> {
    let application = Application::new(Settings::gthread(Version::V27, 1, 4), "works_a_little");
    let scene = Scene::new(&application.with("SLEEP_MS", "5"))?.naming(Mark::process(std::process::id()));
    let scene = scene.with_clients(&["--clients=3", "--seconds=4.5", "--think-ms=30", "--routes=/work"]);
    Ok(scene.meanwhile(move |server| {
        for _ in 0..4 {
            pause(600);
            match state {
                State::Ill => stop(server, 400)?,
                State::Cured => look(server, 400),
            }
        }
        Ok(())
    }))
}

/// Stops all workers, and lets them go on whatever happens.
fn stop(server: &Server, milliseconds: u64) -> anyhow::Result<()> {
    struct GoesOn(libc::pid_t);
    impl Drop for GoesOn {
        fn drop(&mut self) {
            // SAFETY: `kill` takes no pointers; the master is ours, and reaps its worker only when asked.
            unsafe { libc::kill(self.0, libc::SIGCONT) };
        }
    }
    let mut stopped = Vec::new();
    for pid in server.worker_pids() {
        let pid = libc::pid_t::try_from(pid)?;
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        stopped.push(GoesOn(pid));
    }
    pause(milliseconds);
    Ok(())
}

/// Looks at them again and again, as a profiler does that stops nobody.
fn look(server: &Server, milliseconds: u64) {
    for _ in 0..milliseconds / 10 {
        for pid in server.worker_pids() {
            // What it says is not the point.
            let _ = std::fs::read(format!("/proc/{pid}/stat"));
        }
        pause(10);
    }
}

fn script(state: State) -> Script {
    let variables = state.choose(Vec::new(), vec![("NODELAY", "1")]);
    Script { file: "two_writes.py", variables }
}

/// Cured: small segments are sent at once.
fn two_writes(state: State) -> anyhow::Result<Scene> {
    let scene = Scene::new(&script(state))?;
    let clients = ["--clients=2", "--seconds=3", "--requests=120", "--keep-alive=1000", "--routes=/page"];
    Ok(scene.with_clients(&clients))
}

/// Cured: calls of that service have a timeout.
fn hung(state: State) -> anyhow::Result<Scene> {
    let back_end = Backend::start()?;
    let server = Settings::gthread(Version::V27, 1, 4).with(&["--timeout", "6000"]);
    let application = Application::new(server, "pays").with("LEAF_ADDRESS", &back_end.address);
    let scene = Scene::new(&application.with("TIMEOUT_SECONDS", state.choose("", "0.4")))?;
    let scene = scene.naming(port(&back_end)).naming(Mark::process(back_end.pid()));
    let scene = scene.with_clients(&[
        "--clients=3",
        "--seconds=4",
        "--think-ms=200",
        "--timeout=2",
        "--routes=/page",
    ]);
    let scene = scene.before(|server| {
        let options = ["--clients=4", "--seconds=1", "--requests=4", "--timeout=1", "--routes=/pay"];
        let hangs = Load::start(server.address(), &options)?;
        // Its clients have left, and whoever has no timeout hangs on.
        let mut hangs = Some(hangs);
        until("the first clients' end", std::time::Duration::from_secs(10), || {
            let ended = hangs.as_mut().map_or(Ok(None), Load::ended)?;
            Ok(ended)
        })?;
        pause(500);
        Ok(())
    });
    Ok(scene.keeping(back_end))
}
