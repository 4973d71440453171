//! What changed: the whole, phase by phase, endpoint by endpoint, finding by finding, setting by setting.
//!
//! In: two [`Side`]s. Out: a [`Difference`]. Means are per completed request, in nanoseconds.

use std::collections::{BTreeMap, BTreeSet};

use super::capacity::CapacityChange;
use super::comparable::doubts;
use super::difference::{
    Counts, Difference, EndpointChange, EndpointOfOne, FindingChange, PhaseChange, SettingChange,
};
use super::side::{Endpoint, Latency, Side, StandardError};
use super::statistics::{Change, Mean, compare as compare_means};
use super::verdict::verdict;

/// Probability of saying that something changed although nothing did: for the whole, and for each family of
/// comparisons (all phases, all endpoints) together.
const ALPHA: f64 = 0.05;
/// A change below this is none, however sure: it is within what the measurement itself varies by.
const FLOOR_NS: f64 = 1_000.0;

/// Compares two runs.
pub fn compare(a: &Side, b: &Side) -> Difference {
    let doubts = doubts(a, b);
    let comparable = !doubts.iter().any(|doubt| doubt.forbids_verdict);
    let whole = [Whole::of(a), Whole::of(b)];
    let total_ns = whole[0].total.against(whole[1].total, ALPHA);
    let (phases_ns, phases_not_compared) = phases(a, b, &whole);
    let endpoints = endpoints(a, b);
    let findings = findings(a, b);
    let mut difference = Difference {
        diff_schema_version: "1.0",
        verdict: String::new(),
        comparable,
        doubts,
        confidence_ratio: 1.0 - ALPHA,
        settings: settings(a, b),
        capacity: CapacityChange::of(a, b),
        requests: Counts {
            completed: [a.requests.completed, b.requests.completed],
            rate_per_second: [a.rate(), b.rate()],
            p99_ns: [a.requests.total.p99_ns, b.requests.total.p99_ns],
            before_p50_ns: [a, b].map(|side| before(side)?.p50_ns),
            before_p99_ns: [a, b].map(|side| before(side)?.p99_ns),
        },
        total_ns,
        phases_ns,
        phases_not_compared,
        endpoints,
        endpoints_of_one: of_one(a, b),
        findings,
    };
    difference.verdict = verdict(&difference);
    difference
}

/// Means over all completed requests of a run.
struct Whole {
    total: Mean,
    phases: BTreeMap<String, Mean>,
}

impl Mean {
    fn against(self, other: Self, alpha: f64) -> Change {
        compare_means(self, other, alpha, FLOOR_NS)
    }
}

fn mean(sum_ns: u64, count: u64, error_ns: Option<u64>, error: &StandardError) -> Mean {
    let value = sum_ns as f64 / count.max(1) as f64;
    Mean { value, error: error_ns.map(|error_ns| error_ns as f64), batches: error.batches }
}

/// How long requests were on their way before the server, by the stamps of a front end.
fn before(side: &Side) -> Option<&Latency> {
    side.requests.request_start.as_ref().map(|start| &start.before).filter(|before| before.count > 0)
}

fn sum_ns(phases: &BTreeMap<String, Option<u64>>) -> u64 {
    phases.values().flatten().fold(0, |sum, value| sum.saturating_add(*value))
}

impl Whole {
    fn of(side: &Side) -> Self {
        // Of completed requests only: what was open at the end has no length yet.
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (phase, duration_ns) in side.endpoints.iter().flat_map(|endpoint| &endpoint.phases) {
            let sum = sums.entry(phase.clone()).or_default();
            *sum = sum.saturating_add(duration_ns.unwrap_or(0));
        }
        let count = side.requests_of_endpoints();
        let error = &side.requests.standard_error;
        let phase_mean =
            |name: &str, sum_ns: u64| mean(sum_ns, count, error.phases.get(name).copied().flatten(), error);
        let phases = sums.iter().map(|(name, sum_ns)| (name.clone(), phase_mean(name, *sum_ns))).collect();
        let all_ns = sums.values().fold(0_u64, |all, sum_ns| all.saturating_add(*sum_ns));
        Self { total: mean(all_ns, count, error.total_ns, error), phases }
    }
}

fn phases(a: &Side, b: &Side, whole: &[Whole; 2]) -> (Vec<PhaseChange>, Vec<String>) {
    let measured = |side: &Side, name: &str| side.phases.get(name).is_some_and(Option::is_some);
    let names: BTreeSet<&String> = a.phases.keys().chain(b.phases.keys()).collect();
    let (both, one): (Vec<&String>, Vec<&String>) = names
        .into_iter()
        .filter(|name| measured(a, name) || measured(b, name))
        .partition(|name| measured(a, name) && measured(b, name));
    let zero = Mean { value: 0.0, error: None, batches: 0 };
    let of = |whole: &Whole, name: &str| whole.phases.get(name).copied().unwrap_or(zero);
    let with_time: Vec<&String> =
        both.into_iter().filter(|name| whole.iter().any(|whole| of(whole, name).value > 0.0)).collect();
    let alpha = ALPHA / with_time.len().max(1) as f64;
    let [whole_a, whole_b] = whole;
    let mut changes: Vec<PhaseChange> = with_time
        .into_iter()
        .map(|name| PhaseChange {
            phase: name.clone(),
            change: of(whole_a, name).against(of(whole_b, name), alpha),
        })
        .collect();
    changes.sort_by(|one, other| other.change.difference.abs().total_cmp(&one.change.difference.abs()));
    (changes, one.into_iter().cloned().collect())
}

fn endpoints(a: &Side, b: &Side) -> Vec<EndpointChange> {
    let pairs: Vec<(&Endpoint, &Endpoint)> = a
        .endpoints
        .iter()
        .filter(|endpoint| !endpoint.is_remainder)
        .filter_map(|one| Some((one, b.endpoints.iter().find(|other| other.name() == one.name())?)))
        .collect();
    let alpha = ALPHA / pairs.len().max(1) as f64;
    let of = |endpoint: &Endpoint| {
        let error = &endpoint.standard_error;
        mean(sum_ns(&endpoint.phases), endpoint.count, error.total_ns, error)
    };
    let mut changes: Vec<EndpointChange> = pairs
        .into_iter()
        .map(|(one, other)| {
            let total_ns = of(one).against(of(other), alpha);
            EndpointChange {
                endpoint: one.name(),
                count: [one.count, other.count],
                total_ns,
                p50_ns: [one.total.p50_ns, other.total.p50_ns],
                p99_ns: [one.total.p99_ns, other.total.p99_ns],
                mostly: mostly(one, other, total_ns.difference),
                cost_request_seconds: total_ns.difference * other.count as f64 / 1e9,
            }
        })
        .collect();
    changes.sort_by(|one, other| other.cost_request_seconds.abs().total_cmp(&one.cost_request_seconds.abs()));
    changes
}

/// The phase that moved most in the direction of the whole.
fn mostly(one: &Endpoint, other: &Endpoint, difference: f64) -> Option<(String, f64)> {
    let of = |endpoint: &Endpoint, phase: &str| {
        endpoint.phases.get(phase).copied().flatten().unwrap_or(0) as f64 / endpoint.count.max(1) as f64
    };
    let names: BTreeSet<&String> = one.phases.keys().chain(other.phases.keys()).collect();
    names
        .into_iter()
        .map(|name| (name.clone(), of(other, name) - of(one, name)))
        .filter(|(_, change)| change * difference > 0.0)
        .max_by(|left, right| left.1.abs().total_cmp(&right.1.abs()))
}

fn of_one(a: &Side, b: &Side) -> Vec<EndpointOfOne> {
    let only = |side: &Side, other: &Side, run: &'static str| {
        let missing = |endpoint: &&Endpoint| {
            !endpoint.is_remainder && !other.endpoints.iter().any(|known| known.name() == endpoint.name())
        };
        let of =
            |endpoint: &Endpoint| EndpointOfOne { endpoint: endpoint.name(), run, count: endpoint.count };
        side.endpoints.iter().filter(missing).map(of).collect::<Vec<_>>()
    };
    [only(a, b, "A"), only(b, a, "B")].concat()
}

fn settings(a: &Side, b: &Side) -> Vec<SettingChange> {
    let all = |side: &Side| {
        let server = &side.target.server;
        let mut all: BTreeMap<String, String> =
            server.settings.iter().map(|setting| (setting.name.clone(), setting.value.clone())).collect();
        all.insert("server".to_owned(), server.name.clone());
        all.insert("worker_class".to_owned(), server.worker_class.clone());
        for (name, value) in [("version", &server.version), ("python_version", &server.python_version)] {
            if let Some(value) = value {
                all.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(slots) = side.slots.configured {
            all.insert("slots".to_owned(), slots.to_string());
        }
        // Where it listens is no experiment.
        all.remove("bind");
        all
    };
    let (one, other) = (all(a), all(b));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name))
        .map(|name| SettingChange {
            name: name.clone(),
            a: one.get(name).cloned(),
            b: other.get(name).cloned(),
        })
        .collect()
}

fn findings(a: &Side, b: &Side) -> Vec<FindingChange> {
    let ids: BTreeSet<&String> = a.findings.iter().chain(&b.findings).map(|finding| &finding.id).collect();
    // That nothing is wrong is said by the absence of the others.
    let ids = ids.into_iter().filter(|id| *id != "healthy");
    let mut changes: Vec<FindingChange> = ids.filter_map(|id| finding(a, b, id)).collect();
    let weight = |change: &FindingChange| change.cost_rate.iter().copied().fold(0.0, f64::max);
    changes.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    changes
}

/// What is usual is accused no more than what is absent.
fn accused(answer: &str) -> &str {
    if answer == "usual" { "absent" } else { answer }
}

fn finding(a: &Side, b: &Side, id: &str) -> Option<FindingChange> {
    let of = |side: &Side| side.findings.iter().find(|finding| finding.id == id).cloned().unwrap_or_default();
    let (one, other) = (of(a), of(b));
    let what = match (accused(&one.answer), accused(&other.answer)) {
        ("present", "present") => "still",
        ("present", "absent") => "gone",
        ("absent", "present") => "new",
        (same, other) if same == other => return None,
        ("", _) | (_, "") => return None,
        _ => "undecided",
    };
    let rate = |side: &Side, cost: Option<f64>| {
        let seconds = side.window.length_ns as f64 / 1e9;
        if seconds > 0.0 { cost.unwrap_or(0.0) / seconds } else { 0.0 }
    };
    Some(FindingChange {
        id: id.to_owned(),
        what,
        cost_rate: [rate(a, one.cost_request_seconds), rate(b, other.cost_request_seconds)],
        sentence: if what == "gone" { one.sentence } else { other.sentence },
        answers: [one.answer, other.answer],
    })
}
