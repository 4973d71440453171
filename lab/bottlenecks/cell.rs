//! One cell: a server started again, its clients at work, a few seconds watched, the first finding.
//!
//! In: a server and a workload. Out: a [`Cell`], whatever happens: each step has a limit, and a failure is an
//! answer.

use std::path::Path;

use serde::{Deserialize, Serialize};
use wsgi_trace_lab::bottlenecks::server::Subject;
use wsgi_trace_lab::bottlenecks::workload::Workload;
use wsgi_trace_lab::watched::watch;

/// How long a server is watched, as `--duration` takes it.
pub(crate) const WINDOW: &str = "3s";

/// What kind of answer a cell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// A finding is present.
    Finding,
    /// Nothing wrong was found.
    Healthy,
    /// No finding is present, and that all is well cannot be said.
    Undecided,
    /// There is no report.
    Failed,
}

impl Outcome {
    /// In the table.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Healthy => "healthy",
            Self::Undecided => "undecided",
            Self::Failed => "failed",
        }
    }
}

/// One answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    /// Name of the server's setup.
    pub(crate) server: &'static str,
    /// Name of the workload.
    pub(crate) workload: &'static str,
    /// Kind of answer.
    pub(crate) outcome: Outcome,
    /// Id of the first finding that is present.
    pub(crate) finding: Option<String>,
    /// The finding's sentence; that of `healthy` where none is present.
    pub(crate) sentence: Option<String>,
    /// What it advises.
    pub(crate) advice: Option<String>,
    /// What it cost: request-seconds for each second.
    pub(crate) cost_per_second: Option<f64>,
    /// Further findings that are present, costliest first.
    pub(crate) also: Vec<String>,
    /// Requests completed in the window.
    pub(crate) requests_completed: Option<u64>,
    /// Nothing was lost.
    pub(crate) complete: Option<bool>,
    /// The server as the report names it, with its version.
    pub(crate) recognised: Option<String>,
    /// Its Python.
    pub(crate) python: Option<String>,
    /// Why there is no report.
    pub(crate) why: Option<String>,
}

/// A cell without an answer.
pub(crate) fn not_run(subject: &Subject, workload: &Workload, why: &str) -> Cell {
    Cell {
        server: subject.name,
        workload: workload.name,
        outcome: Outcome::Failed,
        finding: None,
        sentence: None,
        advice: None,
        cost_per_second: None,
        also: Vec::new(),
        requests_completed: None,
        complete: None,
        recognised: None,
        python: None,
        why: Some(why.to_owned()),
    }
}

/// Runs it, and keeps its report in the directory `reports`.
pub(crate) fn run(subject: &Subject, workload: &Workload, reports: &Path) -> Cell {
    match try_run(subject, workload, reports) {
        Ok(report) => answer(subject, workload, report),
        Err(error) => not_run(subject, workload, &format!("{error:#}")),
    }
}

/// What is read of the JSON report.
#[derive(Debug, Deserialize)]
struct Report {
    target: Target,
    window: Window,
    losses: Losses,
    findings: Vec<Finding>,
    requests: Requests,
}

#[derive(Debug, Deserialize)]
struct Target {
    server: RecognisedServer,
}

#[derive(Debug, Deserialize)]
struct RecognisedServer {
    name: String,
    version: Option<String>,
    python_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Window {
    length_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Losses {
    is_complete: bool,
}

#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    answer: String,
    sentence: String,
    advice: String,
    cost_request_seconds: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Requests {
    completed: u64,
}

fn try_run(subject: &Subject, workload: &Workload, reports: &Path) -> anyhow::Result<Report> {
    let recipe = (subject.recipe)();
    let routes = format!("--routes={}", workload.routes_for(subject.kind));
    let clients = [&["--no-requests", routes.as_str()][..], workload.clients].concat();
    let file = reports.join(format!("{}-{}.json", subject.name, workload.name));
    let watched = watch((recipe.as_ref(), None), &[&clients], (workload.run_up, WINDOW), &file)?;
    let report = watched.report()?;
    watched.cut();
    Ok(report)
}

fn answer(subject: &Subject, workload: &Workload, report: Report) -> Cell {
    let Report { target, window, losses, findings, requests } = report;
    let is_present = |finding: &&Finding| finding.answer == "present" && finding.id != "healthy";
    let present: Vec<&Finding> = findings.iter().filter(is_present).collect();
    let healthy = findings.iter().find(|finding| finding.id == "healthy");
    let outcome = match healthy {
        _ if !present.is_empty() => Outcome::Finding,
        Some(finding) if finding.answer == "present" => Outcome::Healthy,
        _ => Outcome::Undecided,
    };
    let shown = present.first().copied().or(healthy);
    let seconds = window.length_ns as f64 / 1e9;
    let cost = present.first().and_then(|finding| finding.cost_request_seconds);
    let RecognisedServer { name, version, python_version } = target.server;
    Cell {
        outcome,
        finding: present.first().map(|finding| finding.id.clone()),
        sentence: shown.map(|finding| finding.sentence.clone()),
        advice: shown.map(|finding| finding.advice.clone()).filter(|advice| !advice.is_empty()),
        cost_per_second: cost.filter(|_| seconds > 0.0).map(|cost| (cost / seconds * 1e3).round() / 1e3),
        also: present.iter().skip(1).map(|finding| finding.id.clone()).collect(),
        requests_completed: Some(requests.completed),
        complete: Some(losses.is_complete),
        recognised: Some(version.map_or_else(|| name.clone(), |version| format!("{name} {version}"))),
        python: python_version,
        why: None,
        ..not_run(subject, workload, "")
    }
}

#[cfg(test)]
mod tests {
    use wsgi_trace_lab::bottlenecks::server::SUBJECTS;
    use wsgi_trace_lab::bottlenecks::workload::WORKLOADS;

    use super::*;

    fn cell(findings: &serde_json::Value) -> Cell {
        let report = serde_json::json!({
            "target": {"server": {"name": "gunicorn", "version": "27.0.1", "python_version": null}},
            "window": {"length_ns": 2_000_000_000_u64},
            "losses": {"is_complete": true},
            "requests": {"completed": 12},
            "findings": findings,
        });
        answer(&SUBJECTS[0], &WORKLOADS[0], serde_json::from_value(report).unwrap())
    }

    fn finding(id: &str, answer: &str, cost: f64) -> serde_json::Value {
        serde_json::json!({"id": id, "answer": answer, "sentence": id, "advice": "", "cost_request_seconds": cost})
    }

    #[test]
    fn the_costliest_present_finding_is_the_answer_and_the_others_stand_beside_it() {
        let found = cell(&serde_json::json!([
            finding("cpu-bound", "present", 5.0),
            finding("herd", "present", 1.0),
            finding("back-end", "absent", 0.0),
            finding("healthy", "absent", 0.0),
        ]));
        assert_eq!((found.outcome, found.finding.as_deref()), (Outcome::Finding, Some("cpu-bound")));
        assert_eq!((found.cost_per_second, found.also), (Some(2.5), vec!["herd".to_owned()]));
        assert_eq!(found.recognised.as_deref(), Some("gunicorn 27.0.1"));
    }

    #[test]
    fn where_nothing_is_present_it_is_said_whether_all_is_well_or_nobody_knows() {
        let well = cell(&serde_json::json!([finding("healthy", "present", 0.0)]));
        assert_eq!((well.outcome, well.sentence.as_deref()), (Outcome::Healthy, Some("healthy")));
        let unknown = cell(&serde_json::json!([finding("healthy", "undecided", 0.0)]));
        assert_eq!((unknown.outcome, unknown.finding), (Outcome::Undecided, None));
    }
}
