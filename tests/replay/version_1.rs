//! Version 1 of the JSON report, made of version 2 by `docs/json-2-to-1.jq`.
//!
//! In: the report on each recording, the schemas of both versions, the guide's table of what changed. Out:
//! verdicts.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace::compare::{Side, compare};
use wsgi_trace_tests::gate::missing;
use wsgi_trace_tests::published::schema;
use wsgi_trace_tests::root;

use crate::{each, json_of};

const PAGE: &str = "docs/json-2.md";

/// What the converter makes of a document; `None`: there is no jq.
fn converted(document: &str) -> anyhow::Result<Option<Value>> {
    let converter = root().join("docs/json-2-to-1.jq");
    let child =
        Command::new("jq").arg("-f").arg(converter).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        missing("jq");
        return Ok(None);
    };
    let mut input = child.stdin.take().context("no input")?;
    let document = document.to_owned();
    let writer = std::thread::spawn(move || input.write_all(document.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().ok().context("the writer panicked")??;
    ensure!(output.status.success(), "jq: {}", output.status);
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

/// Version 1 by its own words: readers pass over keys that came later.
fn lenient(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("additionalProperties");
            map.values_mut().for_each(lenient);
        }
        Value::Array(list) => list.iter_mut().for_each(lenient),
        _ => {}
    }
}

fn at<'a>(report: &'a Value, pointer: &str) -> &'a Value {
    report.pointer(pointer).unwrap_or(&Value::Null)
}

/// What stands in both: numbers in other places are the same, and reasons stand where they stood.
fn says_the_same(new: &Value, old: &Value) -> anyhow::Result<()> {
    for whole in ["target", "front_end", "processes"] {
        ensure!(new[whole] == old[whole], "{whole}: {} {}", new[whole], old[whole]);
    }
    let whole_ns = at(new, "/requests/time_in_requests_ns").as_f64().context("no time")?;
    for (key, time_ns) in at(new, "/phases").as_object().context("no phases")? {
        let row = at(old, &format!("/phases/{}", key.trim_end_matches("_ns")));
        if time_ns.is_null() {
            ensure!(
                at(row, "/not_measured").as_str().is_some_and(|why| why != "not measured"),
                "{key}: {row}"
            );
        } else {
            let share = time_ns.as_f64().unwrap_or_default() / whole_ns;
            let is_share =
                at(row, "/share_ratio").as_f64().map_or(whole_ns == 0.0, |of| (of - share).abs() <= 1e-6);
            ensure!(at(row, "/total_ns") == time_ns && is_share, "{key}: {row}");
        }
    }
    // Version 1 tells of listeners what accept did, or nothing: light mode knows their queues alone.
    let is_queue_alone = at(new, "/listeners/0").is_object() && at(new, "/listeners/0/accepted").is_null();
    ensure!(!is_queue_alone || *at(old, "/listeners") == serde_json::json!([]), "{}", at(old, "/listeners"));
    for (new_at, old_at) in [
        ("/requests/received_bytes", "/requests/bytes_in"),
        ("/losses/is_complete", "/losses/complete"),
        ("/requests/slowest/0/phases/cpu_ns", "/requests/slowest/0/phases/cpu"),
        ("/requests/slowest/0/has_arrival", "/requests/slowest/0/start_is_arrival"),
        ("/endpoints/0/standard_error/phases/sleep_ns", "/endpoints/0/standard_error/phases/sleep"),
        ("/listeners/0/woken/wasted_cpu_ns", "/listeners/0/woken/in_vain_cpu_ns"),
        ("/listeners/0/queue/observed_ns", "/listeners/0/queue/over_time/weight"),
        ("/listeners/0/queue/arrivals", "/listeners/0/queue/at_arrival/weight"),
        ("/event_loops/0/holders/0/long/iterations", "/event_loops/0/holders/0/long/turns"),
        ("/gil/locks/0/convoy/fit_ratio", "/gil/locks/0/convoy/r2"),
    ] {
        let is_told = !(is_queue_alone && new_at.starts_with("/listeners/"));
        ensure!(
            !is_told || at(new, new_at) == at(old, old_at),
            "{new_at} {old_at}: {} {}",
            at(new, new_at),
            at(old, old_at)
        );
    }
    Ok(())
}

/// `diff` reads both versions, and sees no difference between a report and itself in the other one.
fn compares_as_the_same(new: &str, old: &str) -> anyhow::Result<()> {
    let side = |text: &str| Side::parse(text.as_bytes(), Path::new("report.json"));
    let difference = serde_json::to_value(compare(&side(new)?, &side(old)?))?;
    for none in ["settings", "endpoints_of_one", "phases_not_compared"] {
        ensure!(
            *at(&difference, &format!("/{none}")) == serde_json::json!([]),
            "{none}: {}",
            at(&difference, &format!("/{none}"))
        );
    }
    for finding in at(&difference, "/findings").as_array().into_iter().flatten() {
        let [of_new, of_old] = ["/cost_rate/0", "/cost_rate/1"].map(|run| at(finding, run));
        ensure!(*at(finding, "/what") == "still" && of_new == of_old, "{finding}");
    }
    // Version 1 has zeros where light mode sees no slots.
    let is_light = new.contains(r#""key": "/slots""#);
    for (name, pair) in at(&difference, "/capacity").as_object().context("no capacity")? {
        ensure!(at(pair, "/0") == at(pair, "/1") || is_light, "{name}: {pair}");
    }
    for row in
        at(&difference, "/phases_ns").as_array().into_iter().flatten().chain([at(&difference, "/total_ns")])
    {
        ensure!(at(row, "/difference").as_f64() == Some(0.0), "{row}");
    }
    ensure!(at(&difference, "/requests/completed/0").is_u64(), "{difference}");
    Ok(())
}

/// Leaves out what light mode does not know of a run that had it.
fn forget(report: &mut Value) {
    let unknown = [
        "after_forced_release",
        "after_voluntary_release",
        "missed",
        "missed_ns",
        "missed_in_a_row_max",
        "missed_in_a_row",
    ];
    for lock in report.pointer_mut("/gil/locks").and_then(Value::as_array_mut).into_iter().flatten() {
        unknown.into_iter().for_each(|key| lock[key] = Value::Null);
    }
    if let Some(linger_ns) = report.pointer_mut("/slots/acceptor_linger_ns") {
        *linger_ns = Value::Null;
    }
    for list in ["/endpoints", "/requests/slowest"] {
        for one in report.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            one["back_end_round_trips"] = serde_json::json!({"total": null, "by_port": []});
        }
    }
}

#[test]
fn the_converter_makes_of_every_report_one_of_version_1() {
    let mut schema = schema("report-1.schema.json").expect("the schema of version 1");
    lenient(&mut schema);
    let validator = jsonschema::draft202012::new(&schema).expect("the schema is one");
    each(|scenario, judged| {
        let new = json_of(judged);
        let Some(old) = converted(&new).expect(scenario.name) else { return };
        let errors: Vec<String> =
            validator.iter_errors(&old).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", scenario.name);
        let new: Value = serde_json::from_str(&new).expect("a report is JSON");
        let mut light = new.clone();
        forget(&mut light);
        let light = converted(&light.to_string()).expect(scenario.name).expect("jq was there");
        assert!(validator.is_valid(&light), "{}: what light mode does not know", scenario.name);
        says_the_same(&new, &old).expect(scenario.name);
        compares_as_the_same(&json_of(judged), &old.to_string()).expect(scenario.name);
        // A line of ndjson has the shape of one of the slowest requests.
        if let Some(line) = new.pointer("/requests/slowest/0") {
            let converted = converted(&line.to_string()).expect("a request").expect("jq was there");
            assert_eq!(&converted, at(&old, "/requests/slowest/0"), "{}", scenario.name);
        }
    });
}

#[test]
fn waits_alone_are_no_round_trips_of_version_1() {
    let counted = serde_json::json!({"total": 2, "by_port": []});
    let waits_alone =
        serde_json::json!({"total": null, "by_port": [{"port": 5432, "count": null, "waited_ns": 7}]});
    for (trips, expected) in
        [(&counted, &counted), (&waits_alone, &Value::Null), (&Value::Null, &Value::Null)]
    {
        let request = serde_json::json!({"phases": {}, "back_end_round_trips": trips});
        let Some(old) = converted(&request.to_string()).expect("a request") else { return };
        assert_eq!(at(&old, "/back_end_round_trips"), expected, "{trips}");
    }
}

/// The paths of all keys of a schema, as the reference writes them.
fn keys(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    below(schema, schema, "", &mut found);
    found
}

fn below(schema: &Value, node: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = at(node, "/$ref").as_str().and_then(|target| target.strip_prefix("#/$defs/")) {
        below(schema, at(schema, &format!("/$defs/{name}")), path, found);
    }
    for (name, child) in at(node, "/properties").as_object().into_iter().flatten() {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        below(schema, child, &key, found);
        found.insert(key);
    }
    if at(node, "/items").is_object() {
        below(schema, at(node, "/items"), &format!("{path}[]"), found);
    }
    for choice in at(node, "/oneOf").as_array().into_iter().flatten() {
        below(schema, choice, path, found);
    }
}

/// Whether a path is meant by one of the table, where `*` stands for a part of a name and `…` for any
/// beginning.
fn is_meant(path: &str, meant: &str) -> bool {
    let (path, meant) = match meant.strip_prefix("….") {
        Some(end) => {
            let parts = end.split('.').count();
            let start = path.rmatch_indices('.').nth(parts - 1).map_or(0, |(place, _)| place + 1);
            (path.get(start..).unwrap_or_default(), end)
        }
        None => (path, meant),
    };
    let Some((before, after)) = meant.split_once('*') else { return path == meant };
    let rest = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    rest.is_some_and(|name| !name.is_empty() && !name.contains(['.', '[']))
}

#[test]
fn the_guide_s_table_names_every_key_that_is_gone_and_what_stands_for_it() {
    let page = std::fs::read_to_string(root().join(PAGE)).expect(PAGE);
    let quoted =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows: Vec<(Vec<String>, Vec<String>)> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| {
            let mut cells = line.split('|').skip(1);
            Some((quoted(cells.next()?), quoted(cells.next()?)))
        })
        .collect();
    let new = keys(&schema("report.schema.json").expect("the schema"));
    let old = keys(&schema("report-1.schema.json").expect("the schema of version 1"));
    let gone: BTreeSet<&String> = old.difference(&new).collect();
    for path in &gone {
        let said = rows.iter().any(|(was, _)| was.iter().any(|meant| is_meant(path, meant)));
        assert!(said, "{path} is gone, and no row of {PAGE} says so");
    }
    for (was, is) in &rows {
        for meant in was {
            assert!(gone.iter().any(|path| is_meant(path, meant)), "{meant} is not gone");
        }
        for meant in is {
            assert!(new.iter().any(|path| is_meant(path, meant)), "{meant} is not in the schema");
        }
    }
    assert!(rows.len() > 20, "{}", rows.len());
}
