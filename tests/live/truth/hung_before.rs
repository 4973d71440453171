//! Threads that hang in requests since before the trace: those that nobody serves, and who waits behind them.
//!
//! In: servers with `hanging.py`, whose back end never answers. Out: verdicts. The back end is the witness:
//! it has accepted one connection of each thread that hangs, and the clients have no answer.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::Version;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::{Place, Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// Slots of each server.
const SLOTS: usize = 3;

/// A server with an application that hangs, and its back end.
struct Hanging {
    name: &'static str,
    back_end: String,
}

impl Recipe for Hanging {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> String {
        format!("{} whose threads hang", self.name)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (slots, address) = (SLOTS.to_string(), place.address.to_string());
        let mut command = match self.name {
            "gunicorn" => {
                let mut command = Command::new(Version::V27.python());
                command.args(["-m", "gunicorn", "--worker-class", "gthread", "--threads", &slots]);
                command.args(["--graceful-timeout", "1", "--bind", &address, "hanging:app"]);
                command
            }
            "uwsgi" => {
                let mut command = Command::new(Place::servers_program("uwsgi"));
                command.args(["--master", "--need-app", "--die-on-term", "--worker-reload-mercy", "1"]);
                command.args(["--processes", &slots, "--http-socket", &address, "--module", "hanging:app"]);
                command
            }
            "uvicorn" => {
                let (host, port) = place.address.host_and_port();
                let mut command = Command::new(Place::servers_program("python"));
                command.args(["-m", "uvicorn", "--host", &host, "--port", &port, "hanging_asgi:app"]);
                command
            }
            _ => {
                let mut command = Command::new(Place::servers_program("waitress-serve"));
                command.args(["--threads", &slots, "--listen", &address, "hanging:app"]);
                command
            }
        };
        command.env("BACK_END", &self.back_end);
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        0
    }

    fn slots(&self) -> Option<u64> {
        Some(SLOTS as u64)
    }
}

pub(super) fn ask(address: &Address, path: &str) -> anyhow::Result<TcpStream> {
    let mut client = TcpStream::connect(address.to_string())?;
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    Ok(client)
}

/// A server of which so many slots hang, and what keeps them so.
pub(super) struct Hung {
    pub(super) server: Server,
    back_end: String,
    _kept: Vec<TcpStream>,
    listener: TcpListener,
}

impl Hung {
    /// The next connection to the back end.
    pub(super) fn accept(&self) -> anyhow::Result<TcpStream> {
        Ok(self.listener.accept()?.0)
    }

    pub(super) fn start(name: &'static str, hung: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let back_end = listener.local_addr()?.to_string();
        let server = Server::start(&Hanging { name, back_end: back_end.clone() })?;
        let mut kept = Vec::new();
        for _ in 0..hung {
            kept.push(ask(server.address(), "/asks")?);
            // The thread is at its call, or will be in a moment: it has nothing else to do.
            kept.push(listener.accept()?.0);
        }
        std::thread::sleep(Duration::from_millis(500));
        Ok(Self { server, back_end, _kept: kept, listener })
    }

    /// Whether the first sentence has the back end and the line.
    fn names_the_cause(&self, traced: &Traced) -> anyhow::Result<String> {
        let sentence = self.names_the_line(traced)?;
        ensure!(sentence.contains("since before the trace"), "{sentence}");
        Ok(sentence)
    }

    /// The same, whenever it began to hang.
    fn names_the_line(&self, traced: &Traced) -> anyhow::Result<String> {
        let sentence = traced.value("/verdict/sentence")?.as_str().unwrap_or_default().to_owned();
        let source = std::fs::read_to_string(Place::apps().join("hanging.py"))?;
        let line = source.lines().position(|line| line.ends_with("  # asks")).context("no such line")? + 1;
        eprintln!("{sentence}");
        for part in [&self.back_end, &format!("hanging.py:{line} asks")] {
            ensure!(sentence.contains(part), "no {part}: {sentence}");
        }
        Ok(sentence)
    }
}

/// Clients come, give up, and come again.
fn nobody_is_answered(hung: &Hung) -> anyhow::Result<()> {
    let load = ["--clients", "4", "--timeout", "1", "--seconds", "6", "--routes", "/"];
    let sent = Load::run(hung.server.address(), &load)?;
    ensure!(sent.answered() == 0, "{} were answered", sent.answered());
    Ok(())
}

/// All slots hang, and nobody comes any more.
fn all_hang(name: &'static str, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let hung = Hung::start(name, SLOTS)?;
    let trace = Trace::start_with(hung.server.pid(), options)?;
    std::thread::sleep(Duration::from_secs(2));
    let traced = trace.end()?;
    let sentence = hung.names_the_cause(&traced)?;
    ensure!(sentence.starts_with("Nobody is served: "), "{sentence}");
    let open = traced.number("/requests/open")?;
    ensure!(open == SLOTS as u64, "{open} are open");
    Ok(())
}

/// All slots hang, and clients come and go.
fn clients_give_up(name: &'static str, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let hung = Hung::start(name, SLOTS)?;
    let trace = Trace::start_with(hung.server.pid(), options)?;
    nobody_is_answered(&hung)?;
    let traced = trace.end()?;
    let sentence = hung.names_the_cause(&traced)?;
    ensure!(sentence.contains("Nobody is served: "), "{sentence}");
    Ok(())
}

/// One slot of three serves on, and is not enough.
fn others_serve_on(options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let hung = Hung::start("uwsgi", SLOTS - 1)?;
    let trace = Trace::start_with(hung.server.pid(), options)?;
    let load = ["--clients", "6", "--keep-alive", "1", "--seconds", "8", "--routes", "/sleeps"];
    let sent = Load::run(hung.server.address(), &load)?;
    let traced = trace.end()?;
    ensure!(sent.answered() > 20, "{} were answered", sent.answered());
    let answered = traced.requests.iter().filter(|request| !request.open);
    let pids: BTreeSet<u32> = answered.map(|request| request.pid).collect();
    ensure!(pids.len() == 1, "{pids:?} answered");
    hung.names_the_cause(&traced)?;
    Ok(())
}

/// Nothing hangs before the trace: all slots do so soon after, and clients give up behind them.
fn hang_meanwhile(name: &'static str, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let hung = Hung::start(name, 0)?;
    let trace = Trace::start_with(hung.server.pid(), options)?;
    // The server has answered some before that.
    let load = ["--clients", "3", "--requests", "30", "--routes", "/sleeps"];
    let before = Load::run(hung.server.address(), &load)?;
    ensure!(before.answered() == 30, "{} were answered", before.answered());
    let kept = (0..SLOTS).map(|_| ask(hung.server.address(), "/asks")).collect::<Result<Vec<_>, _>>()?;
    nobody_is_answered(&hung)?;
    let traced = trace.end()?;
    drop(kept);
    hung.names_the_line(&traced).map(drop)
}

const LIGHT: &[&str] = &["--light"];

#[test]
fn threads_of_a2wsgi_that_all_hang_are_named_in_light_mode() -> anyhow::Result<()> {
    hang_meanwhile("uvicorn", LIGHT)
}

#[test]
#[ignore = "make live: make test has it in light mode"]
fn threads_of_a2wsgi_that_all_hang_are_named() -> anyhow::Result<()> {
    hang_meanwhile("uvicorn", &[])?;
    all_hang("uvicorn", &[])?;
    all_hang("uvicorn", LIGHT)
}

#[test]
#[ignore = "make live: make test has it on uvicorn"]
fn threads_of_waitress_that_begin_to_hang_are_named() -> anyhow::Result<()> {
    hang_meanwhile("waitress", &[])?;
    hang_meanwhile("waitress", LIGHT)
}

#[test]
#[ignore = "make live: on a busy machine whose code a frame is may be found too late for its line"]
fn threads_of_gunicorn_that_all_hang_are_named_though_nobody_comes() -> anyhow::Result<()> {
    all_hang("gunicorn", &[])
}

#[test]
fn threads_of_gunicorn_that_all_hang_are_named_in_light_mode_too() -> anyhow::Result<()> {
    all_hang("gunicorn", LIGHT)
}

#[test]
#[ignore = "make live: make test has it on gunicorn"]
fn workers_of_uwsgi_that_all_hang_are_named_though_nobody_comes() -> anyhow::Result<()> {
    all_hang("uwsgi", &[])?;
    all_hang("uwsgi", LIGHT)
}

#[test]
#[ignore = "make live: make test has it on gunicorn"]
fn threads_of_waitress_that_all_hang_are_named_though_nobody_comes() -> anyhow::Result<()> {
    all_hang("waitress", &[])?;
    all_hang("waitress", LIGHT)
}

#[test]
#[ignore = "make live"]
fn clients_that_give_up_wait_for_threads_of_gunicorn_that_hang() -> anyhow::Result<()> {
    clients_give_up("gunicorn", &[])?;
    clients_give_up("gunicorn", LIGHT)
}

#[test]
#[ignore = "make live"]
fn clients_that_give_up_wait_for_threads_of_waitress_that_hang() -> anyhow::Result<()> {
    clients_give_up("waitress", &[])?;
    clients_give_up("waitress", LIGHT)
}

#[test]
#[ignore = "make live"]
fn requests_wait_for_the_two_of_three_workers_that_hang() -> anyhow::Result<()> {
    others_serve_on(&[])?;
    others_serve_on(LIGHT)
}
