//! What waits for the interpreter: a thread that spins, a garbage collection.
//!
//! In: nothing. Out: [`REPORTED`].

use std::io::Write as _;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use anyhow::ensure;
use profiler_core::model::chain::LeafKind;

use super::application::Application;
use super::{Expected, Reported, Scene, State, Whole, pause};
use crate::gunicorn::{Settings, Version};
use crate::server::waitress::Waitress;

/// The environment with a Waitress before 3.0.1.
const OLD_WAITRESS: &str = "venv-waitress300";

/// All of them.
pub(super) const REPORTED: &[Reported] = &[
    Reported {
        name: "main-thread-spins",
        about: "a client resets at the wrong moment; from then on Waitress's main thread spins, and has the interpreter lock",
        source: "waitress #418, #435",
        expected: Expected {
            kinds: &[LeafKind::Spinning],
            by: &[],
            words: &[],
            // Most of what it costs is a CPU.
            share: 0.3,
            of: Whole::Waiting,
            never: &[LeafKind::BackEnd, LeafKind::Client, LeafKind::Sleep, LeafKind::StoodStill],
            // It sees no calls that return at once.
            is_light: false,
        },
        recipe: || Box::new(Waitress { threads: 4 }),
        begin: spins,
    },
    Reported {
        name: "collections-of-a-large-heap",
        about: "full garbage collections take 100 ms and the interpreter lock, whichever request runs",
        source: "sglang #9241, solara #1183",
        expected: Expected {
            kinds: &[LeafKind::Computing],
            by: &["gil_wait"],
            words: &[],
            share: 0.2,
            of: Whole::Requests,
            never: &[LeafKind::BackEnd, LeafKind::Client, LeafKind::NotReleased, LeafKind::StoodStill],
            is_light: true,
        },
        recipe: || Box::new(Settings::gthread(Version::V27, 1, 4)),
        begin: heap,
    },
];

/// Cured: the release that has the fix.
fn spins(state: State) -> anyhow::Result<Scene> {
    let application = Application::new(Waitress { threads: 4 }, "works_a_little").with("LOOPS", "40000");
    let application = match state {
        State::Ill => application.of(OLD_WAITRESS),
        State::Cured => application,
    };
    let scene = Scene::new(&application)?;
    let clients = ["--clients=2", "--seconds=4", "--think-ms=20", "--routes=/work"];
    Ok(scene.with_clients(&clients).before(|server| {
        // A busy moment of the server, in which a client sends what is no request and resets.
        server.signal(libc::SIGSTOP);
        let reset = reset_at(&server.address().to_string());
        pause(200);
        server.signal(libc::SIGCONT);
        pause(300);
        reset
    }))
}

fn reset_at(address: &str) -> anyhow::Result<()> {
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: nonsense\r\n\r\n")?;
    pause(100);
    let lingers = libc::linger { l_onoff: 1, l_linger: 0 };
    let (value, length) = (std::ptr::from_ref(&lingers).cast(), size_of::<libc::linger>());
    // SAFETY: `value` points to as many bytes as are said, and lives until the call returns.
    let outcome = unsafe {
        libc::setsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            value,
            libc::socklen_t::try_from(length)?,
        )
    };
    // A close that does not linger is a reset.
    ensure!(outcome == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}

/// Cured: what is there after the start is not looked at any more.
fn heap(state: State) -> anyhow::Result<Scene> {
    let application = Application::new(Settings::gthread(Version::V27, 1, 4), "large_heap");
    let scene = Scene::new(&application.with("FROZEN", state.choose("", "1")))?;
    let fast = ["--clients=3", "--seconds=5", "--think-ms=60", "--routes=/fast"];
    let fill = ["--clients=1", "--seconds=5", "--think-ms=80", "--routes=/fill"];
    Ok(scene.with_clients(&fast).with_clients(&fill))
}
