//! Where is it now? Threads that hang since before anybody looked, each in another way.
//!
//! In: a gunicorn whose threads hold a lock, wait for it, and ask a back end that never answers. Out: what
//! `now` says of each, against the lines of the application's source and the clients' clock.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::Version;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::{Place, Recipe, Server};

/// Threads of the worker: three hang, and each of the others serves a request for two seconds.
const THREADS: u64 = 16;
const LIMIT: Duration = Duration::from_secs(60);

/// gunicorn with an application that hangs; its back end.
struct Hanging(String);

impl Recipe for Hanging {
    fn name(&self) -> &'static str {
        "gunicorn"
    }

    fn about(&self) -> String {
        "gunicorn whose threads hang".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut command = Command::new(Version::V27.python());
        command.args(["-m", "gunicorn", "--worker-class", "gthread", "--threads", &THREADS.to_string()]);
        command.args(["--graceful-timeout", "1", "--bind", &place.address.to_string(), "hanging:app"]);
        command.env("BACK_END", &self.0);
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        0
    }

    fn slots(&self) -> Option<u64> {
        Some(THREADS)
    }
}

/// The line of the application's source that bears this comment.
fn line_of(route: &str) -> anyhow::Result<u64> {
    let source = std::fs::read_to_string(Place::apps().join("hanging.py"))?;
    let found = source.lines().position(|line| line.ends_with(&format!("  # {route}")));
    Ok(found.context("no such line")? as u64 + 1)
}

fn ask(address: &Address, route: &str) -> anyhow::Result<TcpStream> {
    let mut client = TcpStream::connect(address.to_string())?;
    write!(client, "GET /{route} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    Ok(client)
}

fn finish(now: Program) -> anyhow::Result<Value> {
    let outcome = now.finish(LIMIT)?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    Ok(serde_json::from_str(&outcome.stdout)?)
}

fn start(pid: u32) -> anyhow::Result<Program> {
    Program::start(&["now", "--pid", &pid.to_string(), "--format", "json"])
}

/// Threads at the line of a route.
fn at<'a>(moment: &'a Value, route: &str) -> anyhow::Result<Vec<&'a Value>> {
    let line = line_of(route)?;
    let threads = moment["threads"].as_array().context("no threads")?;
    let is_there = |thread: &&Value| {
        let own = &thread["line"];
        own["line"] == line
            && own["function"] == route
            && own["file"].as_str().is_some_and(|file| file.ends_with("hanging.py"))
    };
    Ok(threads.iter().filter(is_there).collect())
}

#[test]
fn threads_that_hung_before_have_their_lines_and_how_long_they_have_slept() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let back_end = TcpListener::bind("127.0.0.1:0")?;
    let peer = back_end.local_addr()?.to_string();
    let server = Server::start(&Hanging(peer.clone()))?;
    let asked = Instant::now();
    let mut hanging = vec![ask(server.address(), "holds")?];
    // It has the lock when it tells.
    back_end.accept()?.0.write_all(b"1")?;
    hanging.extend([ask(server.address(), "waits")?, ask(server.address(), "asks")?]);
    let (_asking, _) = back_end.accept()?;

    let moment = until("all three to hang", LIMIT, || {
        let moment = finish(start(server.pid())?)?;
        let is_whole =
            ["holds", "waits", "asks"].iter().all(|route| at(&moment, route).is_ok_and(|at| at.len() == 1));
        Ok(is_whole.then_some(moment))
    })?;
    let most_ns = u64::try_from(asked.elapsed().as_nanos())?;
    for (route, state, call) in [
        ("holds", "sleep", "clock_nanosleep"),
        ("waits", "lock_wait", "futex"),
        ("asks", "backend_wait", "recvfrom"),
    ] {
        let all = at(&moment, route)?;
        let thread = all.first().context(route)?;
        ensure!(thread["works_for"] == "request_before" && thread["asleep_since_before"] == true, "{thread}");
        ensure!(thread["system_call"] == call && thread["state"] == state, "{thread}");
        // Not every kernel says when a thread ran last; `now` has watched for two seconds.
        if let Some(slept_ns) = thread["asleep_at_least_ns"].as_u64() {
            ensure!((1_900_000_000..=most_ns).contains(&slept_ns), "{slept_ns} of {most_ns}: {thread}");
        }
    }
    let asks = at(&moment, "asks")?;
    ensure!(
        asks.iter().all(|thread| thread["what"].as_str().is_some_and(|what| what.contains(&peer))),
        "{asks:?}"
    );

    // Requests that begin meanwhile have their route and their age. When the watch begins is not known: one
    // comes again and again, so some are under way as it ends.
    let route = "waits_for_a_while";
    let (seen, asked) = until("a request with its head", LIMIT, || {
        let asked = Instant::now();
        let mut now = start(server.pid())?;
        let mut clients = Vec::new();
        while !now.has_ended()? {
            clients.push(ask(server.address(), route)?);
            std::thread::sleep(Duration::from_millis(300));
        }
        let moment = finish(now)?;
        let seen = at(&moment, route)?.into_iter().find(|thread| thread["works_for"] == "request").cloned();
        Ok(seen.map(|seen| (seen, asked)))
    })?;
    let most_ns = u64::try_from(asked.elapsed().as_nanos())?;
    ensure!(seen["request"]["method"] == "GET" && seen["request"]["path"] == format!("/{route}"), "{seen}");
    ensure!(seen["request"]["age_ns"].as_u64().is_some_and(|age_ns| age_ns < most_ns), "{seen}");
    Ok(())
}
