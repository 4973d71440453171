//! What stands out in the answers: a sentence each, with what to do.
//!
//! In: answers. Out: [`Notable`]s: hosts that differ, then deploys, then what runs out, then what else costs,
//! then connections that end badly. Which rows are significant is decided by the queries; here they become
//! sentences.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Answer, Row, shown};
use crate::report::unit::counted;

/// Share of time without a free slot from which it is worth a word.
const EXHAUSTED_RATIO: f64 = 0.05;
/// Share of connections that end badly, not by their clients' doing, from which it is.
const DROPPED_RATIO: f64 = 0.001;
/// Costs that are reported, beside those that have a sentence already.
const MAX_COSTS: usize = 5;

/// One thing that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notable {
    /// Name of the question that shows it.
    pub question: &'static str,
    /// What, and where. Hostile: it holds names of hosts and paths.
    pub sentence: String,
    /// Since which day, where that is known.
    pub since: Option<String>,
    /// What to do.
    pub advice: String,
}

/// All of them, the most important first.
pub(super) fn all(answers: &[Answer]) -> Vec<Notable> {
    let rows = |name: &str| {
        let answer = answers.iter().find(|answer| answer.question.name == name);
        answer.map_or(&[][..], |answer| answer.rows.as_slice())
    };
    let changes = rows("what-to-change");
    let mut list = outliers(rows("outlier-host"));
    list.extend(deploys(rows("deploy")));
    let mut told = BTreeSet::new();
    list.extend(capacity(rows("capacity"), changes, &mut told));
    list.extend(costs(changes, &told));
    list.extend(dropped(rows("dropped-connections")));
    list
}

fn text(row: &Row, name: &str) -> String {
    shown(row.get(name))
}

fn number(row: &Row, name: &str) -> f64 {
    row.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

fn whole(row: &Row, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// The first row of each group, in their order; of a group the row of a phase comes before that of the whole.
fn by_group<'a>(rows: &'a [Row], keys: &[&str]) -> Vec<&'a Row> {
    let group = |row: &Row| keys.iter().map(|key| text(row, key)).collect::<Vec<_>>();
    let mut seen = BTreeSet::new();
    let first = rows.iter().filter(|row| seen.insert(group(row))).map(|row| {
        let is_phase = |other: &&Row| group(other) == group(row) && text(other, "phase") != "total_ns";
        rows.iter().find(is_phase).unwrap_or(row)
    });
    first.collect()
}

/// A phase as reports call it.
fn phase(row: &Row) -> String {
    let name = text(row, "phase");
    if name == "total_ns" { "the whole request".to_owned() } else { name.trim_end_matches("_ns").to_owned() }
}

fn since(row: &Row) -> Option<String> {
    let day = row.get("since").and_then(Value::as_str)?;
    Some(day.split(' ').next().unwrap_or(day).to_owned())
}

fn outliers(rows: &[Row]) -> Vec<Notable> {
    let notable = |row: &Row| {
        let (host, service, hosts) = (text(row, "host"), text(row, "service"), number(row, "hosts"));
        let difference_ms = number(row, "difference_ms");
        let direction = if difference_ms < 0.0 { "less" } else { "more" };
        Notable {
            question: "outlier-host",
            sentence: format!(
                "Host {host} of {service} takes {:.1} ms {direction} in {} than the {:.0} other hosts: {:.1} ms a request where they take {:.1} (t {:.1}).",
                difference_ms.abs(),
                phase(row),
                (hosts - 1.0).max(0.0),
                number(row, "mean_ms"),
                number(row, "other_hosts_ms"),
                number(row, "t"),
            ),
            since: since(row),
            advice: format!(
                "{} Trace it and one of the others, and compare: wsgi-trace diff.",
                look_at(&text(row, "phase"))
            ),
        }
    };
    by_group(rows, &["service", "mode", "host"]).into_iter().map(notable).collect()
}

/// Where to look on a host that differs in this phase.
fn look_at(phase: &str) -> &'static str {
    match phase {
        "file_wait_ns" => "Look at its disk: iostat -x, and which device its files are on.",
        "child_wait_ns" => {
            "Look at the programs that its requests start: what they are, and what they wait for."
        }
        "fault_wait_ns" => "Look at its memory: page faults wait for a disk.",
        "backend_wait_ns" => {
            "Look at its way to the back end: which replica it asks, and through which network."
        }
        "cpu_ns" => "Look at its CPU: model, clock rate, and what its hypervisor takes.",
        "run_queue_ns" => "Look at who shares its CPUs, and at its CPU quota.",
        "gil_wait_ns" | "lock_wait_ns" => "Look at what else runs in its processes.",
        "accept_queue_ns" | "pool_wait_ns" | "loop_wait_ns" => {
            "Look at its share of the load, and at its number of workers and threads."
        }
        "client_read_stall_ns" | "client_write_stall_ns" | "read_head_ns" | "read_body_ns" | "write_ns" => {
            "Look at its network, and at which clients are sent to it."
        }
        _ => "Look at what is different on it.",
    }
}

fn deploys(rows: &[Row]) -> Vec<Notable> {
    let notable = |row: &Row| {
        let difference_ms = number(row, "difference_ms");
        let direction = if difference_ms < 0.0 { "less" } else { "more" };
        Notable {
            question: "deploy",
            sentence: format!(
                "Version {} of {} takes {:.1} ms {direction} for {} {}, in {}: {:.1} ms after {:.1} (t {:.1}).",
                text(row, "version_after"),
                text(row, "service"),
                difference_ms.abs(),
                text(row, "method"),
                text(row, "route"),
                phase(row),
                number(row, "after_ms"),
                number(row, "before_ms"),
                number(row, "t"),
            ),
            since: since(row),
            advice: if difference_ms < 0.0 {
                "Nothing: it got faster.".to_owned()
            } else {
                format!(
                    "Compare what this endpoint does in versions {} and {}; if users feel it, roll back.",
                    text(row, "version_before"),
                    text(row, "version_after")
                )
            },
        }
    };
    by_group(rows, &["service", "mode", "route"]).into_iter().map(notable).collect()
}

/// What a finding's setting asks for, where it has one.
fn change(row: &Row) -> Option<String> {
    let option = row.get("setting_option").and_then(Value::as_str)?;
    let direction = row.get("setting_direction").and_then(Value::as_str).unwrap_or("set");
    let proposed = row.get("setting_proposed").and_then(Value::as_str);
    let present = row.get("setting_present").and_then(Value::as_str);
    let to = proposed.map(|value| format!(" to {value}")).unwrap_or_default();
    let from = present.map(|value| format!(" (now {value})")).unwrap_or_default();
    Some(format!("{direction} {option}{to}{from}"))
}

fn capacity(rows: &[Row], changes: &[Row], told: &mut BTreeSet<(String, String)>) -> Vec<Notable> {
    let short = rows.iter().filter(|row| number(row, "exhausted_ratio") >= EXHAUSTED_RATIO);
    let mut list = Vec::new();
    for row in short {
        let service = text(row, "service");
        let of_service = changes.iter().filter(|change| text(change, "service") == service);
        let costliest = of_service.max_by(|a, b| number(a, "cost_s").total_cmp(&number(b, "cost_s")));
        if let Some(change) = costliest {
            told.insert((service.clone(), text(change, "finding")));
        }
        let (percent, waited) = (100.0 * number(row, "exhausted_ratio"), 100.0 * number(row, "waited_ratio"));
        list.push(Notable {
            question: "capacity",
            sentence: format!(
                "Service {service} has no free worker or thread for {percent:.1} % of the time; {waited:.0} % of its request time is waiting for one."
            ),
            since: costliest.and_then(since),
            advice: costliest.map_or_else(
                || "Shorten its requests, or give it more threads.".to_owned(),
                advice,
            ),
        });
    }
    list
}

/// What a row of `what-to-change` says to do.
fn advice(row: &Row) -> String {
    let finding = text(row, "finding");
    change(row).map_or_else(
        || format!("See wsgi-trace explain {finding}."),
        |change| format!("On each host, {change}; wsgi-trace explain {finding}."),
    )
}

fn costs(rows: &[Row], told: &BTreeSet<(String, String)>) -> Vec<Notable> {
    let untold = |row: &&Row| !told.contains(&(text(row, "service"), text(row, "finding")));
    let costs = rows.iter().filter(|row| number(row, "cost_s") > 0.0).filter(untold).take(MAX_COSTS);
    let notable = |row: &Row| Notable {
        question: "what-to-change",
        sentence: format!(
            "Service {}: {} cost {:.1} s of request time on {}, in {}.",
            text(row, "service"),
            text(row, "finding"),
            number(row, "cost_s"),
            counted(whole(row, "hosts"), "host"),
            counted(whole(row, "windows"), "window"),
        ),
        since: since(row),
        advice: advice(row),
    };
    costs.map(notable).collect()
}

fn dropped(rows: &[Row]) -> Vec<Notable> {
    let is_worth_it = |row: &&Row| {
        row.get("is_clients_doing") != Some(&Value::Bool(true))
            && number(row, "of_connections_ratio") >= DROPPED_RATIO
    };
    let notable = |row: &Row| Notable {
        question: "dropped-connections",
        sentence: format!(
            "Service {}: {} ({:.1} %) ended badly, by {}, on {}.",
            text(row, "service"),
            counted(whole(row, "connections"), "connection"),
            100.0 * number(row, "of_connections_ratio"),
            text(row, "cause"),
            counted(whole(row, "hosts"), "host"),
        ),
        since: None,
        advice: "What each cause means and what to do: docs/dropped-connections.md.".to_owned(),
    };
    rows.iter().filter(is_worth_it).map(notable).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::QUESTIONS;
    use super::*;

    fn answer(name: &str, rows: Value) -> Answer {
        let question = QUESTIONS.iter().find(|question| question.name == name).expect("a question");
        Answer { question, rows: serde_json::from_value(rows).expect("rows") }
    }

    #[test]
    fn a_host_is_told_by_the_phase_in_which_it_differs_and_not_twice() {
        let row = |phase: &str, difference_ms: f64| {
            json!({"service": "shop", "mode": "full", "host": "web-7", "phase": phase, "mean_ms": 20.0 + difference_ms,
                "other_hosts_ms": 20.0, "difference_ms": difference_ms, "t": 44.0, "hosts": 200, "since": "2026-01-03"})
        };
        let list = all(&[answer("outlier-host", json!([row("total_ns", 15.2), row("file_wait_ns", 15.0)]))]);
        assert_eq!(list.len(), 1);
        assert!(
            list[0]
                .sentence
                .starts_with("Host web-7 of shop takes 15.0 ms more in file_wait than the 199 other")
        );
        assert!(list[0].advice.starts_with("Look at its disk"));
        assert_eq!(list[0].since.as_deref(), Some("2026-01-03"));
    }

    #[test]
    fn what_runs_out_takes_the_advice_of_its_costliest_finding_which_is_not_told_again() {
        let change = |service: &str, finding: &str, cost_s: f64| {
            json!({"service": service, "finding": finding, "setting_option": "--threads", "setting_direction": "raise",
                "setting_present": "4", "setting_proposed": "8", "hosts": 3, "windows": 9, "cost_s": cost_s,
                "since": "2026-01-01"})
        };
        let answers = [
            answer(
                "capacity",
                json!([
                {"service": "till", "exhausted_ratio": 0.9, "waited_ratio": 0.64},
                {"service": "shop", "exhausted_ratio": 0.01, "waited_ratio": 0.0}]),
            ),
            answer(
                "what-to-change",
                json!([change("till", "sleeping", 9.0), change("shop", "back-end", 2.0)]),
            ),
        ];
        let list = all(&answers);
        assert_eq!(list.len(), 2, "{list:?}");
        assert_eq!(
            list[0].advice,
            "On each host, raise --threads to 8 (now 4); wsgi-trace explain sleeping."
        );
        assert!(list[1].sentence.starts_with("Service shop: back-end cost 2.0 s"), "{list:?}");
    }

    #[test]
    fn what_clients_do_themselves_and_what_is_rare_is_not_told() {
        let row = |clients: bool, ratio: f64| {
            json!({"service": "edge", "cause": "worker_killed", "is_clients_doing": clients, "connections": 5, "hosts": 1,
                "of_connections_ratio": ratio})
        };
        let list = all(&[answer(
            "dropped-connections",
            json!([row(true, 0.5), row(false, 0.0001), row(false, 0.01)]),
        )]);
        assert_eq!(list.len(), 1);
        assert!(list[0].sentence.contains("5 connections (1.0 %)"), "{list:?}");
    }
}
