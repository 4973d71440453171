//! uWSGI: a master, workers and their threads; with or without a router of its own.
//!
//! In: processes, threads, how requests come in. Out: a recipe.

use std::process::Command;

use anyhow::Context as _;

use super::tls::{CERTIFICATE, KEY};
use super::{Clients, Line, Log, Place, Recipe};
use crate::trace::TracedRequest;

/// How requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// `--http-socket`: the workers speak HTTP.
    HttpSocket,
    /// `--https-socket`: the same with TLS, with the certificate of [`super::tls`].
    HttpsSocket,
    /// `--http`: a router process before the workers.
    Router,
    /// `--socket`: the workers speak the uwsgi protocol.
    Socket,
}

/// A uWSGI with a master.
#[derive(Clone, Copy, Debug)]
pub struct Uwsgi {
    /// Worker processes.
    pub processes: u32,
    /// Threads of each.
    pub threads: u32,
    /// How requests come in.
    pub front: Front,
    /// Further arguments.
    pub arguments: &'static [&'static str],
    /// Processes that are there from the beginning.
    pub at_first: u32,
}

impl Uwsgi {
    /// `--http-socket` with so many processes and threads.
    pub const fn new(processes: u32, threads: u32) -> Self {
        Self { processes, threads, front: Front::HttpSocket, arguments: &[], at_first: processes }
    }

    /// This server with further arguments.
    pub const fn with(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    /// This server, of whose processes these are there from the beginning.
    pub const fn beginning_with(mut self, processes: u32) -> Self {
        self.at_first = processes;
        self
    }

    /// This server, speaking the uwsgi protocol.
    pub const fn on_socket(mut self) -> Self {
        self.front = Front::Socket;
        self
    }

    /// This server with TLS in the workers.
    pub const fn encrypted(mut self) -> Self {
        self.front = Front::HttpsSocket;
        self
    }

    /// This server behind a router.
    pub const fn routed(mut self) -> Self {
        self.front = Front::Router;
        self
    }
}

/// `%(micros)`: from the accepted connection (the packet of a router, the head of HTTP) to the end of the
/// response.
const FORMAT: &str = "request %(pid)\t%(method)\t%(uri)\t%(status)\t%(micros)";

fn line(text: &str) -> anyhow::Result<Option<Line>> {
    let Some(text) = text.strip_prefix("request ") else { return Ok(None) };
    let fields: Vec<&str> = text.split('\t').collect();
    let [pid, method, uri, status, micros] = fields.as_slice() else { anyhow::bail!("not of our format") };
    Ok(Some(Line {
        pid: Some(pid.parse()?),
        method: (*method).to_owned(),
        path: uri.split('?').next().context("no path")?.to_owned(),
        status: status.parse()?,
        duration_ns: Some(micros.parse::<u64>()? * 1000),
        ..Line::default()
    }))
}

impl Recipe for Uwsgi {
    fn name(&self) -> &'static str {
        "uwsgi"
    }

    fn about(&self) -> String {
        let Self { processes, threads, front, arguments, .. } = self;
        format!("uWSGI, {processes} processes, {threads} threads, {front:?}, {arguments:?}")
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut command = Command::new(Place::servers_program("uwsgi"));
        let front = match self.front {
            Front::Router => "--http",
            Front::HttpSocket => "--http-socket",
            Front::HttpsSocket => "--https-socket",
            Front::Socket => "--socket",
        };
        let mut address = place.address.to_string();
        if self.front == Front::HttpsSocket {
            for file in [CERTIFICATE, KEY] {
                address = format!("{address},{}", place.file(file).display());
            }
        }
        command.args(["--master", "--die-on-term", "--need-app", front, &address]);
        command.args(["--processes", &self.processes.to_string()]);
        if self.threads > 1 {
            command.args(["--threads", &self.threads.to_string()]);
        }
        if self.front == Front::Socket {
            // nginx may run as another user.
            command.arg("--chmod-socket=666");
        }
        command.args(["--lazy-apps", "--module", "demo_app:app", "--log-format", FORMAT]);
        command.arg("--req-logger").arg(format!("file:{}", place.file("access.log").display()));
        command.args(self.arguments);
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        self.at_first as usize
    }

    /// Behind its router one request in twenty is known by the router's half alone: `docs/limits.md`.
    fn knows_its_work(&self) -> bool {
        self.front != Front::Router
    }

    fn shares_gil(&self) -> bool {
        self.threads > 1
    }

    fn slots(&self) -> Option<u64> {
        // Which of them run is uWSGI's choice.
        (!self.arguments.contains(&"--cheaper")).then_some(u64::from(self.processes * self.threads))
    }

    /// With TLS it closes the connection without a word where the application raises one (2.0.31).
    fn answers_exceptions(&self) -> bool {
        self.front != Front::HttpsSocket
    }

    fn log(&self) -> Log {
        Log { file: "access.log", line }
    }

    /// Behind a router the log begins with the worker's accept, and ends with what the worker wrote.
    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        if self.front != Front::Router {
            return request.service_ns;
        }
        let before = ["accept_queue", "front_end", "pool_wait"].map(|phase| request.phase_ns(phase));
        Some(request.total_ns.saturating_sub(before.iter().sum()))
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "1", kinds: "get=6,head,sized" }
    }
}
