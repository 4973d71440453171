//! The alerts: that they fire when they should and only then, and speak of what the agent exports.
//!
//! In: `dashboards/`, the guide, the agent's own list of metrics, Debian's `promtool`. Out: verdicts; where
//! that is not installed, a skip or a failure.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use profiler_core::fact::{Attached, Overhead};
use profiler_core::finding::RULES;
use profiler_core::model::queue::Queue;
use profiler_core::model::slot::Slots;
use profiler_core::model::{Coverage, Listener, Snapshot, Sockets};
use profiler_core::phase::Phase;
use wsgi_trace::agent::board::{Board, Status, TargetNow};
use wsgi_trace::agent::cost::CostNow;
use wsgi_trace::agent::counts::{Counts, FAMILIES};
use wsgi_trace::agent::exposition::plain;
use wsgi_trace::agent::metrics::{Own, node, render};
use wsgi_trace::export::Totals;
use wsgi_trace::recording::Held;
use wsgi_trace_test_support::gate::missing;

use super::dashboards::{file, queries};

/// What names of metrics begin with.
const PREFIX: &str = "wsgi_trace_";
/// The tests of alerts: those over minutes, and those over days, which are evaluated less often.
const TESTS: [&str; 2] = ["alerts.test.yml", "alerts.days.test.yml"];
/// What autoscalers ask.
const SCALING: [&str; 2] = ["scaling.yml", "scaling.test.yml"];
/// The pages of the guide that say what each alert means.
const PAGES: [&str; 2] = ["alerts.md", "alerts-on-findings.md"];
/// Where `runbook_url` leads, until somebody puts the address of their own copy there.
const GUIDE: &str = "https://wsgi-trace.example/guide/";

fn read(name: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(file(name)).with_context(|| name.to_owned())
}

/// All tests of alerts.
fn tests() -> anyhow::Result<String> {
    TESTS.into_iter().map(read).collect()
}

fn page(path: &str) -> anyhow::Result<String> {
    let path = wsgi_trace_test_support::root().join("docs").join(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// A board on which a window has ended and the next is open, of a server of which all is known that makes a
/// metric.
fn board() -> Board {
    let overhead = Overhead { bpf_sampled_ns: 1, ..Overhead::default() };
    let snapshot = Snapshot {
        slots: Slots { configured: Some(4), ..Slots::default() },
        coverage: Coverage { overhead: Some(overhead), ..Coverage::default() },
        ..Snapshot::default()
    };
    let board = Board::default();
    board.set_status(Status::Watching);
    board.window(snapshot.clone());
    board.look(snapshot, TargetNow::default());
    board.set_cost(CostNow { ratio: Some(0.005), max_ratio: 0.01, left_out: Vec::new() });
    board
}

/// What the agent says then.
fn exposition(board: &Board) -> anyhow::Result<String> {
    Ok(plain(&render(board.known(), Some(Own { window: Duration::from_secs(60), ..Own::default() }))?))
}

/// Every metric with its kind.
fn exported(exposition: &str) -> BTreeMap<&str, &str> {
    let kinds = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    kinds.filter_map(|line| line.split_once(' ')).collect()
}

/// The kind of the metric to which a series of this name belongs.
fn kind<'a>(exported: &BTreeMap<&str, &'a str>, name: &str) -> Option<&'a str> {
    let of_histogram = || {
        let suffixes = ["_bucket", "_sum", "_count"];
        let base = suffixes.iter().find_map(|suffix| name.strip_suffix(*suffix))?;
        exported.get(base).copied().filter(|kind| *kind == "histogram")
    };
    exported.get(name).copied().or_else(of_histogram)
}

/// Every metric that a text names, after what stands before it.
fn metrics(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices(PREFIX).map(move |(start, _)| {
        let (before, rest) = text.split_at(start);
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        (before, rest.get(..end.unwrap_or(rest.len())).unwrap_or_default())
    })
}

/// Every alert: its name, and the lines below it.
fn alerts(rules: &str) -> impl Iterator<Item = (&str, &str)> {
    rules.split("- alert: ").skip(1).filter_map(|part| part.split_once('\n'))
}

/// The value of a key of an alert, where it stands on one line.
fn value<'a>(alert: &'a str, key: &str) -> Option<&'a str> {
    alert.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": "))
}

/// Every series of the tests: its name, and its labels with values in quotes.
fn series(tests: &str) -> impl Iterator<Item = (&str, Vec<(&str, &str)>)> {
    tests.split("- series: '").skip(1).filter_map(|part| {
        let (name, rest) = part.split_once('{')?;
        let (labels, _) = rest.split_once("}'")?;
        Some((name, labels.split(", ").filter_map(|label| label.split_once('=')).collect()))
    })
}

/// The labels with which the agent exports a metric.
fn labels_of(name: &str) -> Vec<&'static str> {
    match name {
        "requests_total" => vec!["method", "endpoint", "status"],
        "request_phase_seconds_total" => vec!["method", "endpoint", "phase"],
        "finding_present" => vec!["finding"],
        "accept_queue_depth" => vec!["port"],
        "mode" => vec!["mode"],
        "left_out" => vec!["what"],
        _ => {
            let is_family = |family: &str| {
                name.strip_prefix(family).is_some_and(|rest| matches!(rest, "_total" | "_seconds_total"))
            };
            let family = FAMILIES.iter().find(|family| is_family(family.name));
            family.and_then(|family| family.label).into_iter().collect()
        }
    }
}

/// What mdBook makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}

#[test]
fn alerts_fire_in_incidents_and_neither_on_an_ordinary_day_nor_for_one_bad_minute() -> anyhow::Result<()> {
    promtool("alerts.yml", &TESTS)
}

#[test]
fn replicas_are_asked_for_by_demand_and_not_where_more_slots_would_not_help() -> anyhow::Result<()> {
    let [rules, tests] = SCALING;
    promtool(rules, &[tests])?;
    let (rules, recipe) = (read(rules)?, page("recipes/scaling.md")?);
    let rule = rules.split("- record: ").nth(1).and_then(|rest| rest.lines().next()).context("no rule")?;
    ensure!(recipe.matches(&format!("{rule}{{")).count() == 2, "the recipe asks for another than {rule}");
    Ok(())
}

/// Prometheus's own tool takes these rules, and their tests pass.
fn promtool(rules: &str, tests: &[&str]) -> anyhow::Result<()> {
    let tests = tests.iter().map(|name| ("test", *name));
    for (what, name) in [("check", rules)].into_iter().chain(tests) {
        let Ok(outcome) = Command::new("promtool").args([what, "rules"]).arg(file(name)).output() else {
            missing("promtool");
            return Ok(());
        };
        let said = [outcome.stdout, outcome.stderr].concat();
        ensure!(outcome.status.success(), "{name}: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

#[test]
fn every_alert_fires_in_a_test_and_says_how_urgent_it_is_and_where_to_read_on() -> anyhow::Result<()> {
    let (rules, tests) = (read("alerts.yml")?, tests()?);
    let guide = PAGES.into_iter().map(page).collect::<anyhow::Result<String>>()?;
    for (name, alert) in alerts(&rules) {
        ensure!(tests.contains(&format!("labels: '{{alertname=\"{name}\"}}'")), "{name} fires in no test");
        ensure!(guide.contains(&format!("`{name}`")), "{PAGES:?} do not explain {name}");
        let severity = value(alert, "severity").unwrap_or_default();
        ensure!(matches!(severity, "page" | "ticket"), "{name}: severity {severity:?}");
        for key in ["summary", "description"] {
            ensure!(value(alert, key).is_some(), "{name} has no {key}");
        }
        let runbook = value(alert, "runbook_url").and_then(|url| url.strip_prefix(GUIDE));
        let (path, heading) = runbook.map(|url| url.split_once('#').unwrap_or((url, ""))).unwrap_or_default();
        let path = path.strip_suffix(".html").with_context(|| format!("{name} has no page of the guide"))?;
        // That each finding has its page is another test's.
        let path = path.replace("{{ $labels.finding }}", "README");
        let text = page(&format!("{path}.md"))?;
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        let is_there = heading.is_empty()
            || headings.any(|line| anchor(line.trim_start_matches('#').trim_matches(['`', ' '])) == heading);
        ensure!(is_there, "{name}: {path}.md has no heading for #{heading}");
    }
    Ok(())
}

#[test]
fn every_finding_but_healthy_has_an_alert_that_leads_to_its_page() -> anyhow::Result<()> {
    let rules = read("alerts.yml")?;
    let (_, of_all) = alerts(&rules).find(|(name, _)| *name == "WsgiFinding").context("no alert on all")?;
    let all = format!("{GUIDE}findings/{{{{ $labels.finding }}}}.html");
    ensure!(value(of_all, "runbook_url") == Some(all.as_str()), "it leads to no page");
    let excepted = of_all.split("finding!~\"").nth(1).and_then(|rest| rest.split('"').next());
    let excepted: Vec<&str> = excepted.context("it excepts none")?.split('|').collect();
    for rule in RULES.iter().filter(|rule| rule.id != "healthy" && excepted.contains(&rule.id)) {
        let url = format!("{GUIDE}findings/{}.html", rule.id);
        let leads = alerts(&rules).any(|(_, alert)| value(alert, "runbook_url") == Some(url.as_str()));
        ensure!(leads, "no alert on {}", rule.id);
    }
    for id in excepted {
        ensure!(RULES.iter().any(|rule| rule.id == id), "{id} is no finding");
    }
    Ok(())
}

#[test]
fn every_metric_of_a_dashboard_or_an_alert_is_exported_and_documented() -> anyhow::Result<()> {
    let (said, guide) = (exposition(&board())?, page("metrics.md")?);
    let exported = exported(&said);
    ensure!(exported.len() > 50, "only {} metrics: {said}", exported.len());
    let rules = ["alerts.yml", SCALING[0]].map(|name| Ok((name.to_owned(), read(name)?)));
    let rules = rules.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    for (place, text) in queries()?.into_iter().chain(rules) {
        for (before, name) in metrics(&text) {
            let kind = kind(&exported, name).with_context(|| format!("{place}: {name} is not exported"))?;
            let is_counter = kind != "gauge";
            if ["rate(", "increase(", "resets("].iter().any(|function| before.ends_with(function)) {
                ensure!(is_counter, "{place}: a rate of {name}, which is no counter");
            }
            if before.ends_with("_over_time(") {
                ensure!(!is_counter, "{place}: {name} is a counter, and no value over time");
            }
            let short = name.trim_start_matches(PREFIX).trim_end_matches("_bucket");
            ensure!(guide.contains(&format!("`{short}`")), "docs/metrics.md does not explain {short}");
        }
    }
    Ok(())
}

#[test]
fn every_metric_of_version_1_is_exported() -> anyhow::Result<()> {
    let board = board();
    board.set_held(Some(Held { length_ns: 1, bytes: 1 }));
    let own = Own { rows: Some(Totals::default()), ..Own::default() };
    let of_node = node::render(node::Counts { supported: Some(Ok(())), ..node::Counts::default() })?;
    let said = plain(&(render(board.known(), Some(own))? + &of_node));
    let exported = exported(&said);
    let frozen = std::fs::read_to_string(wsgi_trace_test_support::root().join("tests/frozen/1/metrics"))?;
    let names = frozen.lines().filter_map(|line| line.split(' ').next());
    let gone: Vec<&str> =
        names.filter(|name| kind(&exported, &format!("{PREFIX}{name}")).is_none()).collect();
    ensure!(gone.is_empty(), "version 1 promised these: {gone:?}");
    Ok(())
}

#[test]
fn every_alert_that_pages_has_its_series_in_light_mode() -> anyhow::Result<()> {
    /// Stands for requests there, which the rule says.
    const STOOD_FOR: &str = "connections_accepted";
    let rules = read("alerts.yml")?;
    let (sums, _) = rules.split_once("- alert: ").context("no alerts")?;
    let pages: Vec<&str> = alerts(&rules)
        .filter_map(|(_, alert)| (value(alert, "severity") == Some("page")).then_some(alert))
        .collect();
    let listener = Listener {
        is_queue_alone: true,
        queue: Some(Queue { refused: Some(0), ..Default::default() }),
        ..Listener::default()
    };
    let light = Snapshot {
        attached: Attached { hooks: Attached::LIGHT.to_owned(), ..Attached::default() },
        sockets: Sockets { listeners: vec![listener], ..Sockets::default() },
        ..Snapshot::default()
    };
    let counts = Counts::of(&light);
    let mut seen = 0;
    for (family, values) in counts.families(true) {
        let is_it = |name: &str| {
            let rest = name.strip_prefix(PREFIX).and_then(|name| name.strip_prefix(family.name));
            rest.is_some_and(|rest| matches!(rest, "_total" | "_seconds_total"))
        };
        let is_asked = pages.iter().chain([&sums]).any(|text| metrics(text).any(|(_, name)| is_it(name)));
        if is_asked && family.name != STOOD_FOR {
            ensure!(!values.is_empty(), "{} is not told in light mode", family.name);
            seen += 1;
        }
    }
    ensure!(seen >= 4, "only {seen} counters");
    Ok(())
}

#[test]
fn series_of_the_tests_of_alerts_are_those_that_the_agent_exports() -> anyhow::Result<()> {
    let (said, tests) = (exposition(&board())?, tests()?);
    let exported = exported(&said);
    let mut seen = 0;
    for (name, labels) in series(&tests) {
        // Prometheus' own.
        if name == "up" {
            continue;
        }
        seen += 1;
        ensure!(kind(&exported, name).is_some(), "{name} is not exported");
        let of_agent: Vec<_> = labels.iter().filter(|(key, _)| !matches!(*key, "instance" | "job")).collect();
        let keys: Vec<&str> = of_agent.iter().map(|(key, _)| *key).collect();
        ensure!(keys == labels_of(name.trim_start_matches(PREFIX)), "{name} has the labels {keys:?}");
        for (key, value) in of_agent {
            let is_known = match *key {
                "cause" | "law" | "finding" => said.contains(&format!("{name}{{{key}={value}}}")),
                "phase" => Phase::ALL.iter().any(|phase| *value == format!("\"{}\"", phase.name())),
                _ => true,
            };
            ensure!(is_known, "{name} has no {key}={value}");
        }
    }
    ensure!(seen > 100, "only {seen} series");
    Ok(())
}

/// What was so when the server went would stay so, and its alerts with it.
#[test]
fn nothing_is_said_of_findings_while_the_server_is_away() -> anyhow::Result<()> {
    let board = board();
    let away = Status::Waiting("the target has ended".to_owned());
    for (status, is_said) in [(Status::Watching, true), (away, false), (Status::Watching, true)] {
        board.set_status(status);
        let said = exposition(&board)?;
        assert_eq!(said.contains("wsgi_trace_finding_present{"), is_said, "{said}");
    }
    Ok(())
}
