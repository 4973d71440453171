//! `wsgi-trace whatif` on the committed recordings: all but one are too short for a forecast, and have bounds
//! all the same.
//!
//! In: recordings. Out: bounds, and why there is no forecast.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::program::{Outcome, Program};
use wsgi_trace_test_support::{published, root};

fn whatif(name: &str, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let recording = root().join("tests/recordings").join(format!("{name}.wtrace")).display().to_string();
    let arguments: Vec<&str> = ["whatif", &recording].into_iter().chain(arguments.iter().copied()).collect();
    Program::run(&arguments, Duration::from_secs(60))
}

fn answer(name: &str, arguments: &[&str]) -> anyhow::Result<Value> {
    let arguments: Vec<&str> = ["--format", "json"].into_iter().chain(arguments.iter().copied()).collect();
    let said = whatif(name, &arguments)?;
    ensure!(said.status.success(), "{name}: {}", said.stderr);
    serde_json::from_str(&said.stdout).context("no JSON")
}

#[test]
fn recordings_of_two_seconds_have_bounds_and_no_forecast_and_say_why() -> anyhow::Result<()> {
    for (name, reasons) in [
        ("gthread-back-end", &["it has 72 completed requests"][..]),
        ("sync-exhausted", &["it has 74 completed requests", "all slots were busy for 100 %"]),
        ("light-gthread", &["it was recorded in light mode", "it has 145 completed requests"]),
        ("uvicorn-asgi", &["its requests are served by an event loop", "it has 153 completed requests"]),
    ] {
        let found = answer(name, &["--workers", "4"])?;
        ensure!(found["forecasts"] == serde_json::json!([]), "{name}: {}", found["forecasts"]);
        let refusals = found["refusals"].as_array().context("no refusals")?;
        for reason in reasons {
            let says = |refusal: &Value| refusal.as_str().is_some_and(|text| text.starts_with(reason));
            ensure!(refusals.iter().any(says), "{name}: {reason}: {refusals:?}");
        }
        let bounds = found["bounds"]["overall"].as_object().context("no bounds")?;
        let today = bounds["today"]["p99_ns"].as_u64().context("no figure of today")?;
        ensure!(today > 0 && bounds.len() == 5, "{name}: {bounds:?}");
        for (bound, of) in bounds {
            ensure!(of["p99_ns"].as_u64().is_none_or(|p99_ns| p99_ns <= today), "{name}: {bound}: {of}");
        }
    }
    Ok(())
}

#[test]
fn answers_have_what_their_schema_says_and_nothing_else() -> anyhow::Result<()> {
    let validator = jsonschema::validator_for(&published::strict(published::schema("whatif.schema.json")?))?;
    for (name, arguments) in [
        ("gthread-back-end", &["--untrusted", "--workers", "2", "--rate", "x2"][..]),
        ("sync-short-behind-long", &["--untrusted", "--worker-class", "gthread", "--split", "GET /fast/*"]),
        ("sync-exhausted", &[]),
        ("light-gthread", &[]),
        ("uvicorn-asgi", &[]),
    ] {
        let found = answer(name, arguments)?;
        let wrong: Vec<String> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
        ensure!(wrong.is_empty(), "{name}: {wrong:?}");
        let forecasts = found["forecasts"].as_array().map_or(0, Vec::len);
        // Today, two changes, both together.
        ensure!(forecasts == if arguments.is_empty() { 0 } else { 4 }, "{name}: {forecasts}");
    }
    Ok(())
}

#[test]
fn a_recording_in_which_the_machine_was_not_read_says_that_others_are_not_in_it() -> anyhow::Result<()> {
    let found = answer("gthread-back-end", &[])?;
    let refusals = found["refusals"].as_array().context("no refusals")?;
    ensure!(
        refusals.iter().any(|refusal| refusal.as_str().is_some_and(|text| text.contains("other programs")))
    );
    ensure!(found["model"]["other_programs_cores"].is_null(), "{}", found["model"]);
    Ok(())
}

#[test]
fn short_requests_with_a_server_of_their_own_do_not_wait_for_long_ones() -> anyhow::Result<()> {
    let found = answer("sync-short-behind-long", &["--untrusted", "--split", "GET /fast/*=1x1"])?;
    ensure!(found["forecasts"][1]["change"] == "--split 'GET /fast/*=1x1'", "{found}");
    let p99_ns = |at: usize| found["forecasts"][at]["endpoints"]["GET /fast/{number}"]["p99_ns"].as_u64();
    let (today, split) = (p99_ns(0).context("today")?, p99_ns(1).context("split")?);
    ensure!(today > 300_000_000 && split < 10_000_000, "{today} {split}");
    Ok(())
}

#[test]
fn the_smallest_setting_that_keeps_a_limit_is_found_and_forecast() -> anyhow::Result<()> {
    let arguments = ["--untrusted", "--search", "p99<500ms", "--cores", "2"];
    let found = answer("sync-short-behind-long", &arguments)?;
    // Each sleeps for 400 ms at most: enough workers, and none waits.
    let workers = found["search"]["found"]["processes"].as_u64().context("found nothing")?;
    ensure!((3..=4).contains(&workers), "{}", found["search"]);
    let last = found["forecasts"].as_array().and_then(|all| all.last()).context("no forecast")?;
    ensure!(last["change"] == format!("--cores 2 --workers {workers} --threads 1"), "{last}");
    ensure!(last["overall"]["p99_ns"].as_u64().is_some_and(|p99_ns| p99_ns < 500_000_000), "{last}");
    let shown = whatif("sync-short-behind-long", &arguments)?.stdout;
    ensure!(shown.contains("today, as measured"), "{shown}");
    let none = answer("sync-short-behind-long", &["--untrusted", "--search", "p50<10ms"])?;
    ensure!(none["search"]["found"].is_null() && none["search"]["best_ns"].is_u64(), "{}", none["search"]);
    Ok(())
}

#[test]
fn who_waits_for_slots_would_wait_less_without_that() -> anyhow::Result<()> {
    let overall = &answer("sync-short-behind-long", &[])?["bounds"]["overall"];
    let p99_ns = |bound: &str| overall[bound]["p99_ns"].as_u64().context("no bound");
    // The longest sleep for 400 ms, one behind the other.
    ensure!(p99_ns("today")? > 800_000_000, "{overall}");
    ensure!((400_000_000..405_000_000).contains(&p99_ns("without_slot_waits")?), "{overall}");
    ensure!(p99_ns("without_slow_clients")? == p99_ns("today")?, "{overall}");
    Ok(())
}

#[test]
fn an_answer_is_the_same_again() -> anyhow::Result<()> {
    let said = |_| Ok::<_, anyhow::Error>(whatif("uwsgi-threads", &["--threads", "8"])?.stdout);
    ensure!(said(1)? == said(2)?);
    Ok(())
}

#[test]
fn changes_that_make_no_sense_are_refused_as_usage() -> anyhow::Result<()> {
    for (arguments, says) in [
        (&["--backend", "1=x2"][..], "the recording has no back end 1"),
        (&["--workers", "0"], "--workers"),
        (&["--rate", "x0"], "must lie between"),
        (&["--keepalive", "5"], "--keepalive"),
        (&["--pid", "1"], "--pid"),
        (&["--search", "p99"], "p99<200ms"),
        (&["--search", "p99<1s", "--workers", "4"], "--search"),
        (&["--memory", "2G"], "--search"),
        (&["--split", "GET /nowhere"], "is none of the recording's endpoints"),
        (&["--worker-class", "gevent"], "--worker-class"),
    ] {
        let said = whatif("gthread-back-end", arguments)?;
        ensure!(
            said.status.code() == Some(2) && said.stderr.contains(says),
            "{arguments:?}: {}",
            said.stderr
        );
    }
    Ok(())
}

/// What `report --forecast` says of a recording, as text or JSON.
fn report(name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let recording = root().join("tests/recordings").join(format!("{name}.wtrace")).display().to_string();
    let arguments: Vec<&str> = ["report", &recording].into_iter().chain(arguments.iter().copied()).collect();
    let said = Program::run(&arguments, Duration::from_secs(60))?;
    ensure!(said.status.success(), "{name}: {}", said.stderr);
    Ok(said.stdout)
}

/// The outlook of a finding of the JSON report.
fn outlook<'a>(report: &'a Value, id: &str) -> anyhow::Result<&'a Value> {
    let findings = report["findings"].as_array().context("no findings")?;
    Ok(&findings.iter().find(|finding| finding["id"] == id).context("no such finding")?["outlook"])
}

#[test]
fn a_report_says_what_its_advice_would_bring_where_somebody_asks() -> anyhow::Result<()> {
    let text = report("sync-forecast", &["--forecast"])?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        words.contains(
            "Forecast: not yet checked against real changes of this kind. With --worker-class gthread"
        ),
        "{text}"
    );
    let (first, _) = words.split_once(" · ").context("no first line")?;
    ensure!(first.contains("by simulation"), "{text}");
    ensure!(text == report("sync-forecast", &["--forecast"])?, "not the same twice");
    let found: Value = serde_json::from_str(&report("sync-forecast", &["--forecast", "--format", "json"])?)?;
    let forecasts = &outlook(&found, "sleeping")?["forecasts"];
    let forecast = forecasts.as_array().and_then(|all| all.first()).context("no forecast")?;
    ensure!(forecast["effect"] == "shorter", "{forecast}");
    // With threads none waits: the longest sleep is 60 ms.
    let p99_ns = forecast["with_change"]["p99_ns"].as_u64().context("no p99")?;
    ensure!((60_000_000..75_000_000).contains(&p99_ns), "{forecast}");
    ensure!(
        forecast["today_simulated"]["p99_ns"].as_u64().is_some_and(|today_ns| today_ns > p99_ns),
        "{forecast}"
    );
    let unasked: Value = serde_json::from_str(&report("sync-forecast", &["--format", "json"])?)?;
    ensure!(outlook(&unasked, "sleeping")?.is_null(), "nobody asked");
    Ok(())
}

#[test]
fn a_report_says_why_it_has_no_forecast() -> anyhow::Result<()> {
    let found: Value = serde_json::from_str(&report("sync-exhausted", &["--forecast", "--format", "json"])?)?;
    let of = outlook(&found, "sleeping")?;
    ensure!(of["forecasts"] == serde_json::json!([]), "{of}");
    ensure!(of["refusal"].as_str().is_some_and(|reason| reason.contains("completed requests")), "{of}");
    Ok(())
}
