//! What waits for a file, a pipe or a lock on a file.
//!
//! In: nothing. Out: [`REPORTED`].

use std::path::Path;

use profiler_core::model::chain::LeafKind;

use super::application::Application;
use super::collector::Collector;
use super::{Expected, Reported, Scene, State, Whole, pause};
use crate::gunicorn::{Settings, Version};
use crate::named::Mark;
use crate::server::waitress::Waitress;
use crate::stalled_disk::{Frozen, StalledDisk};

/// How long a disk or a collector stalls, in ms.
const STALL_MS: u64 = 1200;

/// All of them.
pub(super) const REPORTED: &[Reported] = &[
    Reported {
        name: "heartbeat-on-a-slow-disk",
        about: "gunicorn's workers touch a file before each request, and its disk hangs twice",
        source: "gunicorn #1305, #1863",
        expected: Expected {
            kinds: &[LeafKind::File],
            by: &["accept_queue"],
            words: &[("call", &["utimensat"])],
            share: 0.8,
            of: Whole::Waiting,
            never: &[LeafKind::Client, LeafKind::BackEnd, LeafKind::PageFault, LeafKind::NotFollowed],
            is_light: true,
        },
        recipe: || Box::new(Settings::sync(Version::V27, 2)),
        begin: heartbeat,
    },
    Reported {
        name: "log-into-a-full-pipe",
        about: "who collects the log stops reading; one thread hangs in write, the others behind its lock",
        source: "docker/compose #6018, moby #22502",
        expected: Expected {
            kinds: &[LeafKind::Pipe],
            by: &[],
            words: &[("call", &["write"])],
            share: 0.8,
            of: Whole::Waiting,
            never: &[LeafKind::Client, LeafKind::BackEnd, LeafKind::File, LeafKind::NotReleased],
            is_light: true,
        },
        recipe: || Box::new(Waitress { threads: 4 }),
        begin: log_pipe,
    },
    Reported {
        name: "writers-of-one-database",
        about: "four workers write to one SQLite database, whose busy handler sleeps and looks again",
        source: "Django ticket 29280, django_sqlite_benchmark #2",
        expected: Expected {
            kinds: &[LeafKind::FileLock],
            by: &[],
            words: &[("path", &["app.db"])],
            share: 0.6,
            of: Whole::Waiting,
            never: &[LeafKind::Sleep, LeafKind::BackEnd, LeafKind::File, LeafKind::NotReleased],
            is_light: true,
        },
        recipe: || Box::new(Settings::sync(Version::V27, 4)),
        begin: database,
    },
];

/// On the disk that `target` is on.
fn directory() -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("reported-").tempdir_in(crate::root().join("target"))?)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Cured: the file is in memory.
fn heartbeat(state: State) -> anyhow::Result<Scene> {
    let files = directory()?;
    let disk = StalledDisk::new(files.path(), &[])?;
    let mount = disk.above();
    let place = state.choose(text(&mount), "/dev/shm".to_owned());
    let server = Settings::sync(Version::V27, 2).with(&["--worker-tmp-dir", &place]);
    let scene = Scene::new(&Application::new(server, "hello"))?;
    let scene = scene.with_clients(&["--clients=3", "--seconds=4.5", "--think-ms=60", "--routes=/hello"]);
    let scene = scene.meanwhile(move |_| {
        for _ in 0..2 {
            pause(700);
            let _frozen = Frozen::new(&mount)?;
            pause(STALL_MS);
        }
        Ok(())
    });
    // Dropped in this order.
    Ok(scene.keeping(disk).keeping(files))
}

/// Cured: a thread of its own writes the log.
fn log_pipe(state: State) -> anyhow::Result<Scene> {
    let files = directory()?;
    let path = files.path().join("log.fifo");
    let collector = Collector::start(&path)?;
    let orders = std::sync::Arc::clone(&collector.orders);
    let application = Application::new(Waitress { threads: 4 }, "logs");
    let application = application.with("LOG_PIPE", &text(&path)).with("QUEUED", state.choose("", "1"));
    let scene = Scene::new(&application)?.naming(Mark::new("path", &["log.fifo"]));
    let scene = scene.naming(Mark::process(std::process::id()));
    let scene = scene.with_clients(&["--clients=4", "--seconds=4.5", "--think-ms=30", "--routes=/page"]);
    let scene = scene.meanwhile(move |_| {
        for _ in 0..2 {
            pause(700);
            orders.stall(true);
            pause(STALL_MS);
            orders.stall(false);
        }
        Ok(())
    });
    Ok(scene.keeping(collector).keeping(files))
}

/// Cured: one worker writes.
fn database(state: State) -> anyhow::Result<Scene> {
    let files = directory()?;
    let server = Settings::sync(Version::V27, state.choose(4, 1));
    let application = Application::new(server, "writes_database");
    let application = application.with("DATABASE", &text(&files.path().join("app.db")));
    let scene = Scene::new(&application)?;
    let scene = scene.with_clients(&["--clients=4", "--seconds=4", "--think-ms=10", "--routes=/write"]);
    Ok(scene.keeping(files))
}
