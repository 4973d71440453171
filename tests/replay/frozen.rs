//! What version 1 promised is still there: keys of JSON, columns of tables, metrics, exit codes, recordings.
//!
//! In: `tests/frozen/1`, written as version 1 was made; the pages that are made from the code, and that of
//! metrics (`serve` holds the list against what is exported). Out: verdicts. VERSIONING.md says what may
//! change. With `WSGI_TRACE_FREEZE=1` what is new since joins the lists; nothing leaves them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use profiler_core::pipeline::{Pipeline, Settings};
use serde_json::Value;
use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace::recording::Recording;
use wsgi_trace_test_support::root;

fn frozen(name: &str) -> PathBuf {
    root().join("tests/frozen/1").join(name)
}

fn page(name: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join("docs").join(name)).with_context(|| name.to_owned())
}

/// Whether each line of a frozen list is in `today`; `holds` says whether a line of today stands for it.
fn keeps(
    list: &str,
    today: &BTreeSet<String>,
    holds: impl Fn(&str, &BTreeSet<String>) -> bool,
) -> anyhow::Result<()> {
    let path = frozen(list);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("WSGI_TRACE_FREEZE").is_some() {
        let all: BTreeSet<String> = before.lines().map(str::to_owned).chain(today.iter().cloned()).collect();
        std::fs::write(&path, all.into_iter().collect::<Vec<_>>().join("\n") + "\n")?;
        return Ok(());
    }
    ensure!(before.lines().count() > 5, "tests/frozen/1/{list} is nearly empty");
    let broken: Vec<&str> = before.lines().filter(|line| !holds(line, today)).collect();
    ensure!(broken.is_empty(), "version 1 promised this, and it is gone or another:\n{}", broken.join("\n"));
    Ok(())
}

fn is_there(line: &str, today: &BTreeSet<String>) -> bool {
    today.contains(line)
}

#[test]
fn every_key_of_the_json_reports_of_version_1_is_there_with_its_type_and_unit() -> anyhow::Result<()> {
    for (list, schema) in [("report.keys", "report.schema.json"), ("whatif.keys", "whatif.schema.json")] {
        let schema: Value = serde_json::from_str(&page(schema)?)?;
        let mut keys = BTreeSet::new();
        keys_of(&schema, "", &mut keys);
        let definitions = schema.pointer("/$defs").and_then(Value::as_object);
        for (name, definition) in definitions.into_iter().flatten() {
            keys_of(definition, name, &mut keys);
        }
        // What may be missing may as well always be there.
        keeps(list, &keys, |line, today| today.contains(line) || today.contains(&format!("{line}{ALWAYS}")))?;
    }
    Ok(())
}

/// Behind a key that is never missing.
const ALWAYS: &str = " always";

/// The keys of an object of the schema and of those in it, each with its type.
fn keys_of(object: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let required: Vec<&str> = object
        .pointer("/required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in object.pointer("/properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        let always = if required.contains(&name.as_str()) { ALWAYS } else { "" };
        let unit = property.pointer("/x-unit").and_then(Value::as_str).map(|unit| format!(" in {unit}"));
        keys.insert(format!("{path}: {}{}{always}", kind(property), unit.unwrap_or_default()));
        for (mark, inside) in [("", Some(property)), ("[]", property.pointer("/items"))] {
            if let Some(inside) = inside {
                keys_of(inside, &format!("{path}{mark}"), keys);
            }
        }
    }
}

/// The type that a schema gives.
fn kind(schema: &Value) -> String {
    let several = |key: &str| schema.pointer(key).and_then(Value::as_array);
    if let Some(name) = schema.pointer("/$ref").and_then(Value::as_str) {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    if let Some(choices) = several("/anyOf") {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let kinds: Vec<&str> = match several("/type") {
        Some(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        None => schema.pointer("/type").and_then(Value::as_str).into_iter().collect(),
    };
    let items = schema.pointer("/items").map(|items| format!(" of {}", kind(items)));
    // A closed list of words.
    let words = several("/enum").map(|words| format!(" {}", Value::from(words.clone())));
    kinds.join(" or ") + &items.unwrap_or_default() + &words.unwrap_or_default()
}

#[test]
fn every_column_of_version_1_is_there_with_its_type() -> anyhow::Result<()> {
    let (mut columns, mut table) = (BTreeSet::new(), String::new());
    for line in page("parquet.md")?.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut table);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, name, kind, unit, _, null, _] = cells.as_slice()
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        {
            let null = if *null == "never" { " never null" } else { "" };
            columns.insert(format!("{table}.{name}: {kind} {unit}{null}"));
        }
    }
    keeps("tables.columns", &columns, |line, today| {
        today.contains(line) || today.contains(&format!("{line} never null"))
    })
}

#[test]
fn every_metric_of_version_1_is_explained_with_its_labels() -> anyhow::Result<()> {
    let mut metrics = BTreeSet::new();
    for line in page("metrics.md")?.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, names, labels, ..] = cells.as_slice() else { continue };
        metrics.extend(
            quoted(names).map(|name| format!("{name} {{{}}}", quoted(labels).collect::<Vec<_>>().join(","))),
        );
    }
    keeps("metrics", &metrics, is_there)
}

/// What stands between pairs of backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_exit_code_of_version_1_means_what_it_meant() -> anyhow::Result<()> {
    let codes = ExitCode::ALL.iter().map(|code| format!("{} {code:?}", code.number())).collect();
    keeps("exit-codes", &codes, is_there)
}

#[test]
fn recordings_of_version_1_are_read_whole_and_give_the_requests_that_they_gave() -> anyhow::Result<()> {
    // The servers' own access logs counted these as the recordings were made (tests/record).
    for (name, requests) in [("gthread-exhausted.wtrace", 80), ("light-gthread-exhausted.wtrace", 60)] {
        let mut recording = Recording::open(&frozen(name))?;
        let mut pipeline = Pipeline::new(Settings::default());
        for item in recording.by_ref() {
            pipeline.push(item, &mut |_| {});
        }
        let summary = recording.summary();
        ensure!(summary.is_complete(), "{name}: {summary:?}");
        let snapshot = pipeline.finish(&mut |_| {});
        let completed = snapshot.requests.completed;
        ensure!(completed == requests, "{name}: {completed} requests, and not {requests}");
    }
    Ok(())
}
