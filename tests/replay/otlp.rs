//! `--otlp`, from the command line to what a collector reads.
//!
//! In: `tests/recordings`, a collector that reads with OpenTelemetry's own library. Out: verdicts on spans,
//! metrics, words on stderr.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_test_support::collector::Collector;
use wsgi_trace_test_support::program::{Outcome, Program};
use wsgi_trace_test_support::root;
use wsgi_trace_test_support::trace::{TracedRequest, parse_requests};

fn report(recording: &str, url: &str) -> anyhow::Result<Outcome> {
    let path = root().join("tests/recordings").join(recording).display().to_string();
    Program::run(&["report", &path, "--format", "ndjson", "--otlp", url], Duration::from_secs(60))
}

fn finished(outcome: &Outcome) -> anyhow::Result<Vec<TracedRequest>> {
    Ok(parse_requests(&outcome.stdout)?.into_iter().filter(|request| !request.open).collect())
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(u64::MAX)
}

#[test]
fn every_finished_request_is_one_server_span_with_the_numbers_of_the_report() -> anyhow::Result<()> {
    let collector = Collector::start(0)?;
    let outcome = report("gthread-back-end.wtrace", &collector.url)?;
    assert!(outcome.status.success(), "{}", outcome.stderr);
    let requests = finished(&outcome)?;
    let (server, parts): (Vec<Value>, Vec<Value>) =
        collector.got("span")?.into_iter().partition(|span| span["kind"] == 2);
    assert!(requests.len() > 50 && server.len() == requests.len(), "{} spans", server.len());
    assert!(
        outcome.stderr.contains(&format!("{} spans sent\n", server.len() + parts.len())),
        "{}",
        outcome.stderr
    );

    // Both in the order in which they came to their ends.
    for (request, span) in requests.iter().zip(&server) {
        let length_ns = number(&span["end_ns"]) - number(&span["start_ns"]);
        let attributes = &span["attributes"];
        assert_eq!(length_ns, request.total_ns);
        assert_eq!(attributes["url.path"].as_str(), request.path.as_deref());
        assert_eq!(attributes["http.response.status_code"].as_u64(), request.status.map(u64::from));
        for (phase, duration_ns) in &request.phases {
            let told = attributes.get(format!("wsgi_trace.phase.{phase}_ns")).map_or(0, number);
            assert_eq!(told, duration_ns.unwrap_or(0), "{phase}");
        }
    }
    let owners: BTreeMap<&str, &Value> =
        server.iter().filter_map(|span| Some((span["span_id"].as_str()?, span))).collect();
    assert_eq!(owners.len(), server.len(), "span ids are not unique");
    for part in &parts {
        let owner = part["parent_span_id"].as_str().and_then(|id| owners.get(id)).context("no parent")?;
        assert_eq!(part["trace_id"], owner["trace_id"]);
    }
    Ok(())
}

#[test]
fn metrics_count_what_the_spans_show() -> anyhow::Result<()> {
    let collector = Collector::start(0)?;
    let outcome = report("sync-healthy.wtrace", &collector.url)?;
    let requests = finished(&outcome)?;
    let metrics = collector.got("metric")?;
    let duration =
        metrics.iter().find(|m| m["name"] == "http.server.request.duration").context("no durations")?;
    let points = duration["histogram"]["dataPoints"].as_array().context("no points")?;
    let counted: u64 = points.iter().map(|point| number(&point["count"])).sum();
    assert_eq!(counted, requests.len() as u64);
    let seconds: f64 = points.iter().filter_map(|point| point["sum"].as_f64()).sum();
    let total_ns: u64 = requests.iter().map(|request| request.total_ns).sum();
    assert!((seconds - total_ns as f64 / 1e9).abs() < 1e-6, "{seconds} s");
    Ok(())
}

/// A metric without the times of its points: those of a report are when it was made.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["startTimeUnixNano", "timeUnixNano"].contains(&name.as_str()));
            fields.values_mut().for_each(without_times);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// As text, so that they can be sorted: a collector may pass them on in another order.
fn sorted(mut values: Vec<Value>) -> Vec<String> {
    values.iter_mut().for_each(without_times);
    let mut lines: Vec<String> = values.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn collector_of_others_takes_every_span_and_metric_as_it_is() -> anyhow::Result<()> {
    let (ours, others) = (Collector::start(0)?, Collector::behind_rotel()?);
    for url in [&ours.url, &others.url] {
        let outcome = report("gthread-back-end.wtrace", url)?;
        assert!(outcome.status.success(), "{}", outcome.stderr);
    }
    for key in ["span", "metric"] {
        let straight = ours.got(key)?;
        assert!(!straight.is_empty(), "no {key}");
        let passed_on = others.wait(key, straight.len())?;
        assert_eq!(sorted(passed_on), sorted(straight));
    }
    Ok(())
}

#[test]
fn overloaded_collector_gets_the_same_spans_again_until_it_takes_them() -> anyhow::Result<()> {
    let collector = Collector::start(2)?;
    let outcome = report("sync-exhausted.wtrace", &collector.url)?;
    let spans = collector.got("span")?.into_iter().filter(|span| span["kind"] == 2).count();
    assert_eq!(spans, finished(&outcome)?.len(), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("lost"), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn collector_that_is_away_costs_no_report_and_every_lost_request_is_counted() -> anyhow::Result<()> {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let outcome = report("gthread-healthy.wtrace", &format!("http://{nobody}"))?;
    assert!(outcome.status.success(), "{}", outcome.stderr);
    let lost = format!("0 spans sent, {} requests lost", finished(&outcome)?.len());
    assert!(outcome.stderr.contains(&lost), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn url_that_cannot_be_sent_to_is_refused_before_anything_is_read() -> anyhow::Result<()> {
    let outcome = report("gthread-healthy.wtrace", "https://collector.example")?;
    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.contains("https is not spoken"), "{}", outcome.stderr);
    assert!(outcome.stdout.is_empty());
    Ok(())
}
