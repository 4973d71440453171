//! One server under one load, watched for a few seconds.
//!
//! In: a recipe, its CPU quota, programs of clients. Out: what the report found, and what the clients saw by
//! their own clocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::setup::Change;
use crate::watched;
use wsgi_trace_test_support::load::SentRequest;
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::steal::Stretch;

/// How long a server is watched, as `--duration` takes it.
pub const WINDOW: &str = "4s";

/// What is read of the JSON report.
#[derive(Debug, Deserialize)]
pub struct Report {
    findings: Vec<Found>,
    window: Window,
    capacity: Capacity,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Window {
    start_ns: u64,
    length_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Capacity {
    workers: Vec<Worker>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    proportional_bytes: Option<u64>,
}

/// One finding.
#[derive(Clone, Debug, Deserialize)]
pub struct Found {
    /// Its name.
    pub id: String,
    /// `present`, `usual`, `undecided` or `absent`.
    pub answer: String,
    /// What to do, in sentences.
    pub advice: String,
    /// What it cost in the window.
    pub cost_request_seconds: Option<f64>,
    /// What its advice changes.
    pub settings: Vec<Change>,
}

impl Found {
    /// Whether it was found.
    pub fn is_present(&self) -> bool {
        self.answer == "present"
    }

    /// The first thing that it says to do which is settings: what is said for a case that `holds` here, or
    /// else what holds always. Its place in the advice, and the settings.
    pub fn first(&self, holds: &[&str]) -> (usize, Vec<Change>) {
        let applies = |change: &&Change| change.when.as_deref().is_none_or(|when| holds.contains(&when));
        let all = || self.settings.iter().filter(applies);
        let first = all().min_by_key(|change| (change.when.is_none(), change.alternative));
        let place = first.map_or(1, |change| change.alternative);
        (place, all().filter(|change| change.alternative == place).cloned().collect())
    }
}

/// What clients saw of one endpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Endpoint {
    /// Requests that were due in the window, sent or not.
    pub requests: usize,
    /// 99 % of them took no longer, from when they were due; one without an answer counts as longer than
    /// all. `None`: no answer.
    pub p99_ms: Option<f64>,
}

/// What one watch showed.
#[derive(Clone, Debug)]
pub struct Watched {
    findings: Vec<Found>,
    window_ns: u64,
    /// PSS of all workers; `None`: not known of each.
    pub proportional_bytes: Option<u64>,
    /// Answers a second, by the clients, to requests that were due in the window.
    pub per_second: f64,
    /// 99 % of the clients' requests that were answered took no longer, from when they were due; 0: none
    /// was.
    pub p99_ns: u64,
    /// Requests of the clients that could not be sent, got no answer, or 500 and above.
    pub failed: usize,
    /// What clients saw, by endpoint and by what is particular to how they ask.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Share of the CPUs' time that a hypervisor took meanwhile.
    pub stolen_ratio: f64,
}

impl Watched {
    /// Joins what the report says with what the clients saw in the same window.
    pub fn new(report: Report, sent: &[SentRequest], stolen_ratio: f64) -> Self {
        let Window { start_ns, length_ns } = report.window;
        let end_ns = start_ns.saturating_add(length_ns);
        let in_window: Vec<&SentRequest> =
            sent.iter().filter(|request| (start_ns..end_ns).contains(&request.due_ns)).collect();
        let failed =
            in_window.iter().filter(|request| request.status.is_none_or(|status| status >= 500)).count();
        let mut took: Vec<u64> = in_window.iter().filter_map(|request| took_ns(request)).collect();
        took.sort_unstable();
        let mut by_endpoint: BTreeMap<String, Vec<Option<u64>>> = BTreeMap::new();
        for request in &in_window {
            by_endpoint.entry(endpoint(request)).or_default().push(took_ns(request));
        }
        Self {
            findings: report.findings,
            window_ns: length_ns,
            proportional_bytes: report.capacity.workers.iter().map(|worker| worker.proportional_bytes).sum(),
            per_second: took.len() as f64 * 1e9 / length_ns.max(1) as f64,
            p99_ns: took.get(took.len() * 99 / 100).copied().unwrap_or(0),
            failed,
            endpoints: by_endpoint.into_iter().map(|(name, took)| (name, of_endpoint(took))).collect(),
            stolen_ratio,
        }
    }

    /// All that the report says, costliest first.
    pub fn findings(&self) -> impl Iterator<Item = &Found> {
        self.findings.iter()
    }

    /// What is said of the finding of this id.
    pub fn finding(&self, id: &str) -> Option<&Found> {
        self.findings.iter().find(|finding| finding.id == id)
    }

    /// Whether it was found.
    pub fn has(&self, id: &str) -> bool {
        self.finding(id).is_some_and(Found::is_present)
    }

    /// Ids of what is present, costliest first.
    pub fn present(&self) -> Vec<&str> {
        let present = self.findings.iter().filter(|finding| finding.is_present() && finding.id != "healthy");
        present.map(|finding| finding.id.as_str()).collect()
    }

    /// What a finding costs in each second, in request-seconds; 0 where it is not present.
    pub fn cost_rate(&self, id: &str) -> f64 {
        let cost =
            self.finding(id).filter(|found| found.is_present()).and_then(|found| found.cost_request_seconds);
        cost.unwrap_or(0.0) * 1e9 / (self.window_ns.max(1) as f64)
    }
}

/// Watches a server, under a quota of so many cores where one is given, and keeps its report as `file`.
///
/// # Errors
///
/// As [`watched::watch`].
pub fn watch(
    file: &Path,
    subject: (&dyn Recipe, Option<f64>),
    clients: &[&[&str]],
    run_up: Duration,
) -> anyhow::Result<Watched> {
    let stretch = Stretch::begin();
    let watched = watched::watch(subject, clients, (run_up, WINDOW), file)?;
    let report: Report = watched.report()?;
    let sent = watched.sent()?;
    let (_, stolen_ratio) = stretch.stolen();
    Ok(Watched::new(report, &sent, stolen_ratio))
}

/// How long its client waited for it, from when it was due; `None`: it got no answer. What was sent late was
/// late for who waited: a server that stops for a second delays all that was due in it.
fn took_ns(request: &SentRequest) -> Option<u64> {
    request.status.map(|_| request.end_ns.saturating_sub(request.due_ns))
}

/// `/sleep/300` of `/sleep/300/1000001`; before it how it was asked, where that is no plain GET.
fn endpoint(request: &SentRequest) -> String {
    let route = request.path.rsplit_once('/').map_or(request.path.as_str(), |(route, _)| route);
    if request.kind == "get" { route.to_owned() } else { format!("{} {route}", request.kind) }
}

fn of_endpoint(mut took: Vec<Option<u64>>) -> Endpoint {
    // Those without an answer last.
    took.sort_unstable_by_key(|took| took.unwrap_or(u64::MAX));
    let p99 = took.get(took.len() * 99 / 100).copied().flatten();
    Endpoint { requests: took.len(), p99_ms: p99.map(|took_ns| took_ns as f64 / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent a microsecond after it was due.
    fn sent(kind: &str, path: &str, due_ns: u64, took_ns: Option<u64>) -> SentRequest {
        serde_json::from_value(serde_json::json!({
            "id": 1, "kind": kind, "method": "GET", "path": path, "status": took_ns.map(|_| 200),
            "due_ns": due_ns, "sent_ns": due_ns + 1000, "end_ns": due_ns + took_ns.unwrap_or(0),
        }))
        .unwrap()
    }

    /// What clients saw in two seconds.
    fn watched(all: &[SentRequest]) -> Watched {
        let report = serde_json::json!({
            "findings": [], "capacity": {"workers": []},
            "window": {"start_ns": 1000, "length_ns": 2_000_000_000},
        });
        Watched::new(serde_json::from_value(report).unwrap(), all, 0.0)
    }

    #[test]
    fn clients_are_judged_by_endpoint_and_one_without_an_answer_waited_longest() {
        let all = [
            sent("get", "/fast/1", 1000, Some(1_000_000)),
            sent("get", "/fast/2", 2000, None),
            sent("slow_body", "/upload/3", 1500, Some(3_000_000)),
            sent("get", "/sleep/300/4", 1500, Some(2_000_000)),
            // Before the window.
            sent("get", "/fast/5", 999, Some(9_000_000)),
        ];
        let watched = watched(&all);
        let names: Vec<&str> = watched.endpoints.keys().map(String::as_str).collect();
        assert_eq!(names, ["/fast", "/sleep/300", "slow_body /upload"]);
        assert_eq!(watched.endpoints["/fast"], Endpoint { requests: 2, p99_ms: None });
        assert_eq!(watched.endpoints["/sleep/300"], Endpoint { requests: 1, p99_ms: Some(2.0) });
        assert_eq!((watched.failed, watched.per_second), (1, 1.5));
    }

    #[test]
    fn a_request_that_was_sent_late_took_from_when_it_was_due() {
        let mut late = sent("get", "/fast/1", 2000, Some(50_000_000));
        late.sent_ns = 49_000_000;
        // Due before the window and sent in it: it is none of its requests.
        let mut before = sent("get", "/fast/2", 999, Some(90_000_000));
        before.sent_ns = 50_000_000;
        let watched = watched(&[late, before]);
        assert_eq!(watched.endpoints["/fast"], Endpoint { requests: 1, p99_ms: Some(50.0) });
        assert_eq!((watched.p99_ns, watched.per_second), (50_000_000, 0.5));
    }

    #[test]
    fn what_could_not_be_sent_has_failed_and_waited_longest() {
        let mut refused = sent("get", "/fast/2", 3000, None);
        refused.sent_ns = 0;
        let watched = watched(&[sent("get", "/fast/1", 2000, Some(1_000_000)), refused]);
        assert_eq!(watched.endpoints["/fast"], Endpoint { requests: 2, p99_ms: None });
        assert_eq!((watched.failed, watched.per_second), (1, 0.5));
    }
}
