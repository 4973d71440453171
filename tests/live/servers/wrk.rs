//! A client that others wrote: wrk asks as fast as it is answered, on kept connections, and counts the
//! answers.
//!
//! In: a server of each family. Out: verdicts: as many requests by our account as by wrk's.

use std::process::Command;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::{shared, skip};
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::gevent::Pywsgi;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

/// Where Debian puts it.
const WRK: &str = "/usr/bin/wrk";
const CONNECTIONS: u64 = 4;

/// What wrk says at its end.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    answers: u64,
    /// Connections that the server ended.
    ended: u64,
    /// Connections refused or timed out, and requests that could not be written.
    errors: u64,
}

/// wrk counts answers until its time is over and leaves: what it has asked then, one request a connection,
/// nobody counts but us.
fn counts_agree(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    if !std::path::Path::new(WRK).exists() {
        skip("wrk is not installed");
        return Ok(());
    }
    let _others = shared()?;
    let server = Server::start(recipe)?;
    // Room for all of it, so that nothing is lost where the profiler gets no core for a while.
    let trace = Trace::start_with(server.pid(), &["--ring-bytes", "134217728"])?;
    let (host, port) = server.address().host_and_port();
    let url = format!("http://{host}:{port}/fast");
    let connections = CONNECTIONS.to_string();
    let output = Command::new(WRK)
        .args(["--threads", "1", "--connections", &connections, "--duration", "2s", &url])
        .output()
        .context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = told(&text).with_context(|| format!("not wrk's words: {text}"))?;
    let traced = trace.end()?;
    let ours = traced.number("/requests/completed")?;
    eprintln!("{}: {told:?} by wrk, {ours} by us", recipe.about());
    // A server that keeps no connection ends each with its answer; wrk leaves before it sees the last of
    // these ends.
    let ends = told.answers.saturating_sub(CONNECTIONS)..=told.answers;
    ensure!(told.answers > 100 && told.errors == 0, "{text}");
    ensure!(told.ended == 0 || ends.contains(&told.ended), "{text}");
    let lost = traced.value("/losses")?;
    ensure!(traced.value("/losses/is_complete")? == true, "{lost}");
    ensure!((told.answers..=told.answers + CONNECTIONS).contains(&ours), "{ours}, not {}", told.answers);
    Ok(())
}

/// `N requests in …`, and `Socket errors: connect N, read N, write N, timeout N` where there were any.
fn told(text: &str) -> Option<Told> {
    let answers = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let errors = text.lines().find_map(|line| line.trim().strip_prefix("Socket errors: "));
    let (mut ended, mut others) = (0, 0);
    for part in errors.into_iter().flat_map(|errors| errors.split(", ")) {
        let (kind, count) = part.split_once(' ')?;
        *(if kind == "read" { &mut ended } else { &mut others }) += count.parse::<u64>().ok()?;
    }
    Some(Told { answers, ended, errors: others })
}

#[test]
fn what_wrk_says_is_read() {
    let text = "Running 2s test\n  1 threads and 4 connections\n  4711 requests in 2.00s, 1.00MB read\n  Socket errors: connect 0, read 3, write 1, timeout 0\n";
    assert_eq!(told(text), Some(Told { answers: 4711, ended: 3, errors: 1 }));
    assert_eq!(
        told("  12 requests in 2.00s, 1.00MB read\n"),
        Some(Told { answers: 12, ended: 0, errors: 0 })
    );
    assert_eq!(told("unable to connect"), None);
}

#[test]
fn gunicorn_answers_as_many_requests_as_wrk_counts() -> anyhow::Result<()> {
    counts_agree(&Settings::gthread(Version::V27, 2, 4))
}

macro_rules! counted {
    ($($name:ident: $recipe:expr;)*) => {$(
        #[test]
        #[ignore = "make live-all"]
        fn $name() -> anyhow::Result<()> {
            counts_agree(&$recipe)
        }
    )*};
}

counted! {
    uwsgi_answers_as_many_requests_as_wrk_counts: Uwsgi::new(2, 4);
    waitress_answers_as_many_requests_as_wrk_counts: Waitress { threads: 4 };
    cheroot_answers_as_many_requests_as_wrk_counts: Cheroot { threads: 4 };
    mod_wsgi_answers_as_many_requests_as_wrk_counts: ModWsgi::daemon(1, 5);
    gevent_answers_as_many_requests_as_wrk_counts: Pywsgi;
    twisted_answers_as_many_requests_as_wrk_counts: Twisted;
    uvicorn_answers_as_many_requests_as_wrk_counts:
        Uvicorn { application: Application::Asgi, workers: 1 };
}
