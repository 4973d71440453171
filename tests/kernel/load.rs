//! Clients of a real server, in threads of the payload.
//!
//! In: how many, and what they ask. Out: how many answers came, each as it must be.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, ensure};

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Clients at once.
    pub(crate) clients: usize,
    /// Requests of each, one after the other.
    pub(crate) requests: usize,
    /// Requests on one connection.
    pub(crate) kept: usize,
    /// Paths, in turn; a number that is unique follows each.
    pub(crate) paths: &'static [&'static str],
}

impl Load {
    /// How many requests that is.
    pub(crate) const fn total(&self) -> usize {
        self.clients * self.requests
    }

    /// Asks, and returns when the last answer has come.
    pub(crate) fn run(&self, port: u16) -> anyhow::Result<()> {
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..self.clients).map(|client| scope.spawn(move || self.client(port, client))).collect();
            for client in clients {
                client.join().map_err(|_panic| anyhow::anyhow!("a client panicked"))??;
            }
            Ok(())
        })
    }

    fn client(&self, port: u16, client: usize) -> anyhow::Result<()> {
        let mut connection = None;
        for number in 0..self.requests {
            let mut stream = match connection.take() {
                Some(stream) => stream,
                None => BufReader::new(TcpStream::connect(("127.0.0.1", port))?),
            };
            let is_last = (number + 1) % self.kept == 0;
            let path = self.paths.get(number % self.paths.len()).context("no path")?;
            let unique = client * self.requests + number;
            let mode = if is_last { "close" } else { "keep-alive" };
            write!(
                stream.get_mut(),
                "GET {path}/{unique} HTTP/1.1\r\nHost: kernel\r\nConnection: {mode}\r\n\r\n"
            )?;
            answer(&mut stream).with_context(|| format!("{path}/{unique}"))?;
            connection = (!is_last).then_some(stream);
        }
        Ok(())
    }
}

/// Reads one answer of `app.py`.
fn answer(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "the answer begins with {line:?}");
    while line != "\r\n" {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "the answer ends within its head");
    }
    let mut body = [0; 6];
    stream.read_exact(&mut body)?;
    ensure!(&body == b"hello\n", "a body of another request");
    Ok(())
}
