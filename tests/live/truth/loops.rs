//! Calls that block an event loop, against the clocks of those who made them; answers of a back end that came
//! meanwhile, against the clock of that back end.
//!
//! In: gunicorn's gevent worker, uvicorn and Twisted, with a blocking call of 50 ms among short requests; of
//! 200 ms while a request waits for a back end. Out: verdicts.
//!
//! The loop is one thread, so the application's own clock waits for a CPU as the loop does. It says between
//! which two lengths the time lies that a request held the loop. At least that is from the application's call
//! to its return. At most it is from the return of the request before to the call of the one after.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::gevent::{GunicornGevent, WitnessedGevent};
use wsgi_trace_test_support::server::twisted::Reactor;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::{Line, Place, Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

const BLOCK: &str = "/block/50/";

/// From the application's call to its return.
fn call_ns(line: &Line) -> Option<u64> {
    line.returned_ns?.checked_sub(line.start_ns?)
}

/// Between which two lengths the request of a path held the loop, in the window from `start_ns` to `end_ns`.
fn held_ns(log: &[Line], path: &str, (start_ns, end_ns): (u64, u64)) -> anyhow::Result<RangeInclusive<u64>> {
    let own = log.iter().find(|line| line.path == path).context("not in the log")?;
    let began_ns = own.start_ns.context("no start")?;
    let before_ns =
        log.iter().filter(|line| line.start_ns < own.start_ns).filter_map(|line| line.returned_ns);
    let after_ns = log.iter().filter(|line| line.start_ns > own.start_ns).filter_map(|line| line.start_ns);
    let before_ns = before_ns.max().unwrap_or(start_ns);
    let after_ns = after_ns.min().unwrap_or(end_ns);
    ensure!(before_ns <= began_ns, "two requests at once on one loop");
    Ok(call_ns(own).context("no answer")?..=after_ns.saturating_sub(before_ns))
}

/// Path of the request with this number in the report.
fn path_of(traced: &Traced, number: u64) -> anyhow::Result<String> {
    for line in traced.ndjson.lines() {
        let request: serde_json::Value = serde_json::from_str(line)?;
        if request.get("id").and_then(serde_json::Value::as_u64) == Some(number) {
            return Ok(request
                .get("path")
                .and_then(serde_json::Value::as_str)
                .context("no path")?
                .to_owned());
        }
    }
    anyhow::bail!("no request {number}")
}

/// The application's innermost function in which event loops slept longest, and its line as its file has it.
fn slept_at(traced: &Traced) -> anyhow::Result<(String, String)> {
    let all = traced.value("/chains/waited")?.as_array().context("no list")?;
    let of_loops = all.iter().find(|one| one["is_event_loop"] == true).context("loops never slept")?;
    let frames = of_loops.pointer("/lines/0/place/frames").and_then(serde_json::Value::as_array);
    let frame = frames.and_then(|frames| frames.iter().find(|frame| frame["whose"] == "own"));
    let frame = frame.context("no frame of the application")?;
    let text = |key: &str| frame.get(key).and_then(serde_json::Value::as_str).context("no name");
    let number = frame["line"].as_u64().and_then(|line| usize::try_from(line).ok()).context("no line")?;
    let source = std::fs::read_to_string(text("file")?)?;
    let line = number.checked_sub(1).and_then(|at| source.lines().nth(at)).context("no such line")?;
    Ok((text("function")?.to_owned(), line.to_owned()))
}

fn a_blocking_call_is_found_sized_and_named(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    let options = ["--requests", "160", "--seconds", "20", "--clients", "3", "--keep-alive", "5"];
    let sent = Load::run(server.address(), &[&options[..], &["--routes", "/fast=4,/block/50=1"]].concat())?;
    let log = server.log(sent.answered())?;
    let traced = trace.end()?;

    let holder = traced.value("/event_loops/0/holders/0")?;
    let ours_ns = traced.number("/event_loops/0/holders/0/longest_ns")?;
    let path = path_of(&traced, traced.number("/event_loops/0/holders/0/longest_request")?)?;
    ensure!(path.starts_with(BLOCK), "{path}: {holder}");
    let theirs_ns = held_ns(&log, &path, (sent.start_ns, sent.end_ns))?;
    eprintln!("{}: {ours_ns} ns, by the application {theirs_ns:?}", recipe.about());
    ensure!(theirs_ns.contains(&ours_ns), "{path}: {ours_ns} ns, by the application {theirs_ns:?}: {holder}");
    let longest_ns = log.iter().filter(|line| line.path.starts_with(BLOCK)).filter_map(call_ns).max();
    ensure!(Some(ours_ns) >= longest_ns, "{path}: {ours_ns} ns, and one blocked for {longest_ns:?}");
    let shape = holder.get("path_shape").and_then(serde_json::Value::as_str);
    ensure!(shape == Some("/block/{number}/{number}"), "{holder}");
    ensure!(traced.number("/event_loops/0/holders/0/long/waited")? > 0, "nobody waited: {holder}");

    let finding = traced.finding("loop-blocked")?;
    let text = |key: &str| finding.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    ensure!(text("answer") == "present", "{finding}");
    ensure!(text("sentence").contains("because the event loop is kept, in GET /block/"), "{finding}");
    let said = traced.value("/verdict/sentence")?.to_string();
    ensure!(said.contains("sleeps on purpose"), "{said}");
    let (function, source) = slept_at(&traced)?;
    ensure!(source.contains("sleep("), "{function}: {source}");
    Ok(())
}

#[test]
fn a_call_that_gevent_cannot_make_yield_is_found_sized_and_named() -> anyhow::Result<()> {
    a_blocking_call_is_found_sized_and_named(&WitnessedGevent(GunicornGevent { workers: 1 }))
}

#[test]
#[ignore = "make live: several seconds"]
fn a_sleep_in_a_coroutine_is_found_sized_and_named() -> anyhow::Result<()> {
    a_blocking_call_is_found_sized_and_named(&Uvicorn { application: Application::Asgi, workers: 1 })
}

#[test]
#[ignore = "make live: several seconds"]
fn a_sleep_on_the_reactor_is_found_sized_and_named() -> anyhow::Result<()> {
    a_blocking_call_is_found_sized_and_named(&Reactor)
}

/// A server whose application asks a back end of ours.
struct AskingUs<'a> {
    server: &'a dyn Recipe,
    address: String,
}

impl Recipe for AskingUs<'_> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        self.server.about()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.server.commands(place)?;
        for command in &mut commands {
            command.env("BACKEND_ADDRESS", &self.address);
        }
        Ok(commands)
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}

fn send(address: &Address, path: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: us\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok(stream)
}

fn receive(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// The moments of one request of the back end, by its clock: asked, and before and after it answered.
struct Asked {
    asked_ns: u64,
    answered_ns: RangeInclusive<u64>,
}

/// A request asks the back end; one that blocks the loop for 200 ms is sent; 50 ms later comes the answer.
fn ask_and_block(server: &Server, back_end: &TcpListener, round: u32) -> anyhow::Result<Asked> {
    let asking = send(server.address(), &format!("/backend/{round}"))?;
    let (question, _) = back_end.accept()?;
    let mut line = String::new();
    BufReader::new(&question).read_line(&mut line)?;
    let asked_ns = monotonic_ns();
    let blocking = send(server.address(), &format!("/block/200/{round}"))?;
    std::thread::sleep(Duration::from_millis(50));
    let before_ns = monotonic_ns();
    (&question).write_all(b"done\n")?;
    let answered_ns = before_ns..=monotonic_ns();
    receive(blocking)?;
    receive(asking)?;
    Ok(Asked { asked_ns, answered_ns })
}

/// Each wait lies between two lengths that the clocks of the application and of its back end give, without
/// any tolerance.
fn an_answer_waits_for_the_loop_since_it_came(recipe: &dyn Recipe) -> anyhow::Result<()> {
    const ROUNDS: u32 = 5;
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let back_end = TcpListener::bind(("127.0.0.1", 0))?;
    let server = Server::start(&AskingUs { server: recipe, address: back_end.local_addr()?.to_string() })?;
    let trace = Trace::start(server.pid())?;
    let asked: Vec<Asked> =
        (0..ROUNDS).map(|round| ask_and_block(&server, &back_end, round)).collect::<anyhow::Result<_>>()?;
    let log = server.log(2 * asked.len())?;
    let traced = trace.end()?;
    let of = |path: &str| log.iter().find(|line| line.path == path).context("not in the log");
    let mut came_meanwhile = 0;
    // By the first round the thread shows that it runs a loop: it leaves one request for another.
    for (round, Asked { asked_ns, answered_ns }) in asked.iter().enumerate().skip(1) {
        let path = format!("/backend/{round}");
        let (own, block) = (of(&path)?, of(&format!("/block/200/{round}"))?);
        let times = (own.start_ns, own.returned_ns, block.start_ns, block.returned_ns);
        let (Some(called_ns), Some(returned_ns), Some(blocked_ns), Some(free_ns)) = times else {
            anyhow::bail!("no times: {own:?}, {block:?}");
        };
        let request =
            traced.requests.iter().find(|request| request.path() == path).context("not reported")?;
        let kept_ns =
            if blocked_ns <= *answered_ns.start() { free_ns.saturating_sub(*answered_ns.end()) } else { 0 };
        came_meanwhile += u32::from(kept_ns > 50_000_000);
        // Before it asked it may have waited for the loop, too.
        let other_ns = asked_ns.saturating_sub(request.start_ns);
        let loop_ns = kept_ns..=returned_ns.saturating_sub(*answered_ns.start()) + other_ns;
        // What it did after the back end had its question, and before it waited, is its own time.
        let awake_ns = request.phase_ns("cpu") + request.phase_ns("run_queue");
        let at_least_ns = answered_ns.start().saturating_sub(asked_ns + awake_ns);
        let back_end_ns = at_least_ns..=answered_ns.end().saturating_sub(called_ns);
        let ours = ["loop_wait", "backend_wait", "unexplained"].map(|phase| request.phase_ns(phase));
        eprintln!("{}, {path}: {ours:?}; loop {loop_ns:?}, back end {back_end_ns:?}", recipe.about());
        let rest: Vec<_> = request.phases.iter().filter(|(_, ns)| ns.is_some_and(|ns| ns > 0)).collect();
        ensure!(loop_ns.contains(&ours[0]), "{path}: not {loop_ns:?}: {rest:?}");
        ensure!(back_end_ns.contains(&ours[1]), "{path}: not {back_end_ns:?}: {rest:?}");
    }
    ensure!(came_meanwhile > 0, "no answer came while the loop was blocked");
    Ok(())
}

#[test]
fn an_answer_waits_for_gevent_s_loop_since_it_came() -> anyhow::Result<()> {
    an_answer_waits_for_the_loop_since_it_came(&WitnessedGevent(GunicornGevent { workers: 1 }))
}

#[test]
#[ignore = "make live: several seconds"]
fn an_answer_waits_for_a_coroutine_s_loop_since_it_came() -> anyhow::Result<()> {
    an_answer_waits_for_the_loop_since_it_came(&Uvicorn { application: Application::Asgi, workers: 1 })
}
