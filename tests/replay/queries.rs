//! The queries of `queries/`, on exported recordings and on a fleet made of them.
//!
//! In: `queries/*.sql`, `tests/recordings`, DuckDB. Out: verdicts: each runs, and they name the differences
//! that were put in, all of them and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use profiler_core::phase::Phase;
use serde_json::Value;
use tempfile::TempDir;
use wsgi_trace_test_support::duckdb::{Duckdb, TABLES};
use wsgi_trace_test_support::fleet::{Fleet, SERVICE, SLOW_HOST, SLOWER_ROUTE, copy};
use wsgi_trace_test_support::program::{Outcome, Program};
use wsgi_trace_test_support::root;

/// Recordings of four services: one with several endpoints, one whose threads run out, one where nothing is
/// wrong, one that drops connections.
const SERVICES: [(&str, &str); 4] = [
    ("uwsgi-threads", SERVICE),
    ("gthread-exhausted", "till"),
    ("gthread-healthy", "blog"),
    ("sync-dropped", "edge"),
];

fn export(to: &Path, services: &[(&str, &str)]) -> anyhow::Result<()> {
    for (recording, service) in services {
        let recording =
            root().join("tests/recordings").join(recording).with_extension("wtrace").display().to_string();
        let to = to.display().to_string();
        let outcome =
            Program::run(&["export", &recording, "-o", &to, "--service", service], Duration::from_secs(60))?;
        ensure!(outcome.status.success(), "{}", outcome.stderr);
    }
    Ok(())
}

/// A fleet of twelve hosts and four days.
fn fleet(duckdb: &Duckdb, differs: bool) -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let real = directory.path().join("real");
    export(&real, &SERVICES)?;
    let fleet = Fleet { hosts: 12, days: 4, copies: 4, differs };
    fleet.make(duckdb, &real, &directory.path().join("fleet"))?;
    Ok(directory)
}

fn queries() -> anyhow::Result<Vec<PathBuf>> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(root().join("queries"))? {
        list.push(entry?.path());
    }
    list.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tables-")));
    list.sort();
    ensure!(list.len() >= 6, "{list:?}");
    Ok(list)
}

fn ask(duckdb: &Duckdb, tables: &Path, query: &str) -> anyhow::Result<Vec<Value>> {
    let path = root().join("queries").join(query).with_extension("sql");
    duckdb.all(tables, &std::fs::read_to_string(&path).with_context(|| path.display().to_string())?)
}

fn named(rows: &[Value], keys: &[&str]) -> BTreeSet<String> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| keys.iter().map(|key| text(row, key)).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn every_query_runs_on_whatever_was_recorded() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    // All kinds of servers; light mode; nothing but idle time.
    for recordings in [
        &[("light-gthread", "a"), ("mod-wsgi-daemon", "b"), ("uvicorn-uvloop", "b"), ("sync-dropped", "c")][..],
        &[("sync-idle", "a")],
    ] {
        let directory = tempfile::tempdir()?;
        export(directory.path(), recordings)?;
        for query in queries()? {
            let sql = std::fs::read_to_string(&query)?;
            let rows = duckdb.all(directory.path(), &sql).with_context(|| query.display().to_string())?;
            if query.ends_with("coverage.sql") {
                assert!(!rows.is_empty());
            }
        }
    }
    Ok(())
}

/// Rewrites the requests of a service without a column that a version before did not have.
fn as_an_older_agent(duckdb: &Duckdb, tables: &Path, service: &str) -> anyhow::Result<()> {
    let pattern = tables.join(format!("requests/service={service}/*/*/*.parquet"));
    let file = duckdb.one(tables, &format!("SELECT file FROM glob('{}')", pattern.display()))?;
    let file = file.get("file").and_then(Value::as_str).context("no file")?;
    let older = format!("{file}.older");
    let rows =
        format!("SELECT * EXCLUDE (child_wait_ns) FROM read_parquet('{file}', hive_partitioning = false)");
    duckdb.all(tables, &format!("COPY ({rows}) TO '{older}' (FORMAT parquet)"))?;
    Ok(std::fs::rename(older, file)?)
}

#[test]
fn every_query_runs_where_agents_of_two_versions_have_written() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    for older in ["a", "b"] {
        let directory = tempfile::tempdir()?;
        export(directory.path(), &[("gthread-healthy", "a"), ("uwsgi-threads", "b")])?;
        as_an_older_agent(&duckdb, directory.path(), older)?;
        for query in queries()? {
            let sql = std::fs::read_to_string(&query)?;
            duckdb.all(directory.path(), &sql).with_context(|| query.display().to_string())?;
        }
        let of_versions = "SELECT count(*) AS requests, count(child_wait_ns) AS known FROM requests";
        let row = duckdb.one(directory.path(), of_versions)?;
        let number = |name: &str| row[name].as_u64().unwrap_or(0);
        assert!(number("known") > 0 && number("known") < number("requests"), "{row}");
        let program = duckdb.command(directory.path())?.display().to_string();
        let tables = directory.path().display().to_string();
        let page = Program::run(&["fleet", &tables, "--duckdb", &program], Duration::from_secs(60))?;
        assert!(page.status.success(), "{}", page.stderr);
    }
    Ok(())
}

#[test]
fn every_query_says_its_question_and_none_forgets_a_phase() -> anyhow::Result<()> {
    for query in queries()? {
        let sql = std::fs::read_to_string(&query)?;
        let first = sql.lines().next().unwrap_or_default();
        assert!(first.starts_with("-- ") && first.contains(['?', '.']), "{}: {first}", query.display());
        assert_eq!(sql.matches(';').count(), 1, "{}: one statement", query.display());
        // One that lists phases lists all of them, each where the others are.
        let cpu = sql.matches(" cpu_ns").count();
        for phase in Phase::ALL.iter().filter(|_| cpu > 0) {
            let name = format!(" {}_ns", phase.name());
            assert!(sql.matches(&name).count() >= cpu, "{}: {name}", query.display());
        }
    }
    for engine in ["duckdb", "spark"] {
        let sql = std::fs::read_to_string(root().join(format!("queries/tables-{engine}.sql")))?;
        for table in TABLES {
            assert!(sql.contains(&format!("VIEW {table} ")), "tables-{engine}.sql: {table}");
        }
    }
    Ok(())
}

#[test]
fn a_fleet_with_a_slow_disk_and_a_bad_deploy_is_told_so_and_nothing_else() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let directory = fleet(&duckdb, true)?;
    let tables = directory.path().join("fleet");

    let outliers = ask(&duckdb, &tables, "outlier-host")?;
    let expected = ["file_wait_ns", "total_ns"].map(|phase| format!("{SERVICE} {SLOW_HOST} {phase}"));
    assert_eq!(named(&outliers, &["service", "host", "phase"]), BTreeSet::from(expected), "{outliers:#?}");
    let of_file = outliers.iter().find(|row| row["phase"] == "file_wait_ns").context("no file_wait")?;
    assert!((of_file["difference_ms"].as_f64().unwrap_or(0.0) - 15.0).abs() < 0.5, "{of_file}");

    let deploys = ask(&duckdb, &tables, "deploy")?;
    let expected =
        ["backend_wait_ns", "total_ns"].map(|phase| format!("{SERVICE} {SLOWER_ROUTE} {phase} 1 2"));
    let keys = ["service", "route", "phase", "version_before", "version_after"];
    assert_eq!(named(&deploys, &keys), BTreeSet::from(expected), "{deploys:#?}");
    let of_back_end =
        deploys.iter().find(|row| row["phase"] == "backend_wait_ns").context("no backend_wait")?;
    let number = |key: &str| of_back_end[key].as_f64().unwrap_or(0.0);
    assert!((number("after_ms") / number("before_ms") - 2.0).abs() < 0.1, "{of_back_end}");

    the_dashboard_asks_the_same_and_all_of_it(&duckdb, &tables)?;
    the_page_names_what_was_put_in_first_and_in_every_form(&duckdb, &tables)?;
    a_host_that_lost_something_is_left_out_and_said(&duckdb, &tables, &directory.path().join("lossy"))
}

#[test]
fn a_fleet_without_differences_has_no_outlier_and_no_change() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let directory = fleet(&duckdb, false)?;
    let tables = directory.path().join("fleet");
    for query in ["outlier-host", "deploy"] {
        let rows = ask(&duckdb, &tables, query)?;
        assert!(rows.is_empty(), "{query}: {rows:#?}");
    }
    // What is wrong with the recordings themselves is said all the same.
    let capacity = ask(&duckdb, &tables, "capacity")?;
    assert_eq!(capacity.first().map(|row| &row["service"]), Some(&Value::from("till")), "{capacity:#?}");
    assert!(capacity.first().and_then(|row| row["waited_ratio"].as_f64()) > Some(0.3), "{capacity:#?}");
    let changes = ask(&duckdb, &tables, "what-to-change")?;
    let first = changes.first().context("nothing to change")?;
    assert_eq!(
        (&first["service"], &first["finding"], &first["setting_option"], &first["hosts"]),
        (&Value::from("till"), &Value::from("sleeping"), &Value::from("--threads"), &Value::from(12)),
        "{first}"
    );
    // So is what was covered: each service, host and day.
    let coverage = ask(&duckdb, &tables, "coverage")?;
    assert_eq!(coverage.len(), SERVICES.len() * 12 * 4);
    assert!(coverage.iter().all(|row| row["complete_ratio"] == 1.0), "{coverage:#?}");
    Ok(())
}

/// `wsgi-trace fleet` on these tables.
fn page(duckdb: &Duckdb, tables: &Path, options: &[&str]) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let command = duckdb.command(directory.path())?.display().to_string();
    let tables = tables.display().to_string();
    let arguments = [&["fleet", &tables, "--duckdb", &command], options].concat();
    Program::run(&arguments, Duration::from_secs(120))
}

fn the_page_names_what_was_put_in_first_and_in_every_form(
    duckdb: &Duckdb,
    tables: &Path,
) -> anyhow::Result<()> {
    let said = page(duckdb, tables, &["--format", "json"])?;
    ensure!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    let json: &Value = &serde_json::from_str(&said.stdout)?;
    let notable = json["stands_out"].as_array().context("nothing stands out")?;
    let of = |query: &str| -> Vec<&Value> { notable.iter().filter(|one| one["query"] == query).collect() };
    let [outlier] = of("outlier-host")[..] else { bail!("{json:#}") };
    let sentence = |one: &Value| one["sentence"].as_str().unwrap_or_default().to_owned();
    assert!(sentence(outlier).contains(&format!("Host {SLOW_HOST} of {SERVICE} takes ")), "{outlier}");
    assert!(sentence(outlier).contains(" more in file_wait "), "{outlier}");
    let [deploy] = of("deploy")[..] else { bail!("{json:#}") };
    assert!(
        sentence(deploy).contains(SLOWER_ROUTE) && sentence(deploy).contains("in backend_wait"),
        "{deploy}"
    );
    let starved: Vec<String> = of("capacity").into_iter().map(sentence).collect();
    assert!(starved.iter().any(|one| one.starts_with("Service till has no free worker")), "{starved:?}");
    // The disk was slow from the service's first day on, its deploy came later.
    let first = &duckdb.one(
        tables,
        &format!("select min(date)::varchar as day from windows where \"service.name\" = '{SERVICE}'"),
    )?;
    let first = first["day"].as_str().context("no day")?;
    assert_eq!(outlier["since"].as_str(), Some(first));
    assert!(deploy["since"].as_str() > Some(first), "{deploy}");

    let text = page(duckdb, tables, &[])?;
    ensure!(text.status.success(), "{text:?}");
    for line in text.stdout.lines() {
        assert!(line.chars().count() <= 100 || line.starts_with("  "), "{line}");
    }
    let html = page(duckdb, tables, &["--format", "html"])?;
    for one in notable {
        let sentence = sentence(one);
        let start: String = sentence.split(' ').take(4).collect::<Vec<_>>().join(" ");
        assert!(text.stdout.contains(&start), "{start}: {}", text.stdout);
        assert!(html.stdout.contains(&start), "{start}");
    }

    let blog = page(duckdb, tables, &["--format", "json", "--service", "blog"])?;
    let json: &Value = &serde_json::from_str(&blog.stdout)?;
    assert_eq!(json["services"], 1);
    assert!(
        json["stands_out"]
            .as_array()
            .is_some_and(|list| list.iter().all(|one| one["query"] != "outlier-host"))
    );
    Ok(())
}

/// `dashboards/fleet-tables.json`, without Grafana: its macros and variables are replaced as the data source
/// documents them.
fn the_dashboard_asks_the_same_and_all_of_it(duckdb: &Duckdb, tables: &Path) -> anyhow::Result<()> {
    let path = root().join("dashboards/fleet-tables.json");
    let board: &Value = &serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let panels = board["panels"].as_array().context("no panels")?;
    let mut questions = BTreeSet::new();
    for query in queries()? {
        let sql = std::fs::read_to_string(&query)?;
        let statement: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
        questions.insert(statement.join("\n").trim().trim_end_matches(';').to_owned());
    }
    let mut asked = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap_or_default();
        let source = panel.pointer("/datasource/type").and_then(Value::as_str);
        ensure!(source == Some("motherduck-duckdb-datasource"), "{title}");
        let target = panel.pointer("/targets/0").context("no target")?;
        let sql = target["rawSql"].as_str().context("no statement")?;
        // 0: time series, 1: a table.
        let is_table = target["format"] == 1 && panel["type"] == "table";
        if is_table {
            ensure!(questions.contains(sql), "{title}: the statement is in no file of queries/");
            asked.insert(sql.to_owned());
            continue;
        }
        ensure!(target["format"] == 0 && sql.contains("$__timeFilter(start_time)"), "{title}");
        let sql = sql
            .replace(
                "$__timeFilter(start_time)",
                "start_time BETWEEN '2020-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z'",
            )
            .replace("$service", SERVICE);
        let rows = duckdb.all(tables, &sql).with_context(|| title.to_owned())?;
        let first = rows.first().with_context(|| format!("{title}: no rows"))?;
        ensure!(first["time"].is_string(), "{title}: {first}");
        let phases = Phase::ALL.iter().filter(|phase| first.get(phase.name()).is_some()).count();
        ensure!(phases == Phase::ALL.len() || first["metric"].is_string(), "{title}: {first}");
    }
    ensure!(asked == questions, "a question has no panel");
    let variable = board.pointer("/templating/list/1/query").and_then(Value::as_str);
    let services = duckdb.all(tables, variable.context("no variable")?)?;
    ensure!(services.len() == SERVICES.len(), "{services:?}");
    Ok(())
}

/// The slow host's windows lost something: it can no longer be said to be slow.
fn a_host_that_lost_something_is_left_out_and_said(
    duckdb: &Duckdb,
    tables: &Path,
    lossy: &Path,
) -> anyhow::Result<()> {
    std::fs::create_dir(lossy)?;
    for table in TABLES {
        let replaced = if table == "windows" {
            format!("* replace (is_complete and \"host.name\" <> '{SLOW_HOST}' as is_complete)")
        } else {
            "*".to_owned()
        };
        duckdb.all(tables, &copy(&format!("select {replaced} from {table}"), &lossy.join(table))?)?;
    }
    assert!(ask(duckdb, lossy, "outlier-host")?.is_empty());
    let said = page(duckdb, lossy, &[])?;
    assert!(said.stdout.contains("1 of 12 hosts lost something"), "{}", said.stdout);
    assert!(said.stdout.contains(SLOW_HOST), "coverage names it: {}", said.stdout);
    Ok(())
}

#[test]
fn without_an_engine_or_tables_it_says_what_to_do() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().display().to_string();
    let none = Program::run(&["fleet", &path], Duration::from_secs(20))?;
    assert_eq!(none.status.code(), Some(8), "{none:?}");
    assert!(none.stderr.contains("no table of windows there; wsgi-trace export"), "{none:?}");
    std::fs::create_dir(directory.path().join("windows"))?;
    let missing = Program::run(&["fleet", &path, "--duckdb", "/nonexistent"], Duration::from_secs(20))?;
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(missing.stderr.contains("pip install duckdb-cli"), "{missing:?}");
    let mute = Program::run(&["fleet", &path, "--duckdb", "/bin/true"], Duration::from_secs(20))?;
    assert!(mute.status.code() == Some(8) && mute.stdout.is_empty(), "{mute:?}");
    assert!(mute.stderr.contains("DuckDB cannot answer: it says nothing"), "{mute:?}");
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let empty = page(&duckdb, directory.path(), &[])?;
    assert_eq!(empty.status.code(), Some(8), "{empty:?}");
    assert!(empty.stderr.contains("no table of windows there; wsgi-trace export"), "{empty:?}");
    Ok(())
}

#[test]
fn a_service_or_a_day_that_is_not_there_is_an_error_that_names_what_is() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    export(directory.path(), &SERVICES)?;
    for options in [&["--service", "shopp"][..], &["--since", "2100-01-31"]] {
        let said = page(&duckdb, directory.path(), options)?;
        assert!(said.status.code() == Some(8) && said.stdout.is_empty(), "{said:?}");
        assert!(said.stderr.contains(options[1]), "{said:?}");
        assert!(said.stderr.contains("there are services blog, edge, shop, till, from 20"), "{said:?}");
    }
    Ok(())
}

#[test]
fn a_user_of_a_package_gets_the_queries_of_the_tree_for_his_tables_and_keeps_what_he_changed()
-> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let to = directory.path().join("new/queries");
    let write = |tables: &str, to: &Path| {
        let to = to.display().to_string();
        Program::run(&["fleet", tables, "--write-queries", &to], Duration::from_secs(20))
    };
    let first = write("fleet", &to)?;
    ensure!(first.status.success() && first.stdout.is_empty(), "{first:?}");
    let mut compared = 0;
    for entry in std::fs::read_dir(root().join("queries"))? {
        let path = entry?.path();
        let name = path.file_name().context("no name")?;
        ensure!(std::fs::read(to.join(name))? == std::fs::read(&path)?, "{}", path.display());
        compared += 1;
    }
    ensure!(compared == std::fs::read_dir(&to)?.count(), "it writes what the tree does not have");
    ensure!(write("fleet/", &to)?.status.success(), "what says the same is no obstacle");

    let refused = write("/var/lib/rows", &to)?;
    ensure!(
        refused.status.code() == Some(7) && refused.stderr.contains("says something else"),
        "{refused:?}"
    );
    let elsewhere = directory.path().join("elsewhere");
    ensure!(write("/var/lib/rows", &elsewhere)?.status.success());
    for (file, words) in
        [("tables-duckdb", "('/var/lib/rows/requests/*/"), ("tables-spark", "'/var/lib/rows/requests',")]
    {
        let text = std::fs::read_to_string(elsewhere.join(file).with_extension("sql"))?;
        ensure!(text.contains(words) && !text.contains("fleet"), "{text}");
    }
    let quoted = write("it's", &directory.path().join("quoted"))?;
    ensure!(quoted.status.code() == Some(2) && quoted.stderr.contains("without quotes"), "{quoted:?}");
    ensure!(!directory.path().join("quoted").exists(), "nothing is begun");
    Ok(())
}
