//! `wsgi-trace diff` on the committed recordings: what it says of runs that are known to be the same, or not.
//!
//! In: recordings, their own reports in JSON, files that are neither. Out: verdicts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::program::{Outcome, Program};
use wsgi_trace_test_support::root;

fn wsgi_trace(arguments: &[&str]) -> anyhow::Result<Outcome> {
    Program::run(arguments, Duration::from_secs(60))
}

fn recording(name: &str) -> String {
    root().join("tests/recordings").join(format!("{name}.wtrace")).display().to_string()
}

fn difference(a: &str, b: &str) -> anyhow::Result<Value> {
    let said = wsgi_trace(&["diff", a, b, "--format", "json"])?;
    ensure!(said.status.success(), "{}", said.stderr);
    serde_json::from_str(&said.stdout).context("no JSON")
}

#[test]
fn recording_and_its_own_report_do_not_differ_in_anything() -> anyhow::Result<()> {
    let a = recording("gthread-healthy");
    let report = tempfile::NamedTempFile::new()?;
    let path = report.path().to_str().context("no path")?;
    let said = wsgi_trace(&["report", &a, "--format", "json", "-o", path])?;
    ensure!(said.status.success(), "{}", said.stderr);
    for found in [difference(&a, path)?, difference(path, &a)?, difference(&a, &a)?] {
        ensure!(found["comparable"] == true && found["doubts"] == serde_json::json!([]), "{found}");
        ensure!(
            found["total_ns"]["verdict"] == "not_shown" && found["total_ns"]["difference"] == 0.0,
            "{found}"
        );
        for none in ["settings", "findings", "endpoints_of_one"] {
            ensure!(found[none] == serde_json::json!([]), "{none}: {}", found[none]);
        }
        let moved = |row: &Value| row["verdict"] != "not_shown" && row["verdict"] != "too_few";
        let rows = found["phases_ns"].as_array().context("no phases")?;
        ensure!(!rows.is_empty() && !rows.iter().any(moved), "{rows:?}");
    }
    Ok(())
}

#[test]
fn healthy_and_exhausted_server_under_other_loads_get_no_verdict_but_the_new_finding() -> anyhow::Result<()> {
    let (a, b) = (recording("gthread-healthy"), recording("gthread-exhausted"));
    let found = difference(&a, &b)?;
    let reasons: Vec<&str> = found["doubts"]
        .as_array()
        .context("no doubts")?
        .iter()
        .filter_map(|doubt| doubt["id"].as_str())
        .collect();
    ensure!(found["comparable"] == false && reasons.contains(&"mix"), "{reasons:?}");
    let findings = found["findings"].as_array().context("no findings")?;
    let is_new = |row: &&Value| row["id"] == "sleeping" && row["what"] == "new";
    ensure!(findings.iter().any(|row| is_new(&row)), "{findings:?}");
    let text = wsgi_trace(&["diff", &a, &b])?.stdout;
    ensure!(text.contains("Not comparable as a whole: different mix of endpoints"), "{text}");
    ensure!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    Ok(())
}

#[test]
fn the_same_requests_at_another_rate_or_too_few_of_them_get_no_verdict_and_the_reason() -> anyhow::Result<()>
{
    for (a, b, reason, words) in [
        ("sync-cpu", "gthread-cpu", "rate", "requests per second"),
        ("sync-healthy", "sync-idle", "too-few", "fewer than 30"),
    ] {
        let (a, b) = (recording(a), recording(b));
        for (one, other) in [(&a, &b), (&b, &a)] {
            let found = difference(one, other)?;
            let doubts = found["doubts"].as_array().context("no doubts")?;
            let doubt = doubts.iter().find(|doubt| doubt["id"] == reason).context("no such doubt")?;
            ensure!(found["comparable"] == false && doubt["forbids_verdict"] == true, "{doubts:?}");
            ensure!(doubt["sentence"].as_str().is_some_and(|said| said.contains(words)), "{doubt}");
            let verdict = found["verdict"].as_str().context("no verdict")?;
            ensure!(verdict.starts_with("Not comparable as a whole") && verdict.contains(words), "{verdict}");
        }
    }
    Ok(())
}

#[test]
fn capacity_of_both_runs_stands_in_the_difference_as_in_their_reports() -> anyhow::Result<()> {
    let names = ["gthread-healthy", "gthread-exhausted"];
    let [a, b] = names.map(recording);
    let found = difference(&a, &b)?;
    for (place, path) in [&a, &b].into_iter().enumerate() {
        let said = wsgi_trace(&["report", path, "--format", "json"])?;
        let report: Value = serde_json::from_str(&said.stdout)?;
        for (ours, theirs) in [
            ("slots", "/slots/counted"),
            ("used_ratio", "/slots/capacity_used_ratio"),
            ("exhausted_ratio", "/slots/exhausted_ratio"),
            ("arrived_full", "/capacity/arrived_full"),
        ] {
            let (ours, theirs) = (&found["capacity"][ours][place], report.pointer(theirs));
            ensure!(Some(ours) == theirs && !ours.is_null(), "{ours}, {theirs:?}");
        }
    }
    let text = wsgi_trace(&["diff", &a, &b])?.stdout;
    ensure!(text.contains("\nCapacity\n") && text.contains("all busy at once"), "{text}");
    Ok(())
}

#[test]
fn what_is_neither_recording_nor_report_is_refused_in_one_sentence() -> anyhow::Result<()> {
    let good = recording("sync-healthy");
    let foreign = tempfile::NamedTempFile::new()?;
    std::fs::write(foreign.path(), "{\"hello\": 1}\n")?;
    let foreign = foreign.path().to_str().context("no path")?;
    for (a, b) in [(good.as_str(), "/nonexistent"), (foreign, good.as_str()), (good.as_str(), "/dev/null")] {
        let said = wsgi_trace(&["diff", a, b])?;
        ensure!(!said.status.success() && said.stdout.is_empty(), "{a} {b}: {}", said.stdout);
        ensure!(said.stderr.lines().count() == 1, "{}", said.stderr);
    }
    Ok(())
}
