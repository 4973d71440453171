//! One server under one load, watched for a few seconds.
//!
//! In: a setup, a load. Out: what the report found, and what the clients saw by their own clocks.

use serde::Deserialize;
use wsgi_trace_tests::load::SentRequest;
use wsgi_trace_tests::watched;

use crate::setup::{Change, Setup};
use crate::work::Work;

/// How long a server is watched, as `--duration` takes it.
const WINDOW: &str = "4s";

/// What is read of the JSON report.
#[derive(Debug, Deserialize)]
struct Report {
    findings: Vec<Found>,
    window: Window,
    capacity: Capacity,
}

#[derive(Debug, Deserialize)]
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
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) answer: String,
    pub(crate) advice: String,
    pub(crate) cost_request_seconds: Option<f64>,
    pub(crate) settings: Vec<Change>,
    pub(crate) yields_to: Option<String>,
}

impl Found {
    pub(crate) fn is_present(&self) -> bool {
        self.answer == "present"
    }

    /// The first thing that it says to do which is settings: what is said for a case that `holds` here, or else what holds always.
    /// Its place in the advice, and the settings.
    pub(crate) fn first(&self, holds: &[&str]) -> (usize, Vec<Change>) {
        let applies = |change: &&Change| change.when.as_deref().is_none_or(|when| holds.contains(&when));
        let all = || self.settings.iter().filter(applies);
        let first = all().min_by_key(|change| (change.when.is_none(), change.alternative));
        let place = first.map_or(1, |change| change.alternative);
        (place, all().filter(|change| change.alternative == place).cloned().collect())
    }
}

/// What one watch showed.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    findings: Vec<Found>,
    window_ns: u64,
    /// PSS of all workers; `None`: not known of each.
    pub(crate) proportional_bytes: Option<u64>,
    /// Answers a second, by the clients.
    pub(crate) per_second: f64,
    /// 99 % of the clients' requests took no longer, connecting included; 0: none was answered.
    pub(crate) p99_ns: u64,
    /// Requests of the clients that got no answer, or 500 and above.
    pub(crate) failed: usize,
}

impl Watched {
    pub(crate) fn finding(&self, id: &str) -> Option<&Found> {
        self.findings.iter().find(|finding| finding.id == id)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.finding(id).is_some_and(Found::is_present)
    }

    /// The finding whose advice a person follows on this one: where it yields to another's, that.
    pub(crate) fn advised(&self, id: &str) -> Option<&Found> {
        let found = self.finding(id)?;
        Some(found.yields_to.as_deref().and_then(|other| self.finding(other)).unwrap_or(found))
    }

    /// Ids of what is present, costliest first.
    pub(crate) fn present(&self) -> Vec<&str> {
        let present = self.findings.iter().filter(|finding| finding.is_present() && finding.id != "healthy");
        present.map(|finding| finding.id.as_str()).collect()
    }

    /// What a finding costs in each second, in request-seconds; 0 where it is not present.
    pub(crate) fn cost_rate(&self, id: &str) -> f64 {
        let cost =
            self.finding(id).filter(|found| found.is_present()).and_then(|found| found.cost_request_seconds);
        cost.unwrap_or(0.0) * 1e9 / (self.window_ns.max(1) as f64)
    }
}

/// Watches it once, and keeps its report as `target/advice/NAME.json`.
pub(crate) fn watch(name: &str, setup: &Setup, work: &Work) -> anyhow::Result<Watched> {
    let recipe = setup.recipe();
    let file = wsgi_trace_tests::root().join("target/advice").join(format!("{name}.json"));
    let watched =
        watched::watch((recipe.as_ref(), setup.quota_cores()), work.clients, (work.run_up, WINDOW), &file)?;
    let report: Report = watched.report()?;
    let sent = watched.sent()?;
    // The clients' requests of the same window.
    let Window { start_ns, length_ns } = report.window;
    let end_ns = start_ns.saturating_add(length_ns);
    let in_window: Vec<&SentRequest> =
        sent.iter().filter(|request| (start_ns..end_ns).contains(&request.sent_ns)).collect();
    let failed = in_window.iter().filter(|request| request.status.is_none_or(|status| status >= 500)).count();
    let mut took_ns: Vec<u64> = in_window
        .iter()
        .filter(|request| request.status.is_some())
        .map(|request| request.end_ns.saturating_sub(request.sent_ns) + request.connect_ns)
        .collect();
    took_ns.sort_unstable();
    let p99_ns = took_ns.get(took_ns.len() * 99 / 100).copied().unwrap_or(0);
    Ok(Watched {
        findings: report.findings,
        window_ns: length_ns,
        proportional_bytes: report.capacity.workers.iter().map(|worker| worker.proportional_bytes).sum(),
        per_second: took_ns.len() as f64 * 1e9 / length_ns.max(1) as f64,
        p99_ns,
        failed,
    })
}
