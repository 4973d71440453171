//! Any bytes of a client to the HTTP side of `serve`: it answers or closes, never with what the client sent,
//! and lives on.
//!
//! In: what the client sends before it closes its half. Out: nothing.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use wsgi_trace::agent::board::Board;
use wsgi_trace::agent::http::{Answers, Door, Server};
use wsgi_trace::agent::listen::{Access, Socket};

/// Longer than the server gives a client that says nothing more.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server under test, for as long as this process lives.
struct Subject {
    _server: Server,
    place: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

fn start() -> Option<Subject> {
    let directory = tempfile::tempdir().ok()?;
    let place = directory.path().join("http.sock");
    let socket = Socket::Unix(UnixListener::bind(&place).ok()?);
    // Nobody looks at a window: whoever asks for one is told so at once.
    let (questions, _) = mpsc::channel(1);
    let answers = Answers::new(Arc::new(Board::default()), questions, Duration::from_secs(30));
    let server = Server::start(socket, Door::new(Access::Local, answers)).ok()?;
    Some(Subject { _server: server, place, _directory: directory })
}

/// Takes one input.
pub fn body(bytes: &[u8]) {
    static SUBJECT: OnceLock<Option<Subject>> = OnceLock::new();
    let Some(subject) = SUBJECT.get_or_init(start) else { return };
    let first = ask(subject, bytes, Says::NoMore);
    for answer in first.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"HTTP/1.1 ")) {
        assert!(answer.get(9).is_some_and(|digit| (b'1'..=b'5').contains(digit)), "{answer:?}");
    }
    // Whatever that was, the next client is served.
    let next =
        ask(subject, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", Says::Nothing);
    assert!(next.starts_with(b"HTTP/1.1 "), "no answer to the next client: {next:?}");
}

/// What a client does when it has sent what it has to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// The client closes its half: whoever reads that before it has answered may take it for a client that
    /// has gone.
    NoMore,
    /// The client waits for its answer.
    Nothing,
}

fn ask(subject: &Subject, bytes: &[u8], then: Says) -> Vec<u8> {
    let mut said = Vec::new();
    let Ok(mut client) = UnixStream::connect(&subject.place) else { return said };
    if client.set_read_timeout(Some(PATIENCE)).is_err() {
        return said;
    }
    // A server that has closed already takes no more.
    let _ = client.write_all(bytes);
    if then == Says::NoMore {
        let _ = client.shutdown(Shutdown::Write);
    }
    if let Err(error) = client.read_to_end(&mut said) {
        assert!(error.kind() != std::io::ErrorKind::WouldBlock, "a client was left waiting");
    }
    said
}
