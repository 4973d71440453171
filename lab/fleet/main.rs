//! A fleet true in its proportions, and two engines that are asked the same: `cargo xtask fleet`.
//!
//! In: recordings of the tree, DuckDB, Spark (`WSGI_TRACE_SPARK`: a Python that has it; else DuckDB alone),
//! the size (`WSGI_TRACE_FLEET`: hosts, days, copies). Out: times and bytes, told as they come; verdicts:
//! both give the same rows, and they name what was put in and no other host.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};
use wsgi_trace_test_support::duckdb::{Duckdb, TABLES};
use wsgi_trace_test_support::fleet::{Fleet, SERVICE, SLOW_HOST, SLOWER_ROUTE};
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::root;

/// Recordings of four services: one with several endpoints, one whose threads run out, one where nothing is
/// wrong, one that drops connections.
const SERVICES: [(&str, &str); 4] = [
    ("uwsgi-threads", SERVICE),
    ("gthread-exhausted", "till"),
    ("gthread-healthy", "blog"),
    ("sync-dropped", "edge"),
];
/// The service with too few threads.
const STARVED: &str = "till";
/// How far apart numbers of two engines may be: they round to three digits what they add up in another order.
const APART: f64 = 0.002;

type Row = Map<String, Value>;

/// What an engine said of a query.
struct Said {
    took: Duration,
    rows: Vec<Row>,
    /// Bytes that went between executors.
    shuffled_bytes: u64,
    /// Bytes that did not fit into the memory of executors.
    spilled_bytes: u64,
}

/// Ticks of CPU time in a second, as the kernel tells programs.
const TICKS_IN_A_SECOND: f64 = 100.0;

/// CPU time of the programs that this one has waited for. It says what a query costs where other work has the
/// cores too.
fn waited_for_cpu_s() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // proc_pid_stat(5): cutime and cstime are the fields 16 and 17, and the first of these here is the third.
    let [user, system] = [13, 14].map(|place| fields.get(place).and_then(|ticks| ticks.parse::<f64>().ok()));
    Ok((user.context("no cutime")? + system.context("no cstime")?) / TICKS_IN_A_SECOND)
}

impl Said {
    /// Told at once: a large fleet takes long.
    fn told(engine: &str, query: &str, took: Duration, rows: Vec<Row>) -> Self {
        println!("{engine}: {query}, {:.1} s, rows {}", took.as_secs_f64(), rows.len());
        Self { took, rows, shuffled_bytes: 0, spilled_bytes: 0 }
    }
}

fn size() -> anyhow::Result<[u32; 3]> {
    let text = std::env::var("WSGI_TRACE_FLEET").unwrap_or_else(|_unset| "12,4,4".to_owned());
    let numbers: Vec<u32> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let size: [u32; 3] = numbers
        .try_into()
        .map_err(|_others| anyhow::anyhow!("WSGI_TRACE_FLEET is hosts,days,copies: {text}"))?;
    // The slow host is the eighth; services have their second version from the second half of the days on.
    ensure!(size[0] >= 8 && size[1] >= 2, "what is put in takes eight hosts and two days: {text}");
    Ok(size)
}

fn queries() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("queries"))? {
        let path = entry?.path();
        let name = path.file_stem().context("no name")?.to_string_lossy().into_owned();
        if !name.starts_with("tables-") {
            found.insert(name, path);
        }
    }
    Ok(found)
}

fn make(duckdb: &Duckdb, directory: &Path, [hosts, days, copies]: [u32; 3]) -> anyhow::Result<PathBuf> {
    let real = directory.join("real");
    for (recording, service) in SERVICES {
        let recording =
            root().join("tests/recordings").join(recording).with_extension("wtrace").display().to_string();
        let to = real.display().to_string();
        let arguments = ["export", &recording, "-o", &to, "--service", service];
        let outcome = Program::run(&arguments, Duration::from_secs(60))?;
        ensure!(outcome.status.success(), "{}", outcome.stderr);
    }
    let tables = directory.join("fleet");
    Fleet { hosts, days, copies, differs: true }.make(duckdb, &real, &tables)?;
    Ok(tables)
}

fn bytes(path: &Path) -> anyhow::Result<u64> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum()
}

fn by_duckdb(
    duckdb: &Duckdb,
    tables: &Path,
    queries: &BTreeMap<String, PathBuf>,
) -> anyhow::Result<BTreeMap<String, Said>> {
    let mut said = BTreeMap::new();
    for (name, path) in queries {
        let sql = std::fs::read_to_string(path)?;
        let (began, before_s) = (Instant::now(), waited_for_cpu_s()?);
        let rows = duckdb.all(tables, &sql)?;
        let (took, cpu_s) = (began.elapsed(), waited_for_cpu_s()? - before_s);
        let rows = rows.into_iter().map(|row| row.as_object().cloned().context("no row"));
        let rows = rows.collect::<Result<_, _>>()?;
        said.insert(name.clone(), Said::told(&format!("DuckDB, CPU {cpu_s:.1} s"), name, took, rows));
    }
    Ok(said)
}

fn by_spark(
    python: &Path,
    tables: &Path,
    queries: &BTreeMap<String, PathBuf>,
) -> anyhow::Result<BTreeMap<String, Said>> {
    let mut spark = Command::new(python)
        .arg(root().join("lab/fleet/spark.py"))
        .arg(tables)
        .arg(root().join("queries/tables-spark.sql"))
        .args(queries.values())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| python.display().to_string())?;
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    for line in BufReader::new(spark.stdout.take().context("no pipe")?).lines() {
        let line = line?;
        if !line.starts_with('{') {
            continue;
        }
        let answer: &Value = &serde_json::from_str(&line)?;
        let name = answer["query"].as_str().context("no name")?;
        if let Some(seconds) = answer["seconds"].as_f64() {
            let rows = serde_json::from_value(answer["rows"].clone())?;
            said.insert(name.to_owned(), Said::told("Spark", name, Duration::from_secs_f64(seconds), rows));
        } else if let Some(said) = said.get_mut(name) {
            let bytes = |key: &str| answer[key].as_u64().with_context(|| format!("{key}: {line}"));
            (said.shuffled_bytes, said.spilled_bytes) = (bytes("shuffled_bytes")?, bytes("spilled_bytes")?);
        }
    }
    ensure!(spark.wait()?.success(), "Spark failed; what it said stands above");
    Ok(said)
}

/// A row as both engines would write it: moments to the second; numbers apart, as they may differ in the last
/// digit.
fn plain(row: &Row) -> (Vec<String>, Vec<f64>) {
    let mut names: Vec<&String> = row.keys().collect();
    names.sort();
    let (mut texts, mut numbers) = (Vec::new(), Vec::new());
    for name in names {
        match row.get(name) {
            Some(Value::Number(number)) => numbers.push(number.as_f64().unwrap_or(f64::NAN)),
            Some(Value::String(text)) => {
                // Decimal numbers come as text from one of them.
                match text.parse::<f64>() {
                    Ok(number) if name != "version_before" && name != "version_after" => numbers.push(number),
                    _ if name == "since" => texts.push(text.chars().take(19).collect()),
                    _ => texts.push(text.clone()),
                }
            }
            other => texts.push(other.map(Value::to_string).unwrap_or_default()),
        }
    }
    (texts, numbers)
}

fn compare(name: &str, one: &[Row], other: &[Row]) -> anyhow::Result<()> {
    ensure!(one.len() == other.len(), "{name}: {} rows and {}", one.len(), other.len());
    let sorted = |rows: &[Row]| {
        let mut rows: Vec<_> = rows.iter().map(plain).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| format!("{:?}", a.1).cmp(&format!("{:?}", b.1))));
        rows
    };
    for (a, b) in sorted(one).iter().zip(&sorted(other)) {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= APART.max(a.abs() * 1e-6);
        let is_same = a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(&b.1).all(near);
        ensure!(is_same, "{name}:\n{a:?}\n{b:?}");
    }
    Ok(())
}

fn named(rows: &[Row], keys: &[&str]) -> BTreeSet<String> {
    let text = |row: &Row, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    rows.iter().map(|row| keys.iter().map(|key| text(row, key)).collect::<Vec<_>>().join(" ")).collect()
}

/// All that was put in, and no other host.
fn assert_causes(engine: &str, said: &BTreeMap<String, Said>) -> anyhow::Result<()> {
    let rows = |name: &str| said.get(name).map(|said| said.rows.as_slice()).context("no answer");
    let hosts = named(rows("outlier-host")?, &["service", "host"]);
    ensure!(hosts == BTreeSet::from([format!("{SERVICE} {SLOW_HOST}")]), "{hosts:?}");
    let routes = named(rows("deploy")?, &["service", "route"]);
    ensure!(routes == BTreeSet::from([format!("{SERVICE} {SLOWER_ROUTE}")]), "{routes:?}");
    let first = rows("capacity")?.first().context("no service")?;
    ensure!(first.get("service").and_then(Value::as_str) == Some(STARVED), "{first:?}");
    println!("{engine} names what was put in:");
    for row in [rows("outlier-host")?, rows("deploy")?].concat() {
        println!("  {}", Value::Object(row));
    }
    println!("  {}", Value::Object(first.clone()));
    Ok(())
}

fn table(duck: &BTreeMap<String, Said>, spark: &BTreeMap<String, Said>) -> anyhow::Result<()> {
    println!(
        "{:<22} {:>8} {:>10} {:>10} {:>13} {:>12}",
        "query", "rows", "DuckDB, s", "Spark, s", "shuffled, MB", "spilled, MB"
    );
    for (name, one) in duck {
        let other = spark.get(name).with_context(|| format!("Spark said nothing of {name}"))?;
        println!(
            "{name:<22} {:>8} {:>10.1} {:>10.1} {:>13} {:>12}",
            one.rows.len(),
            one.took.as_secs_f64(),
            other.took.as_secs_f64(),
            other.shuffled_bytes / 1_000_000,
            other.spilled_bytes / 1_000_000
        );
    }
    Ok(())
}

#[test]
#[ignore = "make fleet: takes gigabytes, and a Java of the system"]
fn two_engines_give_the_same_rows_and_name_what_was_put_in() -> anyhow::Result<()> {
    let Some(duckdb) = Duckdb::find() else { bail!("DuckDB is missing: make setup") };
    let directory = tempfile::tempdir_in(root().join("target"))?;
    let size = size()?;
    let [hosts, days, copies] = size;
    println!("making: hosts {hosts}, days {days}, copies {copies}");
    let began = Instant::now();
    let tables = make(&duckdb, directory.path(), size)?;
    let count = duckdb.one(&tables, "select count(*)::bigint as requests from requests")?;
    let requests = count["requests"].as_u64().context("no requests")?;
    println!(
        "made: requests {requests}, bytes {}, tables {}, {:.0} s",
        bytes(&tables)?,
        TABLES.len(),
        began.elapsed().as_secs_f64()
    );
    let queries = queries()?;
    let duck = by_duckdb(&duckdb, &tables, &queries)?;
    assert_causes("DuckDB", &duck)?;
    let Some(python) = std::env::var_os("WSGI_TRACE_SPARK") else {
        println!("Spark was not asked");
        return Ok(());
    };
    let spark = by_spark(Path::new(&python), &tables, &queries)?;
    table(&duck, &spark)?;
    for (name, one) in &duck {
        compare(name, &one.rows, &spark.get(name).context("no answer")?.rows)?;
    }
    println!("both give the same rows");
    assert_causes("Spark", &spark)
}
