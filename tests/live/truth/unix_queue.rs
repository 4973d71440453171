//! Clients that find the accept queue of a UNIX socket full, against what each client's own call of `connect`
//! said.
//!
//! In: a server that serves one at a time and does not serve now. Out: verdicts. The clients are not traced.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::{note_skip, shared};
use wsgi_trace_test_support::one_at_a_time::{Listening, OneAtATime};
use wsgi_trace_test_support::raw::until_inside;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::{Trace, Traced};
use wsgi_trace_test_support::unix_client::connect_at_once;

/// What the server asks for: its queue takes one more.
const BACKLOG: u32 = 2;
/// Clients that do not wait.
const CLIENTS: u64 = 20;
/// `connect`.
const CONNECT: u32 = 42;

/// Whether this kernel lets the function be hooked that tells of such clients.
fn counts_clients(traced: &Traced) -> anyhow::Result<bool> {
    let programs = traced.value("/tool/programs")?.as_array().context("no programs")?;
    Ok(programs.iter().any(|program| program == "unix_find_other"))
}

#[test]
fn clients_that_find_a_unix_queue_full_are_counted_as_their_own_calls_say() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = OneAtATime::start(&Listening { family: "unix", backlog: BACKLOG, ..Listening::TCP })?;
    let path = server.path();
    let trace = Trace::start(server.pid())?;
    let mut busy = UnixStream::connect(&path)?;
    busy.write_all(b"GET /until HTTP/1.1\r\n\r\n")?;
    server.accepted(1)?;
    let clients = (0..CLIENTS).map(|_| connect_at_once(&path)).collect::<anyhow::Result<Vec<_>>>()?;
    let waiting = clients.iter().flatten().count() as u64;
    ensure!(waiting == u64::from(BACKLOG) + 1, "{waiting} clients found room");
    // One that waits inside its call finds it full once; then there is room for it.
    let patient = std::thread::spawn({
        let path = path.clone();
        move || UnixStream::connect(path).map(drop)
    });
    until_inside(&[std::process::id()], CONNECT)?;
    drop(clients);
    server.release()?;
    patient.join().map_err(|panicked| anyhow::anyhow!("the client panicked: {panicked:?}"))??;
    busy.read_to_end(&mut Vec::new())?;
    server.accepted(usize::try_from(waiting)? + 2)?;
    let traced = trace.end()?;
    if !counts_clients(&traced)? {
        note_skip("functions of this kernel cannot be hooked");
        return Ok(());
    }
    let turned_away = CLIENTS - waiting;
    let queue = traced.value("/listeners/0/queue")?;
    ensure!(queue["refused"] == turned_away + 1, "{turned_away} turned away, one waited: {queue}");
    ensure!(queue["limit"] == BACKLOG && queue["deepest"] == BACKLOG + 1, "{queue}");
    let causes = traced.value("/drops/causes")?;
    let overflow = causes
        .as_array()
        .and_then(|causes| causes.iter().find(|cause| cause["cause"] == "accept_queue_overflow"));
    ensure!(overflow.is_some_and(|cause| cause["count"] == turned_away + 1), "{causes}");
    Ok(())
}
