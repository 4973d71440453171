//! Servers that a program starts itself: `python app.py`, which calls `waitress.serve` and the like.
//!
//! In: one program for each server, and one that only imports them and listens. Out: what `list` and a report
//! say of it, against the package in whose code its main thread stands, as its own interpreter says.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::environment;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::{Place, Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

/// Threads of each pool.
const THREADS: u64 = 3;
/// How long a program may take to say what it is.
const LIMIT: Duration = Duration::from_secs(30);

/// A program that starts this server.
struct Script {
    which: &'static str,
    environment: &'static str,
    /// What its pool's threads are set by, where it has one.
    keyword: Option<&'static str>,
}

impl Recipe for Script {
    fn name(&self) -> &'static str {
        if matches!(self.which, "none" | "http") { "unknown" } else { self.which }
    }

    fn about(&self) -> String {
        format!("{} in a script", self.which)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(environment::program(self.environment, "python"));
        command.arg(Place::apps().join("serve_in_script.py"));
        command.args([self.which, &host, &port, &THREADS.to_string()]).arg(place.file("told"));
        Ok(vec![command])
    }

    /// It loads no application that says so.
    fn loads(&self) -> usize {
        0
    }

    fn slots(&self) -> Option<u64> {
        self.keyword.map(|_| THREADS)
    }
}

/// The server's row of `wsgi-trace list`, if it has one.
fn row_of(pid: u32) -> anyhow::Result<Option<Value>> {
    let outcome = Program::run(&["list", "--format", "json"], LIMIT)?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    let rows: Vec<Value> = serde_json::from_str(&outcome.stdout)?;
    Ok(rows.into_iter().find(|row| row.get("pid").is_some_and(|own| *own == pid)))
}

fn is_known(script: &Script) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(script)?;
    let told =
        until("what the interpreter says", LIMIT, || Ok(std::fs::read_to_string(server.file("told")).ok()))?;
    let (package, version) = told.split_once(' ').context("package and version")?;
    ensure!(package == script.which, "the program runs {package}");

    // A row is there as soon as the threads were met asleep.
    let row = until("its row", LIMIT, || row_of(server.pid()))?;
    let said = |key: &str| row.get(key).and_then(Value::as_str);
    let version = Some(version).filter(|version| *version != "none");
    ensure!((said("server"), said("version")) == (Some(package), version), "{row}");
    ensure!(row.get("slots").and_then(Value::as_u64) == script.slots(), "{row}");

    let trace = Trace::start(server.pid())?;
    // Far more than the pool takes at once, for longer than a judgement needs.
    Load::run(server.address(), &["--clients=8", "--requests=120", "--routes=/sleep", "--keep-alive=1"])?;
    let traced = trace.end()?;
    ensure!(*traced.value("/target/server/name")? == package, "{}", traced.value("/target/server")?);
    let Some(keyword) = script.keyword else { return Ok(()) };
    let text = traced.value("/findings")?.to_string();
    ensure!(text.contains(&format!("Raise {keyword} (seen: {THREADS})")), "{text}");
    ensure!(text.contains("\"scope\":\"program\"") && !text.contains("--threads"), "{text}");
    Ok(())
}

#[test]
fn waitress_in_a_script_is_known_with_its_threads_and_its_keyword() -> anyhow::Result<()> {
    let keyword = Some("threads= of waitress.serve");
    is_known(&Script { which: "waitress", environment: "venv-servers", keyword })
}

#[test]
#[ignore = "make live-all"]
fn cheroot_in_a_script_is_known_with_its_threads_and_its_keyword() -> anyhow::Result<()> {
    let keyword = Some("numthreads= of cheroot.wsgi.Server");
    is_known(&Script { which: "cheroot", environment: "venv-servers", keyword })
}

#[test]
#[ignore = "make live-all"]
fn cherrypy_in_a_script_is_known_with_its_threads_and_its_setting() -> anyhow::Result<()> {
    is_known(&Script { which: "cherrypy", environment: "venv-servers", keyword: Some("server.thread_pool") })
}

#[test]
#[ignore = "make live-all"]
fn uvicorn_in_a_script_is_known() -> anyhow::Result<()> {
    is_known(&Script { which: "uvicorn", environment: "venv-servers", keyword: None })
}

#[test]
#[ignore = "make live-all"]
fn the_server_that_flask_runs_is_known() -> anyhow::Result<()> {
    is_known(&Script { which: "werkzeug", environment: "venv-stacks", keyword: None })
}

#[test]
#[ignore = "make live-all"]
fn the_server_that_django_runs_is_known() -> anyhow::Result<()> {
    is_known(&Script { which: "django", environment: "venv-stacks", keyword: None })
}

#[test]
#[ignore = "make live-all"]
fn wsgiref_in_a_script_is_known_by_the_class_of_its_server() -> anyhow::Result<()> {
    is_known(&Script { which: "wsgiref", environment: "venv-servers", keyword: None })
}

#[test]
fn a_script_that_imports_servers_and_runs_none_stays_unknown() -> anyhow::Result<()> {
    stays_unknown("none")
}

#[test]
#[ignore = "make live-all"]
fn a_server_of_the_standard_library_that_is_not_wsgiref_stays_unknown() -> anyhow::Result<()> {
    stays_unknown("http")
}

fn stays_unknown(which: &'static str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&Script { which, environment: "venv-servers", keyword: None })?;
    let told =
        until("what the interpreter says", LIMIT, || Ok(std::fs::read_to_string(server.file("told")).ok()))?;
    ensure!(told == "none none", "{told}");
    ensure!(row_of(server.pid())?.is_none(), "{:?}", row_of(server.pid())?);
    let traced = Trace::start(server.pid())?.end()?;
    ensure!(*traced.value("/target/server/name")? == "unknown", "{}", traced.value("/target/server")?);
    Ok(())
}
