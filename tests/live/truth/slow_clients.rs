//! Clients that are slow, idle or do not close, and what began before the window or ends after it.
//!
//! In: servers of both classes. Out: verdicts against the clients' own clocks and the access log.

use std::time::Instant;

use anyhow::Context as _;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::raw::{RawClient, is_inside, until_inside};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest};

/// `clock_nanosleep`: the application sleeps.
const CLOCK_NANOSLEEP: u32 = 230;
/// `sendto`: the server waits for its client.
const SENDTO: u32 = 44;
/// `recvfrom`: the server waits for its client.
const RECVFROM: u32 = 45;

fn assert_close(what: &str, ours_ns: u64, theirs_ns: u64) {
    let error = ours_ns.abs_diff(theirs_ns) as f64 / theirs_ns.max(1) as f64;
    eprintln!(
        "{what}: {:.1} ms against {:.1} ms, error {:.2} %",
        ours_ns as f64 / 1e6,
        theirs_ns as f64 / 1e6,
        error * 100.0
    );
    assert!(error <= 0.05, "{what}: {ours_ns} ns against {theirs_ns} ns");
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn held_ns(traced: &Traced, kind: &str) -> anyhow::Result<u64> {
    traced.number(&format!("/slots/held/{kind}_ns"))
}

/// A stall in a phase of `request`, which took `theirs_ns` by another clock, is charged to its client and to
/// the slot. Where the kernel did not show the thread's next switch, the wait around it is counted
/// as undecided, and is no stall.
fn assert_charged(
    traced: &Traced,
    request: &TracedRequest,
    (phase, theirs_ns, clock): (&str, u64, &str),
) -> anyhow::Result<()> {
    let undecided_ns = traced.undecided_ns()?;
    let ours_ns = request.phase_ns(phase);
    let unshown_ns = request.phase_ns("unexplained").min(undecided_ns);
    if unshown_ns > 0 {
        eprintln!("the kernel did not show a switch: {unshown_ns} ns are undecided");
    }
    assert_close(&format!("{phase} against {clock}"), ours_ns + unshown_ns, theirs_ns);
    assert_eq!(held_ns(traced, phase)?, ours_ns);
    Ok(())
}

fn slow_body(settings: &Settings) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(settings)?;
    let trace = Trace::start(server.master())?;
    let options = ["--clients", "0", "--slow-bodies", "1", "--slow-body-bytes", "2000", "--requests", "1"];
    let sent = Load::run(server.address(), &options)?;
    let sent = sent.requests.first().context("nothing was sent")?;
    server.access_log(1)?;
    let traced = trace.end()?;
    let request = traced.under("/upload").next().context("the upload is missing")?;
    let stall = ("client_read_stall", sent.end_ns - sent.sent_ns, "the client's clock");
    assert_charged(&traced, request, stall)
}

#[test]
fn a_body_sent_slowly_to_sync_is_charged_to_its_client() -> anyhow::Result<()> {
    slow_body(&Settings::sync(Version::V27, 1))
}

#[test]
fn a_body_sent_slowly_to_gthread_is_charged_to_its_client() -> anyhow::Result<()> {
    slow_body(&Settings::gthread(Version::V23, 1, 4))
}

/// The client cannot see when the server's last bytes went into the socket's buffer; the server's log does.
fn slow_reader(settings: &Settings) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(settings)?;
    let trace = Trace::start(server.master())?;
    let options = ["--clients", "0", "--slow-readers", "1", "--slow-read-seconds", "2.5", "--requests", "1"];
    let sent = Load::run(server.address(), &options)?;
    let sent = sent.requests.first().context("nothing was sent")?;
    let log = server.access_log(1)?;
    let traced = trace.end()?;
    let request = traced.under("/download").next().context("the download is missing")?;
    let logged_ns = log.first().context("no line")?.duration_us * 1000;
    assert!(request.total_ns <= sent.end_ns - sent.sent_ns);
    assert_charged(&traced, request, ("client_write_stall", logged_ns, "%(D)s"))
}

#[test]
fn a_response_read_slowly_from_sync_is_charged_to_its_client() -> anyhow::Result<()> {
    slow_reader(&Settings::sync(Version::V23, 1))
}

#[test]
fn a_response_read_slowly_from_gthread_is_charged_to_its_client() -> anyhow::Result<()> {
    slow_reader(&Settings::gthread(Version::V27, 1, 4))
}

/// The witness is the next client of the only worker: it gets no answer while the worker lingers.
#[test]
fn the_linger_of_gunicorn_27_is_charged_to_the_slot() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let trace = Trace::start(server.master())?;
    let mut stays = RawClient::connect(server.address())?;
    stays.get("/fast/1")?;
    stays.read_to_end()?;
    let start = Instant::now();
    let mut next = RawClient::connect(server.address())?;
    next.get("/fast/2")?;
    assert_eq!(next.status()?, Some(200));
    let waited_ns = nanoseconds(start);
    drop((stays, next));
    server.access_log(2)?;
    let traced = trace.end()?;
    assert_close("linger against the next client's wait", held_ns(&traced, "linger")?, waited_ns);
    let second = traced.under("/fast/2").next().context("the second request is missing")?;
    assert_close("accept_queue of the next client", second.phase_ns("accept_queue"), waited_ns);
    Ok(())
}

#[test]
fn a_fresh_idle_connection_is_charged_to_the_slot() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V23, 1))?;
    let trace = Trace::start(server.master())?;
    let start = Instant::now();
    let mut silent = RawClient::connect(server.address())?;
    until_inside(&server.worker_pids(), RECVFROM)?;
    // The time that passes is what the test is about.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let silent_ns = nanoseconds(start);
    silent.get("/fast/1")?;
    assert_eq!(silent.status()?, Some(200));
    server.access_log(1)?;
    let traced = trace.end()?;
    assert_close("first_byte against the client's silence", held_ns(&traced, "first_byte")?, silent_ns);
    let request = traced.under("/fast/1").next().context("the request is missing")?;
    assert!(request.total_ns < 500_000_000, "the client's silence is no part of its request: {request:?}");
    Ok(())
}

fn in_flight_at_the_end(settings: &Settings) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(settings)?;
    let trace = Trace::start(server.master())?;
    let start = Instant::now();
    let mut client = RawClient::connect(server.address())?;
    client.get("/sleep/6000/1")?;
    until_inside(&server.worker_pids(), CLOCK_NANOSLEEP)?;
    let asleep = Instant::now();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let at_least_ns = nanoseconds(asleep);
    let traced = trace.end()?;
    let at_most_ns = nanoseconds(start);
    assert_eq!(traced.requests.len(), 1);
    let request = traced.under("/sleep").next().context("the request in flight is invisible")?;
    assert!(request.open && !request.truncated && request.status.is_none(), "{request:?}");
    let sleep_ns = request.phase_ns("sleep");
    assert!((at_least_ns..at_most_ns).contains(&sleep_ns), "{sleep_ns} not in {at_least_ns}..{at_most_ns}");
    assert_eq!(traced.number("/requests/open")?, 1);
    assert!(held_ns(&traced, "request")? >= sleep_ns);
    Ok(())
}

#[test]
fn a_request_of_sync_in_flight_at_the_end_is_open_and_visible() -> anyhow::Result<()> {
    in_flight_at_the_end(&Settings::sync(Version::V23, 1))
}

#[test]
fn a_request_of_gthread_in_flight_at_the_end_is_open_and_visible() -> anyhow::Result<()> {
    in_flight_at_the_end(&Settings::gthread(Version::V27, 1, 4))
}

/// One request sleeps, one waits for its slow reader when the window begins.
fn in_flight_at_the_start(settings: &Settings) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    // A machine that takes longer to attach than the request sleeps gets one that sleeps longer.
    for milliseconds in [3_000, 6_000, 24_000, 64_000] {
        if in_flight_while_attaching(settings, milliseconds)? {
            return Ok(());
        }
    }
    anyhow::bail!("attaching takes longer than a minute")
}

/// Bytes that the reader takes in a second: its 16 MB last for a part of the sleep.
const READ_PER_SECOND: f64 = 20e6;

/// `false`: the sleep was over before the window had begun and the reader had read.
fn in_flight_while_attaching(settings: &Settings, milliseconds: u32) -> anyhow::Result<bool> {
    let server = Gunicorn::start(settings)?;
    let workers = server.worker_pids();
    let mut sleeper = RawClient::connect(server.address())?;
    sleeper.get(&format!("/sleep/{milliseconds}/1"))?;
    until_inside(&workers, CLOCK_NANOSLEEP)?;
    let mut reader = RawClient::connect(server.address())?;
    reader.get("/download/2")?;
    until_inside(&workers, SENDTO)?;
    let start = Instant::now();
    let trace = Trace::start(server.master())?;
    reader.read_slowly(READ_PER_SECOND)?;
    if !is_inside(&workers, CLOCK_NANOSLEEP) {
        return Ok(false);
    }
    assert_eq!(sleeper.status()?, Some(200));
    let at_most_ns = nanoseconds(start);
    drop((reader, sleeper));
    server.access_log(2)?;
    let traced = trace.end()?;
    let seen: Vec<_> = traced.requests.iter().filter(|request| request.truncated).collect();
    assert_eq!((traced.requests.len(), seen.len()), (2, 2), "{:?}", traced.requests);
    let slept = seen.iter().find(|request| request.status == Some(200)).context("the sleeper is missing")?;
    // Of the reader's response only the end of its one call was seen, which tells no status and no size.
    let read = seen.iter().find(|request| request.status.is_none()).context("the reader is missing")?;
    for request in [slept, read] {
        assert!(
            !request.open && request.total_ns > 200_000_000 && request.total_ns <= at_most_ns,
            "{request:?}"
        );
    }
    assert_eq!(traced.number("/requests/truncated")?, 2);
    Ok(true)
}

#[test]
fn requests_of_sync_in_flight_at_the_start_are_truncated_and_visible() -> anyhow::Result<()> {
    in_flight_at_the_start(&Settings::sync(Version::V23, 2))
}

#[test]
fn requests_of_gthread_in_flight_at_the_start_are_truncated_and_visible() -> anyhow::Result<()> {
    // gunicorn keeps the reader's connection for so long before the reader sees its end, and the sleeper must
    // sleep until then.
    in_flight_at_the_start(&Settings::gthread(Version::V27, 1, 4).with(&["--keep-alive=1"]))
}

/// A request waits for a thread at least while the thread that serves it is at the one before, and at most
/// until the application is called. The clocks are this machine's and wait for a CPU as the server does.
#[test]
fn the_wait_for_a_pool_thread_is_what_its_clients_waited() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for version in [Version::V23, Version::V27] {
        let server = Server::start(&Settings::gthread(version, 1, 2).witnessed())?;
        let trace = Trace::start(server.pid())?;
        let options = ["--clients", "6", "--requests", "42", "--seconds", "60", "--routes", "/sleep/50"];
        let sent = Load::run(server.address(), &options)?;
        let log = server.log(42)?;
        let traced = trace.end()?;
        let (mut ours_ns, mut least_ns, mut most_ns) = (0, 0, 0);
        for client in &sent.requests {
            let request = traced.requests.iter().find(|request| request.id() == Some(client.id));
            let request = request.context("a request is missing")?;
            let line = log.iter().find(|line| line.id() == Some(client.id)).context("a line is missing")?;
            let called_ns = line.start_ns.context("the witness has no start")?;
            let before = log.iter().filter(|other| other.tid == line.tid).filter_map(|other| other.end_ns);
            let busy_until_ns = before.filter(|end_ns| *end_ns <= called_ns).max().unwrap_or(0);
            least_ns += busy_until_ns.saturating_sub(client.all_sent_ns);
            most_ns += called_ns - client.sent_ns;
            ours_ns += ["accept_queue", "loop_wait", "pool_wait"]
                .map(|phase| request.phase_ns(phase))
                .iter()
                .sum::<u64>();
        }
        eprintln!("waiting for a thread, all clients: {ours_ns} ns, by the clocks {least_ns} to {most_ns}");
        assert!((least_ns..=most_ns).contains(&ours_ns), "{ours_ns} ns is not within {least_ns}..={most_ns}");
        // Of 42 requests on 2 threads all but the first two wait for one sleep or two.
        assert!(least_ns > 35 * 50_000_000, "{least_ns} ns");
    }
    Ok(())
}
