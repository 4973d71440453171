//! `wsgi-trace serve` as a child process, and what it answers.
//!
//! In: arguments. Out: answers over HTTP, metrics read one by one.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::child::until;
use crate::program::{Outcome, Program};

/// Long enough for attaching on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    program: Program,
    address: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body.
    pub body: String,
}

/// Samples by name and labels, as they stand in the text: `wsgi_trace_requests_total{method="GET",…}`.
pub type Samples = BTreeMap<String, f64>;

impl Agent {
    /// Starts it on a free port; returns once it listens.
    ///
    /// # Errors
    ///
    /// Where it does not begin to listen.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_as(arguments, |_| {})
    }

    /// Starts it on a free port, its command prepared in some way: in another directory, for one.
    ///
    /// # Errors
    ///
    /// Where it does not.
    pub fn start_as(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut program = Program::start_as(&arguments, prepare)?;
        program.wait_for_stderr("serving http://127.0.0.1:")?;
        let said = program.said();
        let address = said.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.context("no address in what it said")?.to_owned();
        Ok(Self { program, address })
    }

    /// Starts it for the server on this port, and returns once it watches.
    ///
    /// # Errors
    ///
    /// Where it does not.
    pub fn watching(port: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let agent = Self::start(&[&["--port", port], arguments].concat())?;
        agent.wait_for_state("watching")?;
        Ok(agent)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// PID.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Asks for a path.
    ///
    /// # Errors
    ///
    /// Where no whole answer comes.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    /// Sends a request as it stands.
    ///
    /// # Errors
    ///
    /// Where no whole answer comes.
    pub fn ask(&self, request: &str) -> anyhow::Result<Answer> {
        let bytes = self.exchange(request)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").context("no whole answer")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The body of an answer that is no text.
    ///
    /// # Errors
    ///
    /// Where no whole answer comes, or its status is not 200.
    pub fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let host = &self.address;
        let mut bytes =
            self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))?;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no whole answer")?;
        let body = bytes.split_off(end.saturating_add(4));
        let head = String::from_utf8_lossy(&bytes);
        if head.split(' ').nth(1) != Some("200") {
            bail!("{path}: {head}{}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    fn exchange(&self, request: &str) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A JSON answer.
    ///
    /// # Errors
    ///
    /// Where it is none, or its status is not 200.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.get(path)?;
        if answer.status != 200 {
            bail!("{path}: {}: {}", answer.status, answer.body);
        }
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// All metrics.
    ///
    /// # Errors
    ///
    /// Where a line cannot be read.
    pub fn metrics(&self) -> anyhow::Result<Samples> {
        samples(&self.get("/metrics")?.body)
    }

    /// Waits until `/healthz` says this.
    ///
    /// # Errors
    ///
    /// Where it does not within half a minute.
    pub fn wait_for_state(&self, state: &str) -> anyhow::Result<()> {
        until(&format!("the agent to be {state}"), READY_LIMIT, || {
            Ok((self.json("/healthz")?.get("status").and_then(Value::as_str) == Some(state)).then_some(()))
        })
    }

    /// Waits until the metrics are as `done` wants them.
    ///
    /// # Errors
    ///
    /// Where they are not within half a minute.
    pub fn wait_for_metrics(&self, what: &str, done: impl Fn(&Samples) -> bool) -> anyhow::Result<Samples> {
        until(what, READY_LIMIT, || Ok(Some(self.metrics()?).filter(&done)))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.program.signal(signal);
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    ///
    /// Where it does not within half a minute.
    pub fn finish(self) -> anyhow::Result<Outcome> {
        self.program.finish(READY_LIMIT)
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    ///
    /// Where it does not end within ten seconds.
    pub fn end(self) -> anyhow::Result<Outcome> {
        self.program.signal(libc::SIGTERM);
        self.program.finish(Duration::from_secs(10))
    }
}

/// Reads the text format.
///
/// # Errors
///
/// Where a line is no sample, or stands there twice.
pub fn samples(text: &str) -> anyhow::Result<Samples> {
    let mut samples = Samples::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
        if samples.insert(name.to_owned(), value.parse()?).is_some() {
            bail!("twice: {name}");
        }
    }
    Ok(samples)
}

/// The sum of all samples of a name whose labels hold all of `labels`.
pub fn sum(samples: &Samples, name: &str, labels: &[&str]) -> f64 {
    let of_name = samples.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
    of_name
        .filter(|(sample, _)| labels.iter().all(|label| sample.contains(label)))
        .map(|(_, value)| value)
        .sum()
}
