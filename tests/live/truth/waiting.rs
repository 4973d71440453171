//! At which functions requests wait, against what they asked for and the application's clock.
//!
//! In: servers of an application with parts that sleep. Out: verdicts. A thread sleeps for as long as it
//! asked, at least, and shorter than the clock around it says, on any machine. Samples have an error of
//! chance besides.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::parts::{Parts, Seconds};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// What a request asks for in each part, in seconds. Short sleeps are of 0.5 ms each.
const QUERIES: [(&str, f64); 3] = [("in_short_sleeps", 0.02), ("in_poll", 0.004), ("in_long_sleep", 0.016)];
const NAP: [(&str, f64); 1] = [("in_long_sleep", 0.016)];
/// Time between the moment at which a deadline is reckoned and that at which the thread sleeps.
const BESIDE: f64 = 0.05;

/// How long the requests of an endpoint slept in a function, and the standard error of it, in seconds.
fn slept(endpoint: &Value, function: &str) -> anyhow::Result<(f64, f64)> {
    let all_ns = endpoint["slept_ns"].as_u64().context("no time")? as f64;
    let (mut sum_ns, mut variance) = (0.0, 0.0);
    for line in endpoint["lines"].as_array().context("no lines")? {
        let frames = line.pointer("/place/frames").and_then(Value::as_array).context("no frames")?;
        if !frames.iter().any(|frame| frame["function"] == function) {
            continue;
        }
        sum_ns += line["slept_ns"].as_u64().context("no time")? as f64;
        variance += (line["of_endpoint_error_ratio"].as_f64().context("no error")? * all_ns).powi(2);
    }
    Ok((sum_ns / 1e9, variance.sqrt() / 1e9))
}

fn agrees(
    traced: &Traced,
    (path, parts): (&str, &[(&str, f64)]),
    requests: f64,
    clocks: &Seconds,
) -> anyhow::Result<()> {
    let name = format!("GET {path}/{{number}}");
    let all = traced.value("/chains/waited")?.as_array().context("no list")?;
    let endpoint = all.iter().find(|one| one["endpoint"] == *name).with_context(|| format!("no {name}"))?;
    for (part, each) in parts {
        let (found, error) = slept(endpoint, part)?;
        let clock = clocks.get(path).and_then(|parts| parts.get(*part)).context("the part never ran")?;
        let asked = requests * each;
        eprintln!("{path} {part}: asked {asked:.2} s, found {found:.2} ± {error:.2} s, clock {clock:.2} s");
        // Of few samples the error is told too small: it is that of as many as there should have been.
        let error_of_asked = error * (asked / found).max(1.0).sqrt();
        ensure!(found >= asked * (1.0 - BESIDE) - 4.0 * error_of_asked, "{part}: {found} s of {asked} s");
        ensure!(found <= clock * (1.0 + BESIDE) + 4.0 * error, "{part}: {found} s of at most {clock} s");
    }
    Ok(())
}

fn waits_are_between_what_was_asked_and_the_clock(server: Parts) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let running = Server::start(&server)?;
    let trace = Trace::start(running.pid())?;
    let load = ["--seconds", "8", "--clients", "3", "--routes", "/queries,/nap"];
    let sent = Load::run(running.address(), &load)?;
    let clocks = Parts::seconds(running.address())?;
    let traced = trace.end()?;
    for of in [("/queries", QUERIES.as_slice()), ("/nap", &NAP)] {
        let requests = sent.requests.iter().filter(|request| request.path.starts_with(of.0)).count();
        agrees(&traced, of, requests as f64, &clocks)?;
    }
    Ok(())
}

#[test]
fn gunicorn_waits_where_its_application_asked_to() -> anyhow::Result<()> {
    waits_are_between_what_was_asked_and_the_clock(Parts::Gthread)
}

#[test]
fn uwsgi_waits_where_its_application_asked_to() -> anyhow::Result<()> {
    waits_are_between_what_was_asked_and_the_clock(Parts::Uwsgi)
}
