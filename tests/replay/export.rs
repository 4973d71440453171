//! `export`, from recordings to what another engine reads of them.
//!
//! In: `tests/recordings`, DuckDB. Out: verdicts: the same requests and the same sums as the report has, to
//! the nanosecond; nulls where nothing was measured; whole files or none.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use wsgi_trace_test_support::duckdb::Duckdb;
use wsgi_trace_test_support::program::{Outcome, Program, wsgi_trace_binary};
use wsgi_trace_test_support::root;

const LIMIT: Duration = Duration::from_secs(120);

fn recording(name: &str) -> String {
    root().join("tests/recordings").join(name).with_extension("wtrace").display().to_string()
}

/// Exports these recordings, with options.
fn export(to: &Path, names: &[&str], options: &[&str]) -> anyhow::Result<Outcome> {
    let recordings: Vec<String> = names.iter().map(|name| recording(name)).collect();
    let to = to.display().to_string();
    let mut arguments = vec!["export", "-o", &to];
    arguments.extend(recordings.iter().map(String::as_str));
    arguments.extend(options);
    Program::run(&arguments, LIMIT)
}

/// Exports these recordings, with options; it must succeed.
fn exported(names: &[&str], options: &[&str]) -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let outcome = export(directory.path(), names, options)?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    Ok(directory)
}

fn report(name: &str) -> anyhow::Result<Value> {
    let outcome = Program::run(&["report", &recording(name), "--format", "json"], LIMIT)?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    Ok(serde_json::from_str(&outcome.stdout)?)
}

/// All files below a directory.
fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { list.extend(files(&path)?) } else { list.push(path) }
    }
    list.sort();
    Ok(list)
}

/// Of each kind of server one; light mode, in which phases are not measured.
const RECORDINGS: [&str; 6] =
    ["gthread-back-end", "gthread-cpu", "light-gthread", "mod-wsgi-daemon", "sync-dropped", "uvicorn-uvloop"];

#[test]
fn another_engine_counts_the_report_s_requests_and_sums_their_phases_to_the_nanosecond() -> anyhow::Result<()>
{
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let directory = exported(&RECORDINGS, &["--service", "shop"])?;
    let mut seen_null = false;
    for name in RECORDINGS {
        let report = report(name)?;
        let phases = report["phases"].as_object().context("no phases")?;
        let sums: Vec<String> =
            phases.keys().map(|phase| format!("sum({phase})::bigint as {phase}")).collect();
        // One recording of them: by when its window began.
        let start_us = report["window"]["wall_clock_start_ns"].as_i64().context("no start")? / 1000;
        let row = duckdb.one(
            directory.path(),
            &format!(
                "select count(*) filter (not is_open) as completed, count(*) filter (is_open) as open,
                        sum(total_ns)::bigint as total_ns, sum(\"http.response.size\")::bigint as sent, {}
                 from requests where recording_id in
                   (select recording_id from windows where epoch_us(start_time) = {start_us})",
                sums.join(", ")
            ),
        )?;
        assert_eq!(row["completed"], report["requests"]["completed"], "{name}");
        assert_eq!(row["open"], report["requests"]["open"], "{name}");
        assert_eq!(row["total_ns"], report["requests"]["time_in_requests_ns"], "{name}");
        assert_eq!(row["sent"], report["requests"]["sent_bytes"], "{name}");
        for (phase, duration_ns) in phases {
            assert_eq!(&row[phase], duration_ns, "{name}: {phase}");
            seen_null |= duration_ns.is_null();
        }
    }
    assert!(seen_null, "no recording has a phase that was not measured");
    Ok(())
}

#[test]
fn every_table_has_what_the_report_has_of_it() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    for name in ["gthread-cpu", "sync-dropped", "light-gthread", "stack-slots-exhausted"] {
        let directory = exported(&[name], &[])?;
        let report = report(name)?;
        let row = duckdb.one(
            directory.path(),
            "select (select count(*) from findings) as findings,
                    (select count(*) from findings where answer = 'present') as present,
                    (select count(*) from slots) as slots,
                    (select sum(busy_ns)::bigint from slots) as busy_ns,
                    (select sum(held_request_ns + held_client_read_stall_ns + held_client_write_stall_ns + held_first_byte_ns
                                + held_keepalive_idle_ns + held_linger_ns + held_housekeeping_ns)::bigint from slots) as held_ns,
                    (select coalesce(sum(wait_ns), 0)::bigint from gil_waits) as gil_wait_ns,
                    (select coalesce(sum(connections)::bigint, 0) from connections) as dropped,
                    (select length_ns from windows) as length_ns,
                    (select is_complete from windows) as is_complete,
                    (select mode from windows) as mode",
        )?;
        let list = |key: &str| report[key].as_array().map_or(0, Vec::len);
        assert_eq!(row["findings"], list("findings"), "{name}");
        let present =
            report["findings"].as_array().into_iter().flatten().filter(|one| one["answer"] == "present");
        assert_eq!(row["present"], present.count(), "{name}");
        assert_eq!(row["slots"], report["slots"]["list"].as_array().map_or(0, Vec::len), "{name}");
        assert_eq!(row["busy_ns"], report["slots"]["busy_ns"], "{name}");
        assert_eq!(row["busy_ns"], row["held_ns"], "{name}");
        if report["gil"]["has_holders"] == true {
            assert_eq!(row["gil_wait_ns"], report["gil"]["waits"]["sum_ns"], "{name}");
        }
        let counted = |cause: &Value| cause["count"].as_u64().unwrap_or(0);
        let causes = report["drops"]["causes"].as_array().into_iter().flatten();
        assert_eq!(row["dropped"], causes.map(counted).sum::<u64>(), "{name}");
        assert_eq!(row["length_ns"], report["window"]["length_ns"], "{name}");
        assert_eq!(row["is_complete"], report["losses"]["is_complete"], "{name}");
        assert_eq!(row["mode"], if name.starts_with("light") { "light" } else { "full" });
    }
    Ok(())
}

#[test]
fn each_request_is_in_the_window_that_counts_it() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let directory = exported(&["gevent-rolled"], &[])?;
    let rows = duckdb.all(
        directory.path(),
        "select w.window_number as place, w.requests_completed as counted, count(r.request_id) filter (not r.is_open) as listed
         from windows w left join requests r on r.recording_id = w.recording_id and r.window_number = w.window_number
         group by all order by place",
    )?;
    assert!(rows.len() > 1, "{rows:?}");
    for row in &rows {
        assert_eq!(row["counted"], row["listed"], "{rows:?}");
        assert!(row["counted"].as_u64() > Some(0), "{rows:?}");
    }
    Ok(())
}

#[test]
fn what_the_page_says_is_never_null_is_never_null() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let directory = exported(&RECORDINGS, &[])?;
    for (table, columns) in columns_of_the_page()? {
        let described: BTreeMap<String, String> = duckdb
            .all(directory.path(), &format!("select column_name, column_type from (describe {table})"))?
            .iter()
            .map(|row| (text(&row["column_name"]), text(&row["column_type"])))
            .collect();
        for (name, kind, null) in columns {
            let is = described.get(&name).with_context(|| format!("{table} has no {name}"))?;
            assert!(is.starts_with(&kind), "{table}.{name}: {is} is not {kind}");
            if null == "never" {
                let nulls = duckdb.one(
                    directory.path(),
                    &format!("select count(*) as nulls from {table} where \"{name}\" is null"),
                )?;
                assert_eq!(nulls["nulls"], 0, "{table}.{name}");
            }
        }
    }
    Ok(())
}

/// Name, type and null of a column, as docs/parquet.md has them.
type Described = (String, String, String);

/// The columns of docs/parquet.md, by table.
fn columns_of_the_page() -> anyhow::Result<BTreeMap<String, Vec<Described>>> {
    let page = std::fs::read_to_string(root().join("docs/parquet.md"))?;
    let mut tables: BTreeMap<String, Vec<Described>> = BTreeMap::new();
    let mut table = String::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut table);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, name, kind, _, _, null, _] = cells.as_slice()
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        {
            let column = (name.to_owned(), (*kind).to_owned(), (*null).to_owned());
            tables.entry(table.clone()).or_default().push(column);
        }
    }
    ensure!(tables.len() == 7, "{} tables", tables.len());
    Ok(tables)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn no_path_of_a_client_leaves_unless_it_is_asked_for() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    const PATHS: &str = "select count(\"url.path\") as raw, count(\"http.route\") as routes,
        count(*) filter (\"http.route\" similar to '.*/[0-9]+(/.*)?') as numbered from requests";
    let folded = exported(&["gthread-exhausted"], &[])?;
    let row = duckdb.one(folded.path(), PATHS)?;
    assert_eq!((&row["raw"], &row["numbered"]), (&Value::from(0), &Value::from(0)), "{row}");
    assert!(row["routes"].as_u64() > Some(0), "{row}");
    // Nothing of the bytes, whatever column they might be in.
    let raw = exported(&["gthread-exhausted"], &["--raw-paths"])?;
    let paths = duckdb.one(
        raw.path(),
        "select min(\"url.path\") as path from requests where \"url.path\" <> \"http.route\"",
    )?;
    let path = text(&paths["path"]);
    assert!(path.len() > 3, "no recorded path has a number");
    let holds = |directory: &Path| -> anyhow::Result<bool> {
        let found = duckdb.one(directory, &format!(
            "select (select count(*) from requests where \"url.path\" = '{path}') as named,
                    (select count(*) from findings where contains(concat(sentence, advice), '{path}')) as said"))?;
        Ok(found["named"] != 0 || found["said"] != 0)
    };
    assert!(holds(raw.path())? && !holds(folded.path())?, "{path}");
    Ok(())
}

#[test]
fn exporting_again_replaces_and_names_do_not_lead_elsewhere() -> anyhow::Result<()> {
    let directory = exported(&["sync-healthy"], &["--service", "../shop: a"])?;
    let first = files(directory.path())?;
    assert_eq!(first.len(), 7, "{first:?}");
    assert!(
        first.iter().all(|file| file.to_string_lossy().contains("/service=..%2Fshop%3A%20a/date=20")),
        "{first:?}"
    );
    let bytes = std::fs::read(first.first().context("no file")?)?;
    let again = export(directory.path(), &["sync-healthy"], &["--service", "../shop: a", "--quiet"])?;
    assert!(again.status.success() && again.stderr.is_empty(), "{}", again.stderr);
    assert_eq!(files(directory.path())?, first);
    assert_eq!(
        std::fs::read(first.first().context("no file")?)?,
        bytes,
        "the same recording gives other bytes"
    );
    Ok(())
}

#[test]
fn a_full_disk_is_one_clear_error_and_leaves_nothing() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let to = directory.path().join("out");
    // A limit on the size of files stands for the full disk: 4 blocks of 512 bytes hold no table.
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 4; exec \"$0\" export \"$1\" -o \"$2\""])
        .arg(wsgi_trace_binary()?)
        .arg(recording("mod-wsgi-daemon"))
        .arg(&to)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.status.signal()), (Some(7), None), "{said}");
    assert!(said.contains("no space left for ") && said.trim_end().lines().count() == 1, "{said}");
    if to.exists() {
        bail!("left: {:?}", files(&to)?);
    }
    Ok(())
}

#[test]
fn what_is_no_recording_is_refused_and_leaves_nothing() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let to = directory.path().join("out");
    let path = root().join("tests/recordings/README.md").display().to_string();
    let outcome = Program::run(&["export", &path, "-o", &to.display().to_string()], LIMIT)?;
    assert_eq!(outcome.status.code(), Some(8), "{}", outcome.stderr);
    assert!(!to.exists());
    Ok(())
}

#[test]
fn a_recording_that_was_cut_off_is_exported_as_far_as_it_goes() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    let whole = std::fs::read(recording("uvicorn-uvloop"))?;
    let cut = directory.path().join("cut.wtrace");
    std::fs::write(&cut, whole.get(..whole.len() * 7 / 10).context("empty")?)?;
    let to = directory.path().join("out");
    let (cut, to_text) = (cut.display().to_string(), to.display().to_string());
    let outcome = Program::run(&["export", &cut, "-o", &to_text], LIMIT)?;
    assert!(outcome.status.success(), "{}", outcome.stderr);
    let row = duckdb.one(
        &to,
        "select is_recording_truncated, is_complete, requests_completed = (select count(*) from requests where not is_open) as same
         from windows",
    )?;
    assert_eq!(
        row,
        serde_json::json!({ "is_recording_truncated": true, "is_complete": false, "same": true })
    );
    Ok(())
}
