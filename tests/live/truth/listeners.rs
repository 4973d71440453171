//! Listeners and connections that change while the run goes on: closed, opened again, copied, passed on by a
//! reload.
//!
//! In: a server that does so when a client asks, real servers that reload. Out: verdicts against the clients'
//! own counts.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::raw::RawClient;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::listeners::Listeners;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waiters::Waiters;
use wsgi_trace_test_support::server::{Listen, Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// What the server answers.
const ANSWER_BYTES: u64 = 59;

/// One request, whose answer and end the client sees.
fn ask(server: &Server, path: &str) -> anyhow::Result<()> {
    let mut client = RawClient::connect(server.address())?;
    client.get(path)?;
    ensure!(client.status()? == Some(200), "no answer to {path}");
    client.read_to_end().map(drop)
}

/// Waits until the server asks for its next connection: a client sees the end of its own while the server's
/// close goes on.
fn until_it_accepts(server: &Server) -> anyhow::Result<()> {
    until("the server to accept again", Duration::from_secs(20), || {
        let call = std::fs::read_to_string(format!("/proc/{}/syscall", server.pid()))?;
        let number = call.split(' ').next().and_then(|number| number.parse::<libc::c_long>().ok());
        Ok((number == Some(libc::SYS_accept4)).then_some(()))
    })
}

/// Asks `count` times, each time with a path of its own.
fn ask_often(server: &Server, name: &str, count: usize) -> anyhow::Result<()> {
    (0..count).try_for_each(|number| ask(server, &format!("/{name}/{number}")))
}

fn listeners(traced: &Traced) -> anyhow::Result<Vec<Value>> {
    Ok(traced.value("/listeners")?.as_array().context("no listeners")?.clone())
}

pub(super) fn number(of: &Value, pointer: &str) -> u64 {
    of.pointer(pointer).and_then(Value::as_u64).unwrap_or(u64::MAX)
}

/// No request is missing, each has its status, and nothing was dropped or lost.
fn nothing_is_missing(traced: &Traced, requests: usize) -> anyhow::Result<()> {
    ensure!(traced.value("/losses/is_complete")?.as_bool() == Some(true), "{}", traced.value("/losses")?);
    let answered = traced.requests.iter().filter(|request| request.status == Some(200)).count();
    ensure!(
        (traced.requests.len(), answered) == (requests, requests),
        "{} requests, {answered} with their status: {:#?} {:#} {:#}",
        traced.requests.len(),
        traced.requests,
        traced.value("/processes")?,
        traced.value("/losses")?
    );
    let dropped = traced.value("/drops/causes")?.as_array().map_or(0, Vec::len);
    ensure!(dropped == 0, "{}", traced.value("/drops")?);
    Ok(())
}

#[test]
fn listener_that_is_opened_again_or_copied_keeps_its_own_counts() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&Listeners { shared: false })?;
    let trace = Trace::start(server.pid())?;
    ask_often(&server, "first", 3)?;
    ask(&server, "/reopen")?;
    ask_often(&server, "second", 5)?;
    // The last answer by this number; then by others of the same listener.
    ask(&server, "/copy")?;
    ask_often(&server, "copied", 2)?;
    ask(&server, "/dup2")?;
    ask_often(&server, "onto", 4)?;
    until_it_accepts(&server)?;
    let traced = trace.end()?;
    nothing_is_missing(&traced, 17)?;
    let found = listeners(&traced)?;
    let told =
        |of: &Value| (of.get("is_closed").cloned(), number(of, "/accepted"), number(of, "/wakes/arrivals"));
    let mut told: Vec<_> = found.iter().map(told).collect();
    told.sort_by_key(|(_, accepted, _)| *accepted);
    let expected = [(Some(Value::Bool(true)), 4, 4), (Some(Value::Bool(false)), 13, 13)];
    ensure!(told == expected, "{found:#?}");
    Ok(())
}

#[test]
fn descriptor_of_a_connection_that_is_copied_or_overwritten_is_followed() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&Listeners { shared: false })?;
    let trace = Trace::start(server.pid())?;
    for _ in 0..3 {
        ask(&server, "/over")?;
        ask(&server, "/fast")?;
    }
    until_it_accepts(&server)?;
    let traced = trace.end()?;
    nothing_is_missing(&traced, 6)?;
    ensure!(
        traced.number("/drops/served")? == 6 && traced.number("/drops/open")? == 0,
        "{}",
        traced.value("/drops")?
    );
    Ok(())
}

#[test]
fn answer_by_a_copy_of_the_connection_is_the_request_s() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&Listeners { shared: false })?;
    let trace = Trace::start(server.pid())?;
    for _ in 0..3 {
        ask(&server, "/answer-by-copy")?;
    }
    until_it_accepts(&server)?;
    let traced = trace.end()?;
    let told: Vec<_> = traced.requests.iter().map(|request| (request.path(), request.status)).collect();
    // What goes through a copy is counted and not read: the status is not known.
    ensure!(told == [("/answer-by-copy", None); 3], "{told:?}");
    ensure!(traced.requests.iter().all(|request| request.bytes_out == ANSWER_BYTES), "{:?}", traced.requests);
    ensure!(
        traced.number("/drops/served")? == 3 && traced.number("/drops/dropped")? == 0,
        "{}",
        traced.value("/drops")?
    );
    Ok(())
}

#[test]
fn listener_that_a_process_outside_the_target_holds_too_is_named_with_it() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&Listeners { shared: true })?;
    let trace = Trace::start(server.pid())?;
    ask_often(&server, "own", 2)?;
    ask(&server, "/share")?;
    ask(&server, "/theirs")?;
    ask(&server, "/own/again")?;
    until_it_accepts(&server)?;
    let traced = trace.end()?;
    nothing_is_missing(&traced, 4)?;
    let found = listeners(&traced)?;
    let listener = found.first().context("no listener")?;
    ensure!(number(listener, "/accepted") == 4 && number(listener, "/wakes/arrivals") == 5, "{listener:#}");
    let foreign = listener.get("foreign_holders").and_then(Value::as_array).context("no holders")?;
    ensure!(
        foreign.len() == 1 && number(listener, "/foreign_holders/0/pid") != u64::from(server.pid()),
        "{foreign:?}"
    );
    let said = traced.value("/target/blind_spots")?.to_string();
    ensure!(said.contains("not traced"), "{said}");
    Ok(())
}

/// Requests before, while and after `reload`, each by a connection of its own: all are reported, at one
/// listener. Returns the report.
pub(super) fn reloads(
    recipe: &dyn Recipe,
    reload: impl FnOnce(&Server) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Traced>> {
    require_bpf!(Ok(None));
    let _turn = shared()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    ask_often(&server, "fast/1", 20)?;
    reload(&server)?;
    ask_often(&server, "fast/2", 20)?;
    let traced = trace.end()?;
    nothing_is_missing(&traced, 40)?;
    let found = listeners(&traced)?;
    ensure!(found.len() == 1, "{found:#?}");
    let listener = found.first().context("no listener")?;
    ensure!(number(listener, "/accepted") == 40 && number(listener, "/wakes/arrivals") == 40, "{listener:#}");
    ensure!(listener.get("is_closed") == Some(&Value::Bool(false)), "{listener:#}");
    Ok(Some(traced))
}

/// Waits until `count` more workers have loaded the application, and none of these lives.
pub(super) fn until_replaced(server: &Server, before: &[u32], loads: usize) -> anyhow::Result<()> {
    until("new workers", Duration::from_secs(30), || {
        let loaded = std::fs::read_to_string(server.file("ready"))?.lines().count();
        let lives = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
        Ok((loaded >= loads && !before.iter().any(lives)).then_some(()))
    })
}

#[test]
#[ignore = "make live: three seconds"]
fn workers_that_gunicorn_replaces_at_a_hangup_are_followed_at_the_same_listener() -> anyhow::Result<()> {
    reloads(&Settings::sync(Version::V27, 2), |server| {
        let before = server.worker_pids();
        server.signal(libc::SIGHUP);
        until_replaced(server, &before, 4)
    })
    .map(drop)
}

#[test]
#[ignore = "make live: three seconds"]
fn uwsgi_that_executes_itself_again_is_followed_at_the_same_listener() -> anyhow::Result<()> {
    // Before it executes itself it closes every number that a descriptor could have: some ten thousand calls,
    // else.
    reloads(&Uwsgi::new(2, 1).with(&["--max-fd=256"]), |server| {
        let before = server.worker_pids();
        server.signal(libc::SIGHUP);
        until_replaced(server, &before, 4)
    })
    .map(drop)
}

#[test]
#[ignore = "make live: five seconds"]
fn workers_that_are_forked_while_the_programs_attach_are_all_followed() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&Settings::sync(Version::V27, 2))?;
    // The master forks a worker at each signal: one after the other, before, while and after the programs
    // attach.
    let trace = std::thread::scope(|scope| {
        let forks = scope.spawn(|| {
            (3..=8).try_for_each(|count| {
                server.signal(libc::SIGTTIN);
                until(&format!("{count} workers"), Duration::from_secs(30), || {
                    let loaded = std::fs::read_to_string(server.file("ready"))?.lines().count();
                    Ok((loaded >= count).then_some(()))
                })
            })
        });
        let trace = Trace::start(server.pid())?;
        forks.join().map_err(|panicked| anyhow::anyhow!("the thread panicked: {panicked:?}"))??;
        anyhow::Ok(trace)
    })?;
    ask_often(&server, "fast", 30)?;
    let traced = trace.end()?;
    nothing_is_missing(&traced, 30)?;
    let found = listeners(&traced)?;
    let listener = found.first().context("no listener")?;
    ensure!(
        found.len() == 1 && number(listener, "/accepted") == 30 && number(listener, "/wakes/arrivals") == 30
    );
    let workers = server.worker_pids().len() as u64;
    ensure!(
        workers == 8 && number(listener, "/waiters/0/processes") == workers,
        "{workers} workers: {listener:#}"
    );
    Ok(())
}

/// How many of `each` connections one client gets an answer on, one after the other as fast as it can.
fn client(server: &Server, each: usize) -> anyhow::Result<u64> {
    let mut answered = 0;
    for number in 0..each {
        let mut client = RawClient::connect(server.address())?;
        client.get(&format!("/{number}"))?;
        answered += u64::from(client.status()? == Some(200));
    }
    Ok(answered)
}

#[test]
#[ignore = "make live: some seconds of as many connections as the machine can make"]
fn storm_of_connections_is_counted_to_the_last_whatever_is_lost_of_it() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    const CLIENTS: usize = 4;
    const EACH: usize = 6_000;
    let server = Server::start(&Waiters { mode: "accept", workers: 2, listen: Listen::Ipv4 })?;
    let trace = Trace::start(server.pid())?;
    let start = Instant::now();
    let answered = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(&server, EACH))).collect();
        let ends = clients.into_iter().map(|client| match client.join() {
            Ok(end) => end,
            Err(panicked) => Err(anyhow::anyhow!("a client panicked: {panicked:?}")),
        });
        ends.sum::<anyhow::Result<u64>>()
    })?;
    let rate = (CLIENTS * EACH) as f64 / start.elapsed().as_secs_f64();
    let memory = std::fs::read_to_string(format!("/proc/{}/status", trace.pid()))?;
    let traced = trace.end()?;
    let connections = (CLIENTS * EACH) as u64;
    ensure!(answered == connections, "{answered} answers to {connections} connections");
    let found = listeners(&traced)?;
    let listener = found.first().context("no listener")?;
    ensure!(number(listener, "/wakes/arrivals") == connections, "{listener:#}");
    // Told of, or refused by a full ring and counted as such: one by one.
    let losses = traced.value("/losses")?;
    let of = |list: &str, name: &str| {
        let list = losses.pointer(list).and_then(Value::as_array);
        let entry =
            list.and_then(|list| list.iter().find(|entry| entry.get("name").is_some_and(|is| is == name)));
        entry.map_or(0, |entry| number(entry, "/count"))
    };
    let told = of("/conservation/emitted_by_kind", "connection");
    let lost = of("/kernel_lost", "ring_full_connection");
    ensure!(told + lost == connections, "{told} told, {lost} lost of {connections}: {losses}");
    // What a reader that is kept off its CPU gets too late to be put in order is left out, and counted.
    let late = number(losses, "/late");
    let accepted = number(listener, "/accepted");
    ensure!(
        accepted <= told && told <= accepted + late,
        "{told} told, {late} late, {lost} lost: {listener:#}"
    );
    let any_lost = losses.get("kernel_lost").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let any_lost = any_lost || late > 0;
    ensure!(losses.get("is_complete") == Some(&Value::Bool(!any_lost)), "{losses}");
    let resident = memory.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let resident_kib: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    eprintln!("{connections} connections at {rate:.0}/s: {told} told, {lost} lost; {resident_kib} KiB");
    ensure!(resident_kib < 300 * 1024, "{resident_kib} KiB");
    Ok(())
}
