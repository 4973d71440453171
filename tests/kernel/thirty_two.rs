//! A 32-bit program among those that are traced: its calls have numbers of another table.
//!
//! In: `THIRTY_TWO` (the program of `thirty_two.c`; none: there is none here). Out: a verdict: nothing that
//! it calls is taken for a call of the 64-bit table.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use profiler_core::decode::decode;
use profiler_core::event::{Body, Change, Event};
use wsgi_trace::attach::{Hooks, Settings, attach};
use wsgi_trace_test_support::child::{Child, until};

const LIMIT: Duration = Duration::from_secs(60);
/// As in `thirty_two.c`.
const PORT: u16 = 8032;
const CONNECTIONS: usize = 20;

/// Whether there is one.
pub(crate) fn is_there() -> bool {
    std::env::var_os("THIRTY_TWO").is_some()
}

/// The payload traces itself, and so the program that it starts: that is born and ends, and in between shows
/// no call.
pub(crate) fn is_not_misread(hooks: Hooks) -> anyhow::Result<()> {
    let settings = Settings { hooks, ..Settings::default() };
    let (mut source, _) = attach(&settings, &mut || vec![std::process::id()])?;
    let program = std::env::var_os("THIRTY_TWO").context("THIRTY_TWO names no program")?;
    let mut child = Child::start(&mut Command::new(program), "the 32-bit program")?;
    for _ in 0..CONNECTIONS {
        ask()?;
    }
    let status = child.wait(LIMIT)?;
    ensure!(status.success(), "the 32-bit program: {status}");
    let tgid = child.pid();
    let mut events: Vec<Event> = Vec::new();
    let mut unreadable = None;
    until("the end of the 32-bit program", LIMIT, || {
        source.drain(|bytes| match decode(bytes) {
            Ok(event) => events.push(event),
            Err(error) => unreadable = Some(error.to_string()),
        });
        Ok(time_of(&events, tgid, |change| matches!(change, Change::Exit { .. })).map(drop))
    })?;
    ensure!(unreadable.is_none(), "{unreadable:?}");
    let begun = time_of(&events, tgid, |change| matches!(change, Change::Exec))
        .context("the program's beginning was not seen")?;
    // Before that it was a copy of this payload.
    let misread: Vec<_> =
        events.iter().filter(|event| event.time_ns > begun && is_call(event, tgid)).collect();
    ensure!(misread.is_empty(), "{} records of a 32-bit program: {:?}", misread.len(), misread.first());
    Ok(())
}

/// One request, as soon as it listens.
fn ask() -> anyhow::Result<()> {
    let mut stream =
        until("the 32-bit program's port", LIMIT, || Ok(TcpStream::connect(("127.0.0.1", PORT)).ok()))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: kernel\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("hello\n"), "{answer:?}");
    Ok(())
}

fn time_of(events: &[Event], tgid: u32, wanted: impl Fn(Change) -> bool) -> Option<u64> {
    let is_it = |event: &&Event| matches!(&event.body, Body::Lifecycle(life) if life.tgid == tgid && wanted(life.change));
    events.iter().find(is_it).map(|event| event.time_ns)
}

/// Whether the record tells of a call of this process.
fn is_call(event: &Event, tgid: u32) -> bool {
    match &event.body {
        Body::Slice(slice) => slice.tgid == tgid,
        Body::Head(head) => head.tgid == tgid,
        Body::Connection(connection) => connection.tgid == tgid,
        _ => false,
    }
}
