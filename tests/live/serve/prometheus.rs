//! What Prometheus itself says of the agent's metrics.
//!
//! In: an agent on a real server, Debian's `promtool`. Out: verdicts; where that is not installed, a skip or
//! a failure.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::agent::Agent;
use wsgi_trace_test_support::gate::{missing, shared};
use wsgi_trace_test_support::require_bpf;

use super::{ask, free_port, gunicorn_on};

#[test]
fn promtool_finds_nothing_to_object_to() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    if Command::new("promtool").arg("--version").output().is_err() {
        missing("promtool");
        return Ok(());
    }
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let rows = tempfile::tempdir()?;
    let rows_path = rows.path().display().to_string();
    let agent = Agent::watching(&port.to_string(), &["--full", "--window", "1s", "--parquet", &rows_path])?;
    for path in ["/", "/a\"b", "/cpu/5"] {
        ask(port, path)?;
    }
    agent.wait_for_metrics("a window", |samples| {
        samples.contains_key("wsgi_trace_finding_present{finding=\"herd\"}")
            && samples.contains_key("wsgi_trace_requests_in_flight")
            && samples.contains_key("wsgi_trace_parquet_budget_bytes")
    })?;
    let text = agent.get("/metrics")?.body;
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    check.stdin.take().context("no standard input")?.write_all(text.as_bytes())?;
    let outcome = check.wait_with_output()?;
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(outcome.status.success() && said.is_empty(), "{said}");

    let host = agent.address();
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n{accept}\r\nConnection: close\r\n\r\n");
    let rich = agent.ask(&request)?;
    ensure!(rich.head.contains("application/openmetrics-text") && rich.body.ends_with("# EOF\n"));
    Ok(())
}
