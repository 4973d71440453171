//! mod_wsgi's own metrics of a daemon process, against the report of the same run.
//!
//! In: a daemon whose threads are exhausted by known sleeps. Out: verdicts: time in its queue, in the
//! application, and in use.
//!
//! mod_wsgi takes the clock four times. That is when Apache's child begins to send the request to the daemon
//! (`queue_start`), when a thread of the daemon has taken it (`daemon_start`), when the application is
//! called, and when its response is written. A thread counts as in use from shortly before the call. Of our
//! account these are `pool_wait`, and what comes after it in the daemon.

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::trace::{Trace, TracedRequest};
use wsgi_trace_test_support::whole_lines::whole_lines;

const REQUESTS: u64 = 48;
/// All of Apache's own threads are enough for all clients: who waits, waits for the daemon.
const CLIENTS: &[&str] = &["--max-clients", "30", "--disable-reloading", "--queue-timeout=0"];

/// What `mod_wsgi.request_metrics()` says of an interval; means are of the requests that were over in it.
#[derive(Clone, Debug, Deserialize)]
struct Sample {
    request_count: u64,
    sample_period: f64,
    request_threads_maximum: u64,
    capacity_utilization: f64,
    queue_time: Option<f64>,
    daemon_time: Option<f64>,
    application_time: Option<f64>,
}

/// Sums over intervals, in ns.
#[derive(Clone, Copy, Debug, Default)]
struct Metrics {
    requests: u64,
    queue_ns: f64,
    daemon_ns: f64,
    application_ns: f64,
    busy_ns: f64,
}

impl Metrics {
    fn add(&mut self, sample: &Sample) {
        let sum_ns = |mean: Option<f64>| mean.unwrap_or(0.0) * sample.request_count as f64 * 1e9;
        self.requests += sample.request_count;
        self.queue_ns += sum_ns(sample.queue_time);
        self.daemon_ns += sum_ns(sample.daemon_time);
        self.application_ns += sum_ns(sample.application_time);
        self.busy_ns +=
            sample.capacity_utilization * sample.sample_period * sample.request_threads_maximum as f64 * 1e9;
    }
}

fn samples(server: &Server) -> anyhow::Result<Vec<Sample>> {
    let text = std::fs::read_to_string(server.file("metrics.jsonl")).unwrap_or_default();
    whole_lines(&text).map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// Asks the daemon for what it has counted since it was asked last.
fn ask(server: &Server, turn: u64) -> anyhow::Result<()> {
    let first_id = (9_000_001 + turn).to_string();
    let options = ["--clients", "1", "--requests", "1", "--routes", "/metrics", "--first-id", &first_id];
    ensure!(Load::run(server.address(), &options)?.answered() == 1, "no metrics");
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn queue_capacity_and_application_time_are_those_of_mod_wsgi_s_own_metrics() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(&ModWsgi::daemon(1, 2).with(CLIENTS).metered())?;
    let trace = Trace::start(server.pid())?;
    ask(&server, 0)?;
    let requests = REQUESTS.to_string();
    let options = ["--clients", "6", "--requests", &requests, "--routes", "/sleep/40=3,/backend=2"];
    let sent = Load::run(server.address(), &options)?;
    ensure!(sent.answered() as u64 == REQUESTS, "{} answers", sent.answered());
    // A thread counts a request shortly after its client has the answer. Asking is a request too.
    let mut metrics = Metrics::default();
    for turn in 1..=20 {
        ask(&server, turn)?;
        metrics = Metrics::default();
        samples(&server)?.iter().skip(1).for_each(|sample| metrics.add(sample));
        if metrics.requests >= REQUESTS + turn {
            break;
        }
    }
    let traced = trace.end()?;
    ensure!(metrics.requests >= REQUESTS, "{metrics:?}");

    let load: Vec<&TracedRequest> =
        traced.requests.iter().filter(|request| !request.path().starts_with("/metrics")).collect();
    ensure!(load.len() as u64 == REQUESTS, "{} requests", load.len());
    let sum_ns = |phase: &str| load.iter().map(|request| request.phase_ns(phase)).sum::<u64>() as f64;
    let total_ns = load.iter().map(|request| request.total_ns).sum::<u64>() as f64;
    let (queue_ns, apache_ns) = (sum_ns("pool_wait"), sum_ns("accept_queue") + sum_ns("front_end"));
    let daemon_ns = total_ns - queue_ns - apache_ns;
    let busy_ns = traced.number("/slots/held/request_ns")? as f64;
    eprintln!(
        "queue {:.1} ms, by mod_wsgi {:.1}; daemon {:.1}, application {:.1} + before it {:.1}; busy {:.1}, {:.1}; Apache {:.1}",
        queue_ns / 1e6,
        metrics.queue_ns / 1e6,
        daemon_ns / 1e6,
        metrics.application_ns / 1e6,
        metrics.daemon_ns / 1e6,
        busy_ns / 1e6,
        metrics.busy_ns / 1e6,
        apache_ns / 1e6
    );
    let near = |ours_ns: f64, theirs_ns: f64| (ours_ns - theirs_ns).abs() <= theirs_ns * 0.02;
    ensure!(near(queue_ns, metrics.queue_ns), "time in the queue");
    ensure!(near(daemon_ns, metrics.application_ns + metrics.daemon_ns), "time in the daemon");
    ensure!(near(busy_ns, metrics.busy_ns), "time in use");
    // Of 48 requests on two threads all but the first two wait for one sleep or two.
    ensure!(queue_ns > 40.0 * 20e6, "nobody waited");
    Ok(())
}
