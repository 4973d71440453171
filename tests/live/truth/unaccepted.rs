//! Connections that nobody has accepted by the window's end: they count as open requests, with their wait.
//!
//! In: a server whose only process is busy, and one whose worker still loads its application. Out: verdicts
//! against the clients' clocks.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::one_at_a_time::{Listening, OneAtATime};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::{Place, Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// Clients that wait.
const WAITING: usize = 3;
/// How far the profiler's clock reading may lie from the call that it stands for.
const SLACK_NS: u64 = 50_000;

/// One that waits.
struct Waiter {
    stream: TcpStream,
    /// Around the sending of its request, `CLOCK_MONOTONIC`.
    sent_ns: (u64, u64),
}

fn come(address: &Address, path: &str) -> anyhow::Result<Waiter> {
    let mut stream = TcpStream::connect(address.to_string())?;
    let before_ns = monotonic_ns();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok(Waiter { stream, sent_ns: (before_ns, monotonic_ns()) })
}

fn waiters(address: &Address) -> anyhow::Result<Vec<Waiter>> {
    (0..WAITING).map(|number| come(address, &format!("/waiter/{number}"))).collect()
}

/// The phase of who waits to be accepted: light mode has one for that and for who waits to be read.
fn phase(options: &[&str]) -> &'static str {
    if options == LIGHT { "pool_wait" } else { "accept_queue" }
}

/// All who wait are told, each as long as its client says; `others`: requests that are open besides.
fn all_wait(
    (traced, phase): (&Traced, &str),
    waiters: &[Waiter],
    (others, end): (usize, (u64, u64)),
) -> anyhow::Result<()> {
    let open = traced.requests.iter().filter(|request| request.open);
    let mut told: Vec<(u64, u64)> = open
        .filter(|request| request.phase_ns(phase) == request.total_ns)
        .map(|request| (request.start_ns, request.total_ns))
        .collect();
    told.sort_unstable();
    ensure!(told.len() == waiters.len(), "{} wait, not {}", told.len(), waiters.len());
    for (waiter, (start_ns, total_ns)) in waiters.iter().zip(&told) {
        let (before_ns, after_ns) = waiter.sent_ns;
        let starts = before_ns.saturating_sub(SLACK_NS)..=after_ns + SLACK_NS;
        ensure!(starts.contains(start_ns), "began {start_ns}, sent {before_ns} to {after_ns}");
        let ends = end.0.saturating_sub(SLACK_NS)..=end.1 + SLACK_NS;
        ensure!(ends.contains(&(start_ns + total_ns)), "{total_ns} from {start_ns}, the end is {end:?}");
    }
    let count = traced.number("/requests/open")?;
    ensure!(count == (waiters.len() + others) as u64, "{count} are open");
    Ok(())
}

/// What the waits come to: kind, way, and how long.
fn leaves(traced: &Traced) -> anyhow::Result<Vec<(String, Vec<String>, u64)>> {
    let leaves = traced.value("/chains/leaves")?.as_array().context("no leaves")?;
    let told = leaves.iter().map(|leaf| {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let hops = leaf.get("hops").and_then(Value::as_array).cloned().unwrap_or_default();
        let hops = hops.iter().map(|hop| text(Some(hop))).collect();
        (text(leaf.get("kind")), hops, leaf.get("held_ns").and_then(Value::as_u64).unwrap_or(0))
    });
    Ok(told.collect())
}

/// This stands behind the waits to be served, and nothing else that is named, but that it computes or has no
/// CPU, or for the moment until it has read the request that it serves. Light mode may not know it.
fn stands_behind((traced, options): (&Traced, &[&str]), kind: &str) -> anyhow::Result<()> {
    let leaves = leaves(traced)?;
    let first = phase(options);
    let of_queue = || leaves.iter().filter(|(_, hops, _)| hops.first().is_some_and(|hop| hop == first));
    let held = |kind: &str| -> u64 { of_queue().filter(|(of, ..)| of == kind).map(|(.., ns)| ns).sum() };
    let may_be = [kind, "computing", "cpu_taken", "not_followed"];
    let others = of_queue().filter(|(of, ..)| !may_be.contains(&of.as_str()));
    ensure!(others.map(|(.., ns)| ns).sum::<u64>() <= SLACK_NS, "{leaves:?}");
    let is_known = held(kind) > held("not_followed");
    ensure!(of_queue().count() > 0 && (is_known || options == LIGHT), "{leaves:?}");
    Ok(())
}

/// The only process sleeps for one request as the window ends.
fn who_waits_behind_a_request_counts(options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = OneAtATime::start(&Listening::TCP)?;
    let trace = Trace::start_with(server.pid(), options)?;
    let busy = come(&server.address(), "/sleep/20")?;
    server.accepted(1)?;
    let waiters = waiters(&server.address())?;
    std::thread::sleep(Duration::from_millis(300));
    let before_ns = monotonic_ns();
    let traced = trace.end()?;
    all_wait((&traced, phase(options)), &waiters, (1, (before_ns, monotonic_ns())))?;
    stands_behind((&traced, options), "sleep")?;
    drop(busy);
    Ok(())
}

/// A server whose worker has not loaded its application (`apps/importing.py`) until there is a file.
struct Importing<R>(R);

impl<R: Recipe> Recipe for Importing<R> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn about(&self) -> String {
        format!("{}, which still imports", self.0.about())
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.0.commands(place)?;
        let first = commands.first_mut().context("no command")?;
        let mut command = Command::new(first.get_program());
        for argument in first.get_args() {
            command.arg(if argument == "demo_app:app" { "importing:app".as_ref() } else { argument });
        }
        command.env("IMPORT_UNTIL", place.file(UNTIL));
        *first = command;
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.0)
    }

    fn slots(&self) -> Option<u64> {
        self.0.slots()
    }
}

/// The file for which the import waits.
const UNTIL: &str = "import-goes-on";

/// The worker sleeps in its import as the window ends, and answers all once that goes on.
fn who_waits_for_a_worker_that_imports_counts(recipe: impl Recipe, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Server::start(&Importing(recipe))?;
    let trace = Trace::start_with(server.pid(), options)?;
    let waiters = waiters(server.address())?;
    std::thread::sleep(Duration::from_millis(300));
    let before_ns = monotonic_ns();
    let traced = trace.end()?;
    all_wait((&traced, phase(options)), &waiters, (0, (before_ns, monotonic_ns())))?;
    stands_behind((&traced, options), "sleep")?;
    std::fs::write(server.file(UNTIL), "")?;
    for mut waiter in waiters {
        let mut answer = String::new();
        waiter.stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    Ok(())
}

const LIGHT: &[&str] = &["--light"];

#[test]
fn who_is_not_accepted_by_the_end_waits_behind_the_request_that_is_served() -> anyhow::Result<()> {
    who_waits_behind_a_request_counts(&[])
}

#[test]
fn who_is_not_accepted_by_the_end_waits_behind_the_request_that_is_served_in_light_mode() -> anyhow::Result<()>
{
    who_waits_behind_a_request_counts(LIGHT)
}

#[test]
fn who_is_not_accepted_by_the_end_waits_for_the_import_of_gunicorn_s_worker() -> anyhow::Result<()> {
    who_waits_for_a_worker_that_imports_counts(Settings::sync(Version::V27, 1), &[])?;
    who_waits_for_a_worker_that_imports_counts(Settings::sync(Version::V27, 1), LIGHT)
}

#[test]
#[ignore = "make live: make test has it on gunicorn"]
fn who_is_not_accepted_by_the_end_waits_for_the_import_of_uwsgi_s_worker() -> anyhow::Result<()> {
    who_waits_for_a_worker_that_imports_counts(Uwsgi::new(1, 1).with(&["--lazy-apps"]), &[])
}
