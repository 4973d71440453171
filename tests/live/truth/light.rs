//! Light mode against gunicorn's access log: as many requests, as long, and the same again from a recording.
//!
//! In: servers of both worker classes, over TCP and a UNIX socket; servers that do the TLS themselves,
//! against their clients. Out: verdicts.

use anyhow::Context as _;
use profiler_common::system_call::{CLOCK_NANOSLEEP, RECVFROM};
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Listen, Settings, Version};
use wsgi_trace_test_support::intervals::{Between, Intervals, Pair, kind};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::raw::{RawClient, until_inside};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::tls::Tls;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::switches::Switches;
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest, report_on};
use wsgi_trace_test_support::yardstick::Yardstick;

/// Pipelined requests are one in light mode: there are none.
const LOAD: &[&str] = &[
    "--requests",
    "150",
    "--seconds",
    "20",
    "--clients",
    "1",
    "--routes",
    "/fast=6,/cpu,/backend,/stream,/empty,/unchanged,/missing,/mixed",
    "--kinds",
    "get=6,head,sized,chunked,expect",
];

/// What light mode can measure.
const PHASES: [&str; 13] = [
    "pool_wait",
    "client_read_stall",
    "cpu",
    "run_queue",
    "gil_wait",
    "lock_wait",
    "backend_wait",
    "child_wait",
    "file_wait",
    "fault_wait",
    "sleep",
    "client_write_stall",
    "unexplained",
];

/// Worker by worker, as they came.
fn in_order(traced: &Traced) -> Vec<&TracedRequest> {
    let mut requests: Vec<_> = traced.requests.iter().collect();
    requests.sort_by_key(|request| (request.pid, request.start_ns));
    requests
}

fn requests_are_those_of_the_log(settings: &Settings, keep_alive: &str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let switches = Switches::start()?;
    let server = Gunicorn::start(settings)?;
    let trace = Trace::start_with(server.master(), &["--light"])?;
    let yardstick = Yardstick::start()?;
    let sent = Load::run(server.address(), &[LOAD, &["--keep-alive", keep_alive]].concat())?;
    let log = server.access_log(sent.answered())?;
    let speed = yardstick.end()?;
    let waits = switches.stop()?.waits();
    let traced = trace.end()?;

    let requests = &traced.requests;
    assert_eq!(requests.len(), log.len(), "requests of light mode and lines of the log");
    assert_eq!(traced.number("/requests/completed")?, log.len() as u64);
    let mut intervals = Intervals::default();
    for line in &log {
        // A thread may write its line after another has answered the client's next request.
        let mut of_line = requests.iter().filter(|request| request.id() == line.id());
        let request = of_line.next().with_context(|| format!("no request of {line:?}"))?;
        assert!(of_line.next().is_none(), "two requests of {line:?}");
        assert!(!request.open && !request.truncated && !request.lossy, "{request:?}");
        let phases_ns: u64 = request.phases.values().flatten().sum();
        assert_eq!(phases_ns, request.total_ns, "{request:?}");
        let measured: Vec<_> = request.phases.iter().filter(|(_, phase_ns)| phase_ns.is_some()).collect();
        assert!(measured.iter().all(|(name, _)| PHASES.contains(&name.as_str())), "{measured:?}");
        assert!(request.bytes_out > line.body_bytes, "{request:?} {line:?}");
        assert_eq!(request.pid, line.pid);
        let ours = (request.method.as_deref(), request.path.as_deref(), request.status);
        let theirs = (Some(line.method.as_str()), Some(line.path.as_str()), Some(line.status));
        assert_eq!(ours, theirs, "{request:?}");
        let ours_ns = request.service_ns.with_context(|| format!("nothing read: {request:?}"))?;
        let threads = traced.threads_of(request.pid)?;
        let pair = Pair::of(request, (ours_ns, line.duration_us * 1000), (&waits, &threads));
        intervals.add(kind(&line.path), pair);
    }
    let wrong = intervals.wrong(Between {
        speed,
        is_woken_rarely: false,
        resolution_ns: 1000,
        shares_gil: settings.shares_gil(),
        stolen_ns: traced.number("/losses/conservation/stolen_ns")?,
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    assert_eq!(traced.number("/losses/conservation/requests_broken")?, 0);
    assert_eq!(traced.number("/losses/conservation/slices_broken")?, 0);
    assert_eq!(traced.value("/tool/hooks")?, "light");
    let unseen = traced.finding("herd")?;
    assert!(unseen.to_string().contains("light mode"), "{unseen}");
    assert_eq!(report_on(&traced.recording, "ndjson")?.stdout, traced.ndjson, "live and from the recording");
    Ok(())
}

#[test]
fn light_mode_counts_and_times_requests_of_sync_workers_as_their_log_does() -> anyhow::Result<()> {
    requests_are_those_of_the_log(&Settings::sync(Version::V27, 2), "1")
}

#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn light_mode_counts_and_times_requests_on_kept_connections_as_their_log_does() -> anyhow::Result<()> {
    requests_are_those_of_the_log(&Settings::gthread(Version::V27, 1, 4), "5")
}

#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn light_mode_counts_and_times_requests_over_a_unix_socket_as_their_log_does() -> anyhow::Result<()> {
    requests_are_those_of_the_log(&Settings::gthread(Version::V23, 2, 4).on(Listen::Unix), "3")
}

#[test]
fn light_mode_counts_a_connection_that_was_open_before_once() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V23, 1))?;
    let mut client = RawClient::connect(server.address())?;
    until_inside(&server.worker_pids(), RECVFROM)?;
    let trace = Trace::start_with(server.master(), &["--light"])?;
    client.get("/fast")?;
    assert_eq!(client.status()?, Some(200));
    // The body is sent on its own: a client that left after the head would drop the answer.
    client.read_to_end()?;
    server.access_log(1)?;
    let traced = trace.end()?;
    assert_eq!(traced.number("/requests/connections")?, 1);
    assert_eq!(traced.number("/requests/completed")?, 1);
    assert!(traced.requests.iter().all(|request| !request.truncated && !request.open), "{traced:?}");
    // Its log line may come before its end.
    let (served, open) = (traced.number("/drops/served")?, traced.number("/drops/open")?);
    let lost = [traced.number("/drops/dropped")?, traced.number("/drops/undecided")?];
    assert_eq!((served + open, lost), (1, [0, 0]), "{}", traced.value("/drops")?);
    Ok(())
}

/// A client that leaves while its request is served: over TCP the answer meets a reset, over a UNIX socket a
/// broken pipe. Its request lasts as long as the sleep, and has ended before its line is in the log.
fn a_request_whose_client_left_ends_with_its_answer(listen: Listen) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1).on(listen))?;
    let trace = Trace::start_with(server.master(), &["--light"])?;
    let mut leaving = RawClient::connect(server.address())?;
    leaving.get("/sleep/300")?;
    until_inside(&server.worker_pids(), CLOCK_NANOSLEEP)?;
    drop(leaving);
    server.access_log(1)?;
    let logged_ns = monotonic_ns();
    // The window goes on for longer than the request took.
    let mut staying = RawClient::connect(server.address())?;
    staying.get("/sleep/400")?;
    assert_eq!(staying.status()?, Some(200));
    server.access_log(2)?;
    let traced = trace.end()?;
    let requests = in_order(&traced);
    let [left, stayed] = requests.as_slice() else { anyhow::bail!("not two requests: {requests:?}") };
    for (request, slept_ns) in [(left, 300_000_000), (stayed, 400_000_000)] {
        assert!(!request.open && !request.truncated, "{request:?}");
        assert!(request.service_ns.context("nothing was read")? >= slept_ns, "{request:?}");
    }
    assert!(left.start_ns + left.total_ns <= logged_ns, "in the log by {logged_ns}: {left:?}");
    Ok(())
}

#[test]
fn light_mode_ends_a_request_whose_client_left_when_its_answer_is_sent() -> anyhow::Result<()> {
    a_request_whose_client_left_ends_with_its_answer(Listen::Ipv4)
}

#[test]
fn light_mode_ends_a_request_whose_client_left_a_unix_socket_when_its_answer_is_sent() -> anyhow::Result<()> {
    a_request_whose_client_left_ends_with_its_answer(Listen::Unix)
}

/// Where the server does the TLS, requests are as many as its client sent, each within what the client saw of
/// it: no turn of a handshake is one.
fn encrypted_requests_are_those_of_the_client(
    recipe: &dyn Recipe,
    version: &str,
    keep_alive: &str,
) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start_with(server.pid(), &["--light"])?;
    let options = [
        ["--tls", version, "--keep-alive", keep_alive],
        ["--requests", "60", "--clients", "1"],
        ["--seconds", "20", "--routes", "/fast=3,/sleep/20,/stream"],
    ];
    let sent = Load::run(server.address(), options.as_flattened())?;
    server.log(sent.answered())?;
    let traced = trace.end()?;
    let mut requests: Vec<_> = traced.requests.iter().collect();
    requests.sort_by_key(|request| request.start_ns);
    eprintln!(
        "{}, TLS {version}, {keep_alive} a connection: {} requests of {}",
        recipe.about(),
        requests.len(),
        sent.requests.len()
    );
    assert_eq!(requests.len(), sent.requests.len(), "requests of light mode and of the client");
    let stolen_ns = traced.number("/losses/conservation/stolen_ns")?;
    for (request, sent) in requests.iter().zip(&sent.requests) {
        assert!(!request.open && !request.truncated && !request.lossy, "{request:?}");
        assert!((sent.sent_ns..=sent.end_ns).contains(&request.start_ns), "{request:?} {sent:?}");
        let slept_ns = if sent.path.starts_with("/sleep") { 20_000_000 } else { 0 };
        // A call that sends may return after its bytes have arrived, and its thread wait for a CPU before it
        // does.
        let run_queue_ns = request.phases.get("run_queue").copied().flatten().unwrap_or(0);
        let most_ns = sent.end_ns - sent.sent_ns + 2_000_000 + run_queue_ns + stolen_ns;
        assert!((slept_ns..=most_ns).contains(&request.total_ns), "{request:?} {sent:?}");
        let phases_ns: u64 = request.phases.values().flatten().sum();
        assert_eq!(phases_ns, request.total_ns, "{request:?}");
    }
    assert_eq!(traced.number("/losses/conservation/requests_broken")?, 0);
    assert_eq!(report_on(&traced.recording, "ndjson")?.stdout, traced.ndjson, "live and from the recording");
    Ok(())
}

fn encrypted_gthread() -> Tls<Settings> {
    Tls::of(Settings::gthread(Version::V27, 1, 4).witnessed())
}

#[test]
fn light_mode_counts_no_handshakes() -> anyhow::Result<()> {
    encrypted_requests_are_those_of_the_client(&encrypted_gthread(), "1.3", "1")
}

#[test]
#[ignore = "make live: more servers, and an older TLS"]
fn light_mode_counts_no_handshakes_of_older_tls() -> anyhow::Result<()> {
    encrypted_requests_are_those_of_the_client(&encrypted_gthread(), "1.2", "3")
}

#[test]
#[ignore = "make live: more servers, and an older TLS"]
fn light_mode_counts_no_handshakes_of_a_loop() -> anyhow::Result<()> {
    for version in ["1.3", "1.2"] {
        let server = Tls::of_uvicorn(Uvicorn { application: Application::Asgi, workers: 1 });
        encrypted_requests_are_those_of_the_client(&server, version, "2")?;
    }
    Ok(())
}
