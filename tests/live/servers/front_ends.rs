//! Servers behind nginx or Apache, traced together: each request is one, and its time in nginx, between, and
//! in the server is what nginx's log says.
//!
//! In: recipes of servers behind a front end. Out: verdicts against the front end's access log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::raw::RawClient;
use wsgi_trace_test_support::require_apache;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::require_nginx;
use wsgi_trace_test_support::server::apache::Apache;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::nginx::{Link, Nginx};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Line, Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, TracedRequest};

use super::truth;
use super::window::Window;

/// How far the mean of 300 times by nginx's clock may be off. The clock goes by milliseconds, so that a
/// difference of two readings has a standard deviation of 0.41 ms, and the mean one of 24 µs.
const MEAN_ERROR_NS: f64 = 150_000.0;

fn behind_nginx(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    truth::agrees(recipe, &[&every_request_is_joined, &time_is_where_nginx_says])
}

/// Both halves of each request are one, told by their connection.
pub(super) fn every_request_is_joined(window: &Window) -> anyhow::Result<()> {
    let front_end = window.traced.value("/front_end")?;
    let count = |name: &str| window.traced.number(&format!("/front_end/{name}"));
    let passed_on = window.log.iter().filter(|line| line.behind_ns.is_some()).count() as u64;
    eprintln!("  {front_end}");
    // An exception ends uWSGI's connection without an answer.
    let failed = |line: &&Line| matches!(line.status, 502..=504) && !line.path.starts_with("/error/");
    let bad: Vec<&Line> = window.log.iter().filter(failed).collect();
    ensure!(bad.is_empty(), "the front end did not reach the server: {bad:?}");
    ensure!(count("joined")? == passed_on, "{passed_on} were passed on: {front_end}");
    ensure!(count("crossed")? == passed_on && count("unpaired")? == 0, "{front_end}");
    ensure!(count("ambiguous")? == 0, "{front_end}");
    halves_are_their_own(window)?;
    // The half that slept is that of the request that asked for it. A sleep whose end the kernel did not show
    // is counted apart.
    let undecided_ns = window.traced.undecided_ns()?;
    for request in &window.traced.requests {
        let slept_ns = request.phase_ns("sleep");
        let sleeps = request.path().starts_with("/sleep/");
        // It sleeps until a moment 5 ms ahead: what it is kept from its CPU before it sleeps makes its sleep
        // shorter. So does the wait for the mutex of the interpreter lock, which it gives up then
        // (`drop_gil`): who has that may have lost its CPU.
        let passed_ns = slept_ns
            + request.phase_ns("run_queue")
            + request.phase_ns("cpu")
            + request.phase_ns("lock_wait")
            + request.phase_ns("unexplained").min(undecided_ns);
        ensure!(!sleeps || passed_ns >= 4_900_000, "its half is another's: {request:?}");
        ensure!(!request.path().starts_with("/fast/") || slept_ns < 1_000_000, "{request:?}");
    }
    Ok(())
}

/// The half behind is that of the thread that did the request's work, by its own account, and it did that
/// while the request lasted.
fn halves_are_their_own(window: &Window) -> anyhow::Result<()> {
    let ours: BTreeMap<u64, &TracedRequest> =
        window.traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    for witness in &window.witnesses {
        let request = ours.get(&witness.id.parse()?).with_context(|| format!("no request: {witness:?}"))?;
        let is_its = (request.pid, request.tid) == (witness.pid, witness.tid)
            && request.start_ns <= witness.start_ns
            && witness.end_ns <= request.start_ns + request.total_ns;
        ensure!(is_its, "its half is another's: {request:?}, {witness:?}");
    }
    let count = window.witnesses.len();
    eprintln!("  {count} halves are of the thread that did the work");
    ensure!(count >= 50, "only {count} halves have a witness");
    Ok(())
}

/// `$request_time` begins when nginx reads what has arrived, and `$upstream_response_time` with the connect:
/// each lies between two of ours.
fn time_is_where_nginx_says(window: &Window) -> anyhow::Result<()> {
    let ours: BTreeMap<u64, &TracedRequest> =
        window.traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let (mut nginx_ns, mut behind_ns, mut compared) = (0_f64, 0_f64, 0_f64);
    let (mut whole_ns, mut service_ns) = (0_f64, 0_f64);
    for line in &window.log {
        let (Some(theirs), Some(behind)) = (line.duration_ns, line.behind_ns) else { continue };
        let Some(request) = line.id().and_then(|id| ours.get(&id)) else { continue };
        nginx_ns += theirs as f64;
        behind_ns += behind as f64;
        whole_ns += request.total_ns as f64;
        service_ns += request.service_ns.unwrap_or(0) as f64;
        compared += 1.0;
    }
    ensure!(compared >= 250.0, "only {compared} requests can be compared");
    let number = |name: &str| window.traced.number(&format!("/front_end/{name}")).map(|number| number as f64);
    let (between_ns, server_ns) = (number("between_ns")?, number("server_ns")?);
    let mean = |sum_ns: f64| sum_ns / compared / 1e3;
    eprintln!(
        "  mean of {compared}: whole {:.0} µs ≥ nginx's {:.0} ≥ service {:.0}; nginx's upstream {:.0} ≥ between {:.0} + server {:.0}; in nginx {:.0}",
        mean(whole_ns),
        mean(nginx_ns),
        mean(service_ns),
        mean(behind_ns),
        mean(between_ns),
        mean(server_ns),
        mean(number("front_end_ns")?)
    );
    let doubt_ns = MEAN_ERROR_NS * compared;
    ensure!(nginx_ns <= whole_ns + doubt_ns, "nginx measured more than the whole");
    // Its clock stands still within a turn of its loop: what it does in the turn that ends the response is
    // not in its time.
    let turns_ns = number("front_end_ns")?;
    ensure!(
        service_ns <= nginx_ns + turns_ns + doubt_ns,
        "nginx measured less than what came after the head"
    );
    ensure!(between_ns + server_ns <= behind_ns + doubt_ns, "nginx waited for less than the server took");
    ensure!(behind_ns <= whole_ns + doubt_ns, "nginx waited for more than the whole");
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn gunicorn_behind_nginx_over_tcp() -> anyhow::Result<()> {
    behind_nginx(&Nginx::before(Settings::gthread(Version::V27, 2, 4), Link::Tcp))
}

#[test]
#[ignore = "make live-all"]
fn gunicorn_behind_nginx_over_a_unix_socket() -> anyhow::Result<()> {
    behind_nginx(&Nginx::before(Settings::sync(Version::V27, 3), Link::Unix))
}

#[test]
#[ignore = "make live-all"]
fn gunicorn_behind_nginx_on_kept_connections() -> anyhow::Result<()> {
    behind_nginx(&Nginx::before(Settings::gthread(Version::V27, 1, 4), Link::Tcp).keeping(8))
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_behind_nginx_over_tcp() -> anyhow::Result<()> {
    behind_nginx(&Nginx::before(Uwsgi::new(2, 2), Link::Tcp))
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_behind_nginx_in_its_own_protocol() -> anyhow::Result<()> {
    behind_nginx(&Nginx::before(Uwsgi::new(2, 1).on_socket(), Link::Tcp).in_uwsgi())
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_behind_nginx_in_its_own_protocol_over_a_unix_socket() -> anyhow::Result<()> {
    behind_nginx(&Nginx::before(Uwsgi::new(2, 1).on_socket(), Link::Unix).in_uwsgi())
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_behind_nginx_that_is_not_traced() -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    truth::requests_agree_with_the_witness(
        &Nginx::before(Uwsgi::new(2, 1).on_socket(), Link::Tcp).in_uwsgi().untraced(),
    )
}

/// Only the server is traced, and told how long a request was on its way by nginx's stamp. Add the time from
/// its first byte to the application's call. That is what the application measures from the same stamp, by
/// its own wall clock.
fn time_since_the_stamp_is_the_application_s(window: &Window) -> anyhow::Result<()> {
    let ours: BTreeMap<u64, &TracedRequest> =
        window.traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let mut errors_ns = Vec::new();
    for line in &window.log {
        let (Some(theirs_ns), Some(called_ns)) = (line.since_stamp_ns, line.start_ns) else { continue };
        let Some(request) = line.id().and_then(|id| ours.get(&id)) else { continue };
        let before_ns = request.since_request_start_ns.with_context(|| format!("no time: {request:?}"))?;
        errors_ns.push((before_ns + called_ns.saturating_sub(request.start_ns)).abs_diff(theirs_ns));
    }
    errors_ns.sort_unstable();
    let starts = window.traced.value("/requests/request_start")?;
    let told = window.traced.number("/requests/request_start/before/count")?;
    let median_ns = errors_ns.get(errors_ns.len() / 2).copied().unwrap_or(u64::MAX);
    eprintln!("  {} stamps compared, median error {median_ns} ns: {starts}", errors_ns.len());
    ensure!(errors_ns.len() >= 250, "only {} stamps can be compared", errors_ns.len());
    // The application reads its two clocks one after the other.
    ensure!(median_ns <= 50_000, "median error {median_ns} ns");
    ensure!(told == window.traced.requests.len() as u64, "{told} told of {}", window.traced.requests.len());
    for refused in ["not_a_time", "ahead", "too_old"] {
        let count = window.traced.number(&format!("/requests/request_start/{refused}"))?;
        ensure!(count == 0, "{refused}: {starts}");
    }
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn stamps_of_nginx_that_is_not_traced_tell_how_long_requests_were_on_their_way() -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    truth::agrees(
        &Nginx::before(Waitress { threads: 4 }, Link::Tcp).untraced(),
        &[&time_since_the_stamp_is_the_application_s],
    )
}

/// nginx takes the whole body before it asks the server; its client sends that 60 ms after the head, by its
/// own clock. What stands in clients' own headers is no stamp of nginx's: it is refused where nothing
/// replaces it.
#[test]
#[ignore = "make live-all"]
fn time_in_nginx_is_told_by_a_stamp_from_its_beginning_and_false_stamps_are_refused() -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(60);
    require_bpf!(Ok(()));
    require_nginx!(Ok(()));
    let _alone = exclusive()?;
    let nginx = Nginx::before(Uwsgi::new(2, 1).on_socket(), Link::Tcp).in_uwsgi().untraced();
    let server = Server::start(&nginx.with(
        "set $stamp \"t=${msec}\"; if ($arg_as) { set $stamp $arg_as; } uwsgi_param HTTP_X_REQUEST_START $stamp;",
    ))?;
    let trace = Trace::start(server.pid())?;
    let mut paused = Vec::new();
    for id in 0..20 {
        let mut client = RawClient::connect(server.address())?;
        let begun = Instant::now();
        client.send(&format!("POST /fast/{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"))?;
        std::thread::sleep(PAUSE);
        client.send("body")?;
        client.status()?;
        paused.push((id, begun.elapsed()));
    }
    for (id, stamp) in ["now", "t=-5", "t=9999999999.000", "t=1000000000.000"].iter().enumerate() {
        let mut client = RawClient::connect(server.address())?;
        client.send(&format!("GET /fast/{}?as={stamp} HTTP/1.1\r\nHost: a\r\n\r\n", 100 + id))?;
        client.status()?;
    }
    server.log(24)?;
    let traced = trace.end()?;
    for (id, whole) in paused {
        let found = traced.requests.iter().find(|request| request.id() == Some(id));
        let before_ns = found.and_then(|request| request.since_request_start_ns).context("no time")?;
        let before = Duration::from_nanos(before_ns);
        // nginx's clock is cut off, and stands still while it looks for events.
        let millisecond = Duration::from_millis(1);
        ensure!(before <= whole + millisecond * 2, "{before:?} before the server of {whole:?}");
        ensure!(before >= PAUSE / 2, "{before:?}, where the client paused for {PAUSE:?}");
    }
    let starts = traced.value("/requests/request_start")?;
    eprintln!("  {starts}");
    let count = |name: &str| traced.number(&format!("/requests/request_start/{name}"));
    ensure!(count("before/count")? == 20, "{starts}");
    ensure!(count("not_a_time")? == 2 && count("ahead")? == 1 && count("too_old")? == 1, "{starts}");
    let median_ns = count("before/p50_ns")?;
    ensure!((60_000_000..66_000_000).contains(&median_ns), "{median_ns} ns, the client paused for {PAUSE:?}");
    Ok(())
}

/// Apache's log has one time, which goes by microseconds: that of the other servers' comparison.
#[test]
#[ignore = "make live-all"]
fn gunicorn_behind_apache() -> anyhow::Result<()> {
    require_apache!(Ok(()));
    let gunicorn = Settings::gthread(Version::V27, 1, 4).with(&["--keep-alive", "75"]);
    truth::agrees(&Apache { server: gunicorn }, &[&every_request_is_joined])
}

/// How long this thread has waited for a CPU since it began, by the scheduler (`sched_info.run_delay`,
/// proc_pid_schedstat).
fn run_queue_ns() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().nth(1).context("no run-queue time")?.parse()?)
}

/// Five sleeps of 20 ms, four of them before a piece of the response: by the client's clock, and as the
/// server's own time, from which nothing is taken for the front end's.
fn pieces_last_as_long_as_the_client_sees(recipe: &dyn Recipe) -> anyhow::Result<()> {
    const SLEPT_NS: u64 = 5 * 20_000_000;
    const WARM: usize = 16;
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(recipe)?;
    let in_front = server.pids().get(1).copied().filter(|_| recipe.traces_front_end());
    let front_end = in_front.map(|pid| format!("--with-front-end={pid}"));
    let trace = Trace::start_with(server.pid(), &front_end.iter().map(String::as_str).collect::<Vec<_>>())?;
    // That a thread runs a loop is known once it has waited for others while it had a request.
    for id in 0..WARM {
        let mut client = RawClient::connect(server.address())?;
        client.send(&format!("GET /fast/{id} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))?;
        client.read_to_end()?;
    }
    let mut seen = Vec::new();
    let waited_before_ns = run_queue_ns()?;
    for _ in 0..5 {
        let mut client = RawClient::connect(server.address())?;
        let begun = Instant::now();
        client.send("GET /pieces/20 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        // Who closes the connection may lose its CPU between the last chunk and that.
        let last = client.read_answer()?;
        seen.push(u64::try_from((last - begun).as_nanos())?);
    }
    let client_waited_ns = run_queue_ns()? - waited_before_ns;
    server.log(WARM + 5)?;
    let traced = trace.end()?;
    let pieces: Vec<&TracedRequest> =
        traced.requests.iter().filter(|request| request.path() == "/pieces/20").collect();
    ensure!(pieces.len() == 5 && traced.requests.len() == WARM + 5, "{:?}", traced.requests);
    let undecided_ns = traced.undecided_ns()?;
    let (mut ours_ns, mut kept_ns, theirs_ns): (u64, u64, u64) = (0, 0, seen.iter().sum());
    for request in pieces {
        ours_ns += request.total_ns;
        kept_ns += request.phase_ns("run_queue") + request.phase_ns("front_end");
        // It sleeps until moments 20 ms ahead: what it is kept from its CPU before it sleeps makes its sleep
        // shorter. A sleep whose end the kernel did not show is counted apart.
        let slept_ns = request.phase_ns("sleep")
            + request.phase_ns("run_queue")
            + request.phase_ns("cpu")
            + request.phase_ns("unexplained").min(undecided_ns);
        ensure!(slept_ns >= SLEPT_NS, "the server's time is another's: {request:?}");
        ensure!(request.phase_ns("client_write_stall") < 1_000_000, "its client was there: {request:?}");
    }
    eprintln!("  {}: {ours_ns} ns of the clients' {theirs_ns}", recipe.about());
    // Who sends the last bytes may be kept from its CPU before that call returns.
    ensure!(ours_ns <= theirs_ns + kept_ns, "longer than the clients saw: {ours_ns} of {theirs_ns}");
    // A client also connects, before anything arrives, and is woken, after the last byte has come; it may
    // wait for its CPU.
    ensure!(
        ours_ns + 5 * 3_000_000 + client_waited_ns >= theirs_ns,
        "shorter than the clients saw: {ours_ns} of {theirs_ns}"
    );
    Ok(())
}

#[test]
fn a_response_in_pieces_behind_uwsgi_s_router_lasts_to_its_end() -> anyhow::Result<()> {
    pieces_last_as_long_as_the_client_sees(&Uwsgi::new(2, 1).routed())
}

#[test]
#[ignore = "make live-all"]
fn a_response_in_pieces_behind_nginx_lasts_to_its_end() -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    pieces_last_as_long_as_the_client_sees(&Nginx::before(Settings::gthread(Version::V27, 2, 4), Link::Tcp))?;
    pieces_last_as_long_as_the_client_sees(&Nginx::before(Uwsgi::new(2, 1).on_socket(), Link::Tcp).in_uwsgi())
}

#[test]
#[ignore = "make live-all"]
fn a_response_in_pieces_of_a_daemon_process_lasts_to_its_end() -> anyhow::Result<()> {
    require_apache!(Ok(()));
    pieces_last_as_long_as_the_client_sees(&ModWsgi::daemon(1, 5))
}
