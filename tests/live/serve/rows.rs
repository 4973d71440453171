//! `--parquet`: each request that the agent saw is a row that another engine reads, or is counted as missing.
//!
//! In: gunicorn, clients, DuckDB, a small file system. Out: verdicts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use wsgi_trace_test_support::agent::{Agent, Samples, sum};
use wsgi_trace_test_support::duckdb::Duckdb;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::require_bpf;

use super::{ask, free_port, gunicorn_on};

const REQUESTS: &str = "wsgi_trace_requests_total";
const WRITTEN: &str = "wsgi_trace_parquet_requests_total";
const LOST: &str = "wsgi_trace_parquet_requests_lost_total";

/// An agent that writes a set of files each second.
fn agent(port: u16, to: &Path) -> anyhow::Result<Agent> {
    let to = to.display().to_string();
    let options = ["--window", "1s", "--parquet", &to, "--parquet-every", "1s", "--service", "shop"];
    Agent::watching(&port.to_string(), &options)
}

#[test]
fn every_request_that_was_seen_is_a_row_and_windows_count_them() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let directory = tempfile::tempdir()?;
    let agent = agent(port, directory.path())?;
    for _ in 0..10 {
        ensure!(ask(port, "/cpu/5")? == 200);
    }
    agent.wait_for_metrics("files that are whole", |samples| sum(samples, WRITTEN, &[]) > 0.0)?;
    for _ in 0..10 {
        ensure!(ask(port, "/")? == 200);
    }
    agent.wait_for_metrics("all requests", |samples| sum(samples, REQUESTS, &[]) == 20.0)?;
    let outcome = agent.end()?;
    ensure!(outcome.status.success() && outcome.stderr.contains("rows: requests 20, "), "{outcome:?}");

    let row = duckdb.one(
        directory.path(),
        "select (select count(*) from requests where not is_open)::int as rows,
                (select sum(requests_completed) from windows)::int as counted,
                (select count(*) from requests anti join windows using (recording_id, window_number))::int as alone,
                (select count(distinct recording_id) from windows)::int as recordings,
                (select max(window_number) + 1 - count(*) from windows)::int as missing,
                (select bool_and(is_complete) from windows) as complete,
                (select sum(cpu_ns) > 0 from requests) as has_phases",
    )?;
    let expected = serde_json::json!({"rows": 20, "counted": 20, "alone": 0, "recordings": 1, "missing": 0,
        "complete": true, "has_phases": true});
    ensure!(row == expected, "{row}");
    Ok(())
}

/// A file system of its own, which ends with the test.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(kilobytes: u32) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"])
            .arg(directory.path())
            .status()?;
        ensure!(mounted.success(), "no tmpfs could be mounted");
        Ok(Self(directory))
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_path_buf()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failing test may leave an agent in it for a moment.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_counted_and_overcome_and_no_half_file_is_seen() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let Some(duckdb) = Duckdb::find() else { return Ok(()) };
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    // Room for some sets of files, most of it taken by something else.
    let disk = SmallDisk::mount(1_000)?;
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 800_000])?;
    let agent = agent(port, &disk.path())?;
    let is_failing = |samples: &Samples| sum(samples, "wsgi_trace_parquet_failing", &[]) == 1.0;
    agent.wait_for_metrics("the disk to be full", |samples| {
        // A request in each window, so that there is something to lose.
        let asked = ask(port, "/");
        asked.is_ok() && is_failing(samples) && sum(samples, LOST, &[]) > 0.0
    })?;
    std::fs::remove_file(&ballast)?;
    let written = sum(&agent.metrics()?, WRITTEN, &[]);
    agent.wait_for_metrics("rows to be written again", |samples| {
        let asked = ask(port, "/");
        asked.is_ok() && !is_failing(samples) && sum(samples, WRITTEN, &[]) > written
    })?;
    let outcome = agent.end()?;
    let said = &outcome.stderr;
    ensure!(outcome.status.success(), "{said}");
    for words in
        ["rows are not written: no space left for ", "rows are written again", "; not written: windows "]
    {
        ensure!(said.contains(words), "{words}: {said}");
    }
    // What it says at the end, against what another engine finds.
    let number = |after: &str| -> anyhow::Result<u64> {
        let rest = said.rsplit_once("rows: requests ").context("no totals")?.1;
        let rest = rest.split_once(after).context("no such number")?.1;
        Ok(rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse()?)
    };
    let sums = duckdb.one(
        &disk.path(),
        "select count(*)::int as windows, sum(requests_completed)::int as requests,
                (max(window_number) + 1)::int as seen from windows",
    )?;
    ensure!(sums["windows"].as_u64() == Some(number(", windows ")?), "{sums} {said}");
    ensure!(
        sums["seen"].as_u64() == Some(number(", windows ")? + number("not written: windows ")?),
        "{sums} {said}"
    );
    Ok(())
}
