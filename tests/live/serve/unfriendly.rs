//! Clients that mean no good, and servers whose names are hostile.
//!
//! In: agents, clients that never read, never finish asking, or ask a thousand times a second. Out: verdicts.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::agent::{Agent, sum};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::require_bpf;

use super::{ask, free_port, gunicorn_on};

/// As many connections as the agent serves at once.
const ALL_PLACES: usize = 64;

#[test]
#[ignore = "make live: attaches under way"]
fn scrape_while_programs_are_attached_is_answered_at_once() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let agent = Agent::start(&["--port", &port.to_string()])?;
    agent.wait_for_state("waiting")?;
    let _server = gunicorn_on(port)?;
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let up = sum(&agent.metrics()?, "wsgi_trace_target_up", &[]);
        slowest = slowest.max(asked.elapsed());
        if up == 1.0 {
            break;
        }
        ensure!(started.elapsed() < Duration::from_secs(30), "never up");
    }
    ensure!(slowest < Duration::from_secs(3), "a scrape took {slowest:?}");
    Ok(())
}

#[test]
#[ignore = "make live: takes some seconds"]
fn thousand_scrapes_a_second_cost_one_look_a_second() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let agent = Agent::watching(&port.to_string(), &[])?;
    let before = agent.metrics()?;
    let started = Instant::now();
    let mut stream = TcpStream::connect(agent.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", agent.address());
    let mut scrapes = 0_u32;
    while scrapes < 2000 {
        // Ten at a time on one connection: faster than any scraper.
        stream.write_all(request.repeat(10).as_bytes())?;
        for _ in 0..10 {
            read_answer(&mut stream)?;
        }
        scrapes += 10;
    }
    let took = started.elapsed().as_secs_f64();
    let after = agent.metrics()?;
    let cpu = sum(&after, "wsgi_trace_agent_cpu_seconds_total", &[])
        - sum(&before, "wsgi_trace_agent_cpu_seconds_total", &[]);
    eprintln!("{scrapes} scrapes in {took:.2} s, {:.2} ms of CPU each", cpu * 1e3 / f64::from(scrapes));
    ensure!(cpu / f64::from(scrapes) < 1e-3, "{cpu} s of CPU for {scrapes} scrapes");
    Ok(())
}

/// Reads one answer with a length.
fn read_answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head)?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.context("no length")?.parse()?];
    stream.read_exact(&mut body)?;
    Ok(())
}

#[test]
#[ignore = "make live: waits for a time limit of five seconds"]
fn clients_that_never_finish_asking_lose_their_places() -> anyhow::Result<()> {
    let agent = Agent::start(&["--port", &free_port()?.to_string()])?;
    let slow: Vec<TcpStream> = (0..ALL_PLACES)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address())?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")?;
            Ok(stream)
        })
        .collect::<anyhow::Result<_>>()?;
    // Answered once their time is over.
    ensure!(agent.get("/healthz")?.status == 200);
    drop(slow);
    Ok(())
}

#[test]
#[ignore = "make live: waits for a time limit of half a minute"]
fn browsers_that_never_read_lose_their_places() -> anyhow::Result<()> {
    let agent = Agent::start(&["--port", &free_port()?.to_string()])?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", agent.address()).repeat(5000);
    let deaf: Vec<TcpStream> = (0..ALL_PLACES)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address())?;
            stream.set_write_timeout(Some(Duration::from_millis(200)))?;
            // As much as goes: the rest waits for answers that nobody reads.
            let _ = stream.write_all(request.as_bytes());
            Ok(stream)
        })
        .collect::<anyhow::Result<_>>()?;
    let mut stream = TcpStream::connect(agent.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", agent.address()).as_bytes())?;
    read_answer(&mut stream)?;
    drop(deaf);
    Ok(())
}

#[test]
#[ignore = "make live: takes some seconds"]
fn hostile_paths_are_one_escaped_series_each_and_bounded() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let agent = Agent::watching(&port.to_string(), &[])?;
    let hostile = ["/a\"b\\c", "/<script>alert(1)</script>", "/\u{1b}[2Jx", "/}\u{202e}{", "/a{b=\"c\"}"];
    for path in hostile {
        // What the server answers is its own affair.
        ask(port, path).ok();
    }
    for index in 0..150 {
        ask(port, &format!("/shape{index}x"))?;
    }
    let enough = (hostile.len() + 150 - 5) as f64;
    let samples = agent.wait_for_metrics("the requests", |samples| {
        sum(samples, "wsgi_trace_requests_total", &[]) >= enough
    })?;
    let endpoints: std::collections::BTreeSet<&str> = samples
        .keys()
        .filter(|name| name.starts_with("wsgi_trace_requests_total{"))
        .filter_map(|name| name.split("endpoint=\"").nth(1)?.split("\",status").next())
        .collect();
    ensure!(endpoints.len() == 101 && endpoints.contains("other"), "{} endpoints", endpoints.len());
    let text = agent.get("/metrics")?.body;
    ensure!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "a control character");
    ensure!(!text.contains('\u{202e}'));
    // The backslash is doubled to be distinguished from escapes, and both by the format.
    ensure!(text.contains(r#"endpoint="/a\"b\\\\c""#), "{endpoints:?}");
    let page = agent.get("/")?.body;
    ensure!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"));
    Ok(())
}
