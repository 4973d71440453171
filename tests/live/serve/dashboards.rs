//! The dashboards and alerts against a real Prometheus that scrapes the agent on a server under load.
//!
//! In: `dashboards/`, Debian's `prometheus`. Out: verdicts; skipped where that is not installed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;
use wsgi_trace_test_support::agent::Agent;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::gate::{missing, shared};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;

use super::{free_port, port};

const DASHBOARDS: [&str; 2] = ["raw-requests.json", "waiting.json"];

/// A file of `dashboards/`.
pub(super) fn file(name: &str) -> PathBuf {
    wsgi_trace_test_support::root().join("dashboards").join(name)
}

/// Every query of every panel: dashboard, panel, expression.
pub(super) fn queries() -> anyhow::Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for name in DASHBOARDS {
        let board: Value = serde_json::from_str(&std::fs::read_to_string(file(name))?)?;
        for panel in board.pointer("/panels").and_then(Value::as_array).context("no panels")? {
            let title = panel.get("title").and_then(Value::as_str).unwrap_or_default();
            for target in panel.get("targets").and_then(Value::as_array).context("no targets")? {
                let expression = target.get("expr").and_then(Value::as_str).context("no expression")?;
                queries.push((format!("{name}: {title}"), expression.to_owned()));
            }
        }
    }
    Ok(queries)
}

/// A Prometheus of our own.
struct Prometheus {
    _child: Child,
    _directory: TempDir,
    port: u16,
}

impl Prometheus {
    fn start(target: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("prometheus.yml");
        let rules = file("alerts.yml").display().to_string();
        std::fs::write(
            &configuration,
            format!(
                "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\nrule_files: [\"{rules}\"]\n\
                 scrape_configs:\n  - job_name: wsgi-trace\n    static_configs:\n      - targets: [\"{target}\"]\n"
            ),
        )?;
        let port = free_port()?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = Child::start(&mut command, "prometheus")?;
        let prometheus = Self { _child: child, _directory: directory, port };
        until("Prometheus to scrape", Duration::from_secs(30), || {
            Ok(prometheus.query("wsgi_trace_target_up").ok().filter(|found| !found.is_empty()))
        })?;
        Ok(prometheus)
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        let value: Value = serde_json::from_str(body)?;
        ensure!(value.get("status").and_then(Value::as_str) == Some("success"), "{body}");
        Ok(value)
    }

    /// The values of an instant query; those that are no number are left out.
    fn query(&self, expression: &str) -> anyhow::Result<Vec<f64>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"))?;
        let results = answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
        let values = results.iter().filter_map(|result| result.pointer("/value/1")?.as_str()?.parse().ok());
        Ok(values.filter(|value: &f64| !value.is_nan()).collect())
    }
}

#[test]
#[ignore = "make live: half a minute of scraping"]
fn every_query_of_every_panel_has_data_and_every_alert_is_evaluated() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    if Command::new("prometheus").arg("--version").output().is_err() {
        missing("prometheus");
        return Ok(());
    }
    let _others = shared()?;
    let mut server = Gunicorn::start(&Settings::gthread(Version::V27, 2, 2))?;
    let agent = Agent::watching(&port(server.address()), &["--full", "--window", "2s"])?;
    let options =
        ["--seconds", "90", "--requests", "200000", "--clients", "4", "--routes", "/cpu/5,/sleep/10,/fast"];
    let load = Load::start(server.address(), &options)?;
    agent.wait_for_metrics("a window", |samples| {
        samples.contains_key("wsgi_trace_finding_present{finding=\"herd\"}")
    })?;
    let prometheus = Prometheus::start(agent.address())?;
    let queries = queries()?;
    ensure!(queries.len() > 30, "only {} queries", queries.len());
    for (panel, expression) in &queries {
        let concrete = expression.replace("$__rate_interval", "10s").replace("$instance", ".+");
        ensure!(!concrete.contains('$'), "{panel}: {concrete}");
        until(&format!("data for {panel}: {concrete}"), Duration::from_secs(30), || {
            Ok(Some(prometheus.query(&concrete)?).filter(|values| !values.is_empty()))
        })?;
    }
    eprintln!("{} queries, all with data", queries.len());

    // What Prometheus has stored is what the agent says once there is no load.
    load.stop_early();
    load.finish()?;
    let all = agent.wait_for_metrics("the last request", |samples| {
        samples.get("wsgi_trace_requests_in_flight") == Some(&0.0)
    })?;
    let all = wsgi_trace_test_support::agent::sum(&all, "wsgi_trace_requests_total", &[]);
    until("Prometheus to have all requests", Duration::from_secs(10), || {
        let stored = prometheus.query("sum (wsgi_trace_requests_total)")?;
        Ok(stored.first().is_some_and(|stored| *stored >= all).then_some(()))
    })?;

    let groups = prometheus.get("/api/v1/rules")?;
    let groups = groups.pointer("/data/groups").and_then(Value::as_array).context("no groups")?;
    let rules = || groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten();
    let written = std::fs::read_to_string(file("alerts.yml"))?;
    let written = written.lines().filter(|line| line.trim_start().starts_with("- alert: ")).count();
    ensure!(written > 0 && rules().count() >= written, "{} of {written} rules", rules().count());
    for rule in rules() {
        ensure!(rule.get("health").and_then(Value::as_str) == Some("ok"), "{rule}");
    }
    server.stop();
    until("the alert on a server that is gone", Duration::from_secs(30), || {
        let alerts = prometheus.query("ALERTS{alertname=\"WsgiTargetGone\"}")?;
        Ok((!alerts.is_empty()).then_some(()))
    })
}
