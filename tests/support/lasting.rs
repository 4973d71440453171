//! Clients of connections that last (`apps/lasting.py`), and pages in between.
//!
//! In: a server's address. Out: what they saw by their own clocks; those that stay open, until dropped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wsgi_trace::source::live::clock::monotonic_ns;

use crate::address::Address;
use crate::child::until;

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
/// The head of a request for a WebSocket, behind its first line.
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// A message of one letter, masked with zeros, and what comes back (RFC 6455).
const MESSAGE: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'a'];
const ANSWER: [u8; 3] = [0x81, 0x01, b'a'];

/// One that lasts.
#[derive(Debug)]
pub struct Open {
    stream: TcpStream,
    /// Before it was asked for, `CLOCK_MONOTONIC`.
    pub asked_ns: u64,
    /// The head of its answer was there.
    pub begun_ns: u64,
}

/// What clients did.
#[derive(Debug)]
pub struct Visit {
    /// The WebSocket that stays.
    pub socket: Open,
    /// The stream that stays.
    pub events: Open,
    /// Requests of all pages.
    pub pages: u64,
}

/// Two WebSockets and two streams begin, one of each ends; pages are asked for while they are there.
///
/// # Errors
///
/// Where one of them is not answered as it should be.
pub fn visit(address: &Address) -> anyhow::Result<Visit> {
    let socket = |id: u32| {
        let mut socket = open(address, &format!("/socket/{id}"), UPGRADE, "HTTP/1.1 101")?;
        for _ in 0..3 {
            socket.stream.write_all(&MESSAGE)?;
            let mut answer = [0; ANSWER.len()];
            socket.stream.read_exact(&mut answer)?;
            ensure!(answer == ANSWER, "no message: {answer:?}");
        }
        anyhow::Ok(socket)
    };
    let events = |id: u32| {
        let mut events =
            open(address, &format!("/events/{id}"), "Accept: text/event-stream\r\n", "HTTP/1.1 200")?;
        let mut text = Vec::new();
        while text.windows(6).filter(|bytes| bytes == b"data: ").count() < 3 {
            let mut some = [0; 256];
            let bytes = events.stream.read(&mut some)?;
            ensure!(bytes > 0, "the stream has ended");
            text.extend_from_slice(some.get(..bytes).unwrap_or_default());
        }
        anyhow::Ok(events)
    };
    let (stays, leaves) = ((socket(1)?, events(2)?), (socket(3)?, events(4)?));
    let mut pages = 0;
    for _ in 0..10 {
        page(address, "/page")?;
        pages += 1;
    }
    drop(leaves);
    until("the server to see who has left", LIMIT, || {
        pages += 1;
        Ok((page(address, "/open")? == "1 1\n").then_some(()))
    })?;
    Ok(Visit { socket: stays.0, events: stays.1, pages })
}

/// Asks for one, and reads the head of its answer.
fn open(address: &Address, path: &str, lines: &str, status: &str) -> anyhow::Result<Open> {
    let asked_ns = monotonic_ns();
    let mut stream = TcpStream::connect(address.to_string())?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n").as_bytes())?;
    // Byte by byte: what follows the head is another's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).context("no answer")?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head);
    ensure!(head.starts_with(status), "{path}: {head:?}");
    Ok(Open { stream, asked_ns, begun_ns: monotonic_ns() })
}

/// Asks for a page; its body.
fn page(address: &Address, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address.to_string())?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:?}");
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
