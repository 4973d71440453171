//! mod_wsgi in Apache, as `mod_wsgi-express` sets it up: daemon mode or embedded, any of Apache's processing
//! modules.
//!
//! In: processes, threads, further options. Out: a recipe. Apache's own access log is the witness.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Context as _;

use super::{Clients, Line, Log, Place, Recipe, line};
use crate::environment;
use crate::trace::TracedRequest;

/// What runs Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Processes of their own, so many, with so many threads each.
    Daemon(u32, u32),
    /// Apache's children, sized for so many processes and threads: their product, however Apache divides it.
    Embedded(u32, u32),
}

/// `mod_wsgi-express start-server`.
#[derive(Clone, Copy, Debug)]
pub struct ModWsgi {
    /// What runs Python.
    pub mode: Mode,
    /// Further options.
    pub options: &'static [&'static str],
    /// Requests of one connection.
    pub keep_alive: &'static str,
    /// Module of `tests/apps` whose `app` it serves.
    pub application: &'static str,
    /// Apache has a second listener, over IPv6.
    pub two_listeners: bool,
}

/// Answers requests, and its server's own log is the witness.
const PLAIN: &str = "demo_app";

impl ModWsgi {
    /// Daemon mode with so many processes and threads.
    pub const fn daemon(processes: u32, threads: u32) -> Self {
        Self::new(Mode::Daemon(processes, threads))
    }

    const fn new(mode: Mode) -> Self {
        Self { mode, options: &[], keep_alive: "5", application: PLAIN, two_listeners: false }
    }

    /// Embedded mode.
    pub const fn embedded(processes: u32, threads: u32) -> Self {
        Self::new(Mode::Embedded(processes, threads))
    }

    /// This server with further options.
    pub const fn with(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    /// This server with a second listener: Apache's children take turns then.
    pub const fn listening_twice(mut self) -> Self {
        self.two_listeners = true;
        self
    }

    /// This server, with the application's clock as its witness.
    pub const fn witnessed(mut self) -> Self {
        self.application = "witnessed";
        self
    }

    /// This server, with the application whose routes are composed.
    pub const fn composed(mut self) -> Self {
        self.application = "composed";
        self
    }

    /// This server, with an application that writes down mod_wsgi's own metrics where it is asked for
    /// `/metrics`, besides its clock as witness.
    pub const fn metered(mut self) -> Self {
        self.application = "metered";
        self
    }
}

/// Applications, and what they are made of.
const FILES: [&str; 8] = [
    "demo_app.py",
    "witness.py",
    "witnessed.py",
    "metered.py",
    "composed.py",
    "composed_leaves.py",
    "composed_meetings.py",
    "notes.py",
];

/// `%D`: from the request line to the end of the response, in µs. `%U` is the path without the query.
pub(super) const FORMAT: &str = "%{pid}P\\t%m\\t%U\\t%>s\\t%D";

pub(super) fn access_line(text: &str) -> anyhow::Result<Option<Line>> {
    let fields: Vec<&str> = text.split('\t').collect();
    let [_, method, path, status, micros] = fields.as_slice() else { anyhow::bail!("not of our format") };
    Ok(Some(Line {
        // That of Apache's child, which runs no Python in daemon mode.
        pid: None,
        method: (*method).to_owned(),
        path: (*path).to_owned(),
        status: status.parse().context("no status")?,
        duration_ns: Some(micros.parse::<u64>()? * 1000),
        ..Line::default()
    }))
}

impl Recipe for ModWsgi {
    fn name(&self) -> &'static str {
        "mod_wsgi"
    }

    fn about(&self) -> String {
        format!("mod_wsgi, {:?}, {:?}", self.mode, self.options)
    }

    /// Apache's semaphores are the system's.
    fn must_be_asked_to_end(&self) -> bool {
        true
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        // Apache's processes run as nobody, who may write here and nowhere else.
        std::fs::set_permissions(place.directory(), PermissionsExt::from_mode(0o777))?;
        for name in FILES {
            std::fs::copy(Place::apps().join(name), place.file(name))?;
        }
        let root = place.directory().display();
        let script = format!(
            "import sys\nsys.path.insert(0, {:?})\nfrom {} import app as application\n",
            root.to_string(),
            self.application
        );
        std::fs::write(place.file("application.wsgi"), script)?;
        let (host, port) = place.address.host_and_port();
        // By the interpreter: the script names the one of the checkout that installed it.
        let installed = |name| environment::program("venv-apache", name);
        let mut command = Command::new(installed("python"));
        command.arg(installed("mod_wsgi-express")).arg("start-server").arg(place.file("application.wsgi"));
        command.args(["--host", &host, "--port", &port, "--user", "nobody", "--group", "nogroup"]);
        command
            .arg("--server-root")
            .arg(place.file("apache"))
            .arg("--working-directory")
            .arg(place.directory());
        command.arg("--log-directory").arg(place.directory());
        command.args(["--access-log", "--access-log-name", "access.log", "--access-log-format", FORMAT]);
        // What is written to standard error comes to where the harness looks for last words.
        command.args(["--error-log-name", "error.log", "--chunked-request"]);
        if self.two_listeners {
            std::fs::write(place.file("listen.conf"), format!("Listen [::1]:{port}\n"))?;
            command.arg("--include-file").arg(place.file("listen.conf"));
        }
        match self.mode {
            Mode::Daemon(..) => {}
            Mode::Embedded(..) => {
                command.arg("--embedded-mode");
            }
        }
        let (Mode::Daemon(processes, threads) | Mode::Embedded(processes, threads)) = self.mode;
        command.args(["--processes", &processes.to_string(), "--threads", &threads.to_string()]);
        command.args(self.options).env("METRICS_LOG", place.file("metrics.jsonl"));
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        match self.mode {
            Mode::Daemon(processes, _) => processes as usize,
            Mode::Embedded(..) => 1,
        }
    }

    fn slots(&self) -> Option<u64> {
        let (Mode::Daemon(processes, threads) | Mode::Embedded(processes, threads)) = self.mode;
        Some(u64::from(processes * threads))
    }

    fn log(&self) -> Log {
        if self.application != PLAIN {
            return line::APPLICATION;
        }
        Log { file: "access.log", line: access_line }
    }

    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        request.service_ns
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: self.keep_alive, kinds: "get=6,head,sized,chunked,expect" }
    }
}
