//! At which functions requests compute, against the application's own clocks of its threads.
//!
//! In: servers of an application with parts that compute. Out: verdicts. A share of samples has an error that
//! follows from their number; a busy machine gives fewer, and the bound is wider then.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::parts::{Parts, Seconds};
use wsgi_trace_test_support::steal::Stretch;
use wsgi_trace_test_support::trace::{Trace, Traced};

/// Beside the error of chance: the application's clocks count calls around the parts, too.
const BESIDE: f64 = 0.02;

/// Samples of an endpoint in this function of the application.
fn samples_in(endpoint: &Value, function: &str) -> anyhow::Result<u64> {
    let mut samples = 0;
    for line in endpoint["lines"].as_array().context("no lines")? {
        let frames = line.pointer("/place/frames").and_then(Value::as_array).context("no frames")?;
        let own = frames.iter().find(|frame| frame["whose"] == "own");
        // The innermost is the part, whatever of the library it calls.
        if own.is_some_and(|frame| frame["function"] == function) {
            samples += line["samples"].as_u64().context("no count")?;
        }
    }
    Ok(samples)
}

fn endpoint<'a>(traced: &'a Traced, name: &str) -> anyhow::Result<&'a Value> {
    let all = traced.value("/chains/computed")?.as_array().context("no list")?;
    all.iter().find(|one| one["endpoint"] == name).with_context(|| format!("no {name}"))
}

/// The shares of an endpoint's functions are those of its clocks.
fn agrees(
    (traced, server): (&Traced, Parts),
    path: &str,
    (before, after): (&Seconds, &Seconds),
) -> anyhow::Result<()> {
    let endpoint = endpoint(traced, &format!("GET {path}/{{number}}"))?;
    let of = |seconds: &Seconds, part: &str| {
        seconds.get(path).and_then(|parts| parts.get(part)).copied().unwrap_or(0.0)
    };
    let mut parts = Vec::new();
    for part in after.get(path).context("it was never asked for")?.keys() {
        parts.push((part, of(after, part) - of(before, part), samples_in(endpoint, part)?));
    }
    let seconds: f64 = parts.iter().map(|(_, seconds, _)| seconds).sum();
    let samples: u64 = parts.iter().map(|(.., samples)| samples).sum();
    eprintln!("{path}: {parts:?}, {samples} samples of {}", endpoint["samples"]);
    ensure!(samples >= 50, "{samples} samples");
    for (part, of_it, found) in &parts {
        let (truth, share) = (of_it / seconds, *found as f64 / samples as f64);
        let error = (truth * (1.0 - truth) / samples as f64).sqrt();
        ensure!((share - truth).abs() <= 4.0 * error + BESIDE, "{path} {part}: {share} is not {truth}");
    }
    // Most of what an endpoint does here in Python is in its parts. Where the server is Python, each sample
    // has a place, but for one of 20, and chance.
    let all = endpoint["samples"].as_u64().context("no count")?;
    let unplaced = endpoint["unplaced"].as_u64().context("no count")?;
    ensure!(samples * 2 > all - unplaced, "{samples} of {all} are in the parts, {unplaced} have no place");
    let expected = all as f64 / 20.0;
    let most = 4.0f64.mul_add(expected.sqrt(), expected);
    ensure!(server == Parts::Uwsgi || unplaced as f64 <= most, "{unplaced} of {all}");
    Ok(())
}

/// The share of an endpoint's samples that are in collections is that of the application's own clock.
fn collects(traced: &Traced, path: &str, seconds: &Seconds) -> anyhow::Result<()> {
    let endpoint = endpoint(traced, &format!("GET {path}/{{number}}"))?;
    let count = |key: &str| endpoint[key].as_u64().with_context(|| format!("no {key}"));
    let (samples, known, collecting) = (count("samples")?, count("collecting_known")?, count("collecting")?);
    let of = |path: &str| seconds.get(path).map_or(0.0, |parts| parts.values().sum::<f64>());
    let collected = seconds.get("collections").and_then(|paths| paths.get(path)).copied().unwrap_or(0.0);
    let truth = collected / of(path);
    eprintln!(
        "{path}: {collecting} of {samples} samples collect, of {known} it is known, {truth:.3} by its clock"
    );
    ensure!(samples >= 50, "{samples} samples");
    // Much of uWSGI's own work is outside Python.
    ensure!(known * 10 > samples * 8, "of {known} of {samples} samples it is known");
    let bound = 4.0 * (truth * (1.0 - truth) / samples as f64).sqrt() + 2.0 * BESIDE;
    let least = collecting as f64 / samples as f64;
    let most = (collecting + samples - known) as f64 / samples as f64;
    ensure!(least - bound <= truth && truth <= most + bound, "{path}: {truth} is not {least} to {most}");
    Ok(())
}

fn collections_are_counted_apart(server: Parts, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let running = Server::start(&server)?;
    let trace = Trace::start_with(running.pid(), options)?;
    // One after the other, so that hardly anybody else wants the lock.
    for path in ["/garbage", "/light"] {
        Load::run(running.address(), &["--seconds", "5", "--clients", "1", "--routes", path])?;
    }
    let seconds = Parts::seconds(running.address())?;
    let traced = trace.end()?;
    for path in ["/garbage", "/light"] {
        collects(&traced, path, &seconds)?;
    }
    let leaves = traced.value("/chains/leaves")?.as_array().context("no list")?;
    let is_own = |leaf: &&Value| leaf["kind"] == "computing" && leaf["hops"] == Value::Array(Vec::new());
    for (endpoint, is_collecting) in [("GET /garbage/{number}", true), ("GET /light/{number}", false)] {
        let leaf = leaves.iter().filter(is_own).find(|leaf| leaf["endpoint"] == endpoint);
        let leaf = leaf.with_context(|| format!("no leaf of {endpoint}"))?;
        ensure!(leaf["is_collecting"] == is_collecting, "{leaf}");
    }
    Ok(())
}

/// Slow requests that compute name the line, each with its own samples. `stolen_ns`: what a hypervisor took
/// meanwhile.
fn each_slow_request_has_its_line(traced: &Traced, seconds: &Seconds, stolen_ns: u64) -> anyhow::Result<()> {
    let slowest = traced.value("/requests/slowest")?.as_array().context("no list")?;
    let computed = traced.value("/chains/computed_of_requests")?.as_array().context("no list")?;
    let is_long = |request: &&Value| request["path"].as_str().is_some_and(|path| path.starts_with("/long/"));
    let (mut requests, mut samples) = (0_u64, 0);
    for request in slowest.iter().filter(is_long) {
        let of = computed.iter().find(|one| one["request"] == request["id"]).context("it has no sample")?;
        let own = of["samples"].as_u64().context("no count")?;
        let line = of.pointer("/lines/0/line").and_then(Value::as_str).context("no line")?;
        ensure!(line.ends_with(" in_loop"), "{line}");
        // A loop has several lines.
        let in_loop = samples_in(of, "in_loop")?;
        ensure!(own >= 3 && in_loop * 10 > own * 8, "{in_loop} of {own} samples are in the loop");
        (requests, samples) = (requests + 1, samples + own);
    }
    let clock = seconds.get("/long").and_then(|parts| parts.get("in_loop")).context("it never ran")?;
    eprintln!("/long: {samples} samples of {requests} requests that computed for {clock:.2} s");
    ensure!(requests >= 1, "no slow request was kept");
    // The clock ticks 99 times a second, also while the hypervisor has the CPU, which is no time of the
    // thread's; and the application's clock leaves out what is around its parts.
    let most = 99.0 * (stolen_ns as f64).mul_add(1e-9, clock * 1.1);
    ensure!(samples as f64 <= most + 4.0 * most.sqrt(), "{samples} samples of {clock} s");
    Ok(())
}

fn shares_are_those_of_the_clocks(server: Parts, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let running = Server::start(&server)?;
    let trace = Trace::start_with(running.pid(), options)?;
    let before = Parts::seconds(running.address())?;
    let load = ["--seconds", "8", "--clients", "4", "--routes", "/report,/light"];
    Load::run(running.address(), &load)?;
    let long = ["--seconds", "3", "--clients", "1", "--routes", "/long"];
    let stretch = Stretch::begin();
    Load::run(running.address(), &long)?;
    let (stolen_ns, _) = stretch.stolen();
    let after = Parts::seconds(running.address())?;
    let traced = trace.end()?;
    for path in ["/report", "/light"] {
        agrees((&traced, server), path, (&before, &after))?;
    }
    each_slow_request_has_its_line(&traced, &after, stolen_ns)
}

#[test]
fn gunicorn_computes_where_its_threads_clocks_say() -> anyhow::Result<()> {
    shares_are_those_of_the_clocks(Parts::Gthread, &[])
}

#[test]
fn gunicorn_computes_where_its_threads_clocks_say_in_light_mode() -> anyhow::Result<()> {
    shares_are_those_of_the_clocks(Parts::Gthread, &["--light"])
}

#[test]
fn uwsgi_computes_where_its_threads_clocks_say() -> anyhow::Result<()> {
    shares_are_those_of_the_clocks(Parts::Uwsgi, &[])
}

#[test]
fn gunicorn_collects_garbage_as_the_applications_clock_says() -> anyhow::Result<()> {
    collections_are_counted_apart(Parts::Gthread, &[])
}

#[test]
fn gunicorn_collects_garbage_as_the_applications_clock_says_in_light_mode() -> anyhow::Result<()> {
    collections_are_counted_apart(Parts::Gthread, &["--light"])
}

#[test]
fn uwsgi_collects_garbage_as_the_applications_clock_says() -> anyhow::Result<()> {
    collections_are_counted_apart(Parts::Uwsgi, &[])
}
