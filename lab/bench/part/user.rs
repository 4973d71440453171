//! Part `user`: what the user side costs: speed of a replay, CPU time and memory of a live run, size of a
//! recording.
//!
//! In: made-up recordings, servers under load. Out: slices a second, nanoseconds and bytes per request,
//! instructions.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::child::{Child, until};

use crate::account::process_ns;
use crate::client;
use crate::figure::{Aim, PartResult, Unit};
use crate::instructions;
use crate::part::Bench;
use crate::replay;
use crate::server::{Kind, Server, beside, calibrate, on_cpus};
use crate::statistics::Interval;
use crate::subject::{OURS, Subject, Target};

const REPLAY: &str = "Reading a recording, one core";
const INSTRUCTIONS: &str = "Instructions of a replay";
const LIVE: &str = "A live run";
const RECORDING: &str = "A recording";

/// Requests of the short recording; the long one has ten times as many.
const REQUESTS: u64 = 100_000;

pub(crate) fn run(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("user");
    bench.measure(&[(REPLAY, replays), (LIVE, live), (RECORDING, recordings)], &mut result);
    bench.finish(result)
}

fn replays(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    let directory = wsgi_trace_test_support::root().join("target/bench");
    std::fs::create_dir_all(&directory)?;
    let program = beside("wsgi-trace")?;
    let mut peaks = Vec::new();
    for factor in [1, 10] {
        let path = directory.join(format!("replay-{factor}.wtrace"));
        let requests = REQUESTS * factor / if bench.quick { 10 } else { 1 };
        let slices = replay::make(&path, requests)? as f64;
        let row = format!("{} k requests", requests / 1000);
        let (mut rates, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds(6) {
            let run = replay::measure(&program, &path)?;
            rates.push(slices / run.wall_seconds);
            memory.push(run.peak_kilobytes as f64 * 1024.0);
        }
        let aim = Some(Aim::at_least(3e6));
        result.add((REPLAY, &row, "slices a second"), Unit::PerSecond, Interval::of(&rates), aim);
        result.add((REPLAY, &row, "peak memory"), Unit::Bytes, Interval::of(&memory), None);
        let bytes = path.metadata()?.len() as f64 / requests as f64;
        result.add((REPLAY, &row, "file per request"), Unit::Bytes, Interval::of(&[bytes]), None);
        if let Some(short) = peaks.first().cloned() {
            let ratios: Vec<f64> =
                memory.iter().zip::<Vec<f64>>(short).map(|(long, short)| long / short).collect();
            let aim = Some(Aim::at_most(1.05));
            let ratio = Interval::of_ratios(&ratios);
            result.add((REPLAY, &row, "memory, to the shorter one"), Unit::Ratio, ratio, aim);
        }
        peaks.push(memory);
        std::fs::remove_file(&path)?;
    }
    match instructions::replay() {
        Ok(replay) => {
            let count = Interval::of(&[replay.per_record]);
            result.add((REPLAY, "under callgrind", "instructions per slice"), Unit::Count, count, None);
            for (work, share) in replay.spent_on {
                let share = Interval::of(&[share]);
                result.add((INSTRUCTIONS, work, "share of all"), Unit::Share, share, None);
            }
        }
        Err(error) => result.miss(REPLAY, "under callgrind", &format!("{error:#}")),
    }
    Ok(())
}

/// From this second on it follows waits, too.
const FOLLOWED_FROM_SECONDS: f64 = 5.0;

/// CPU time and memory of the program while it watches a busy server.
fn live(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    let Some(subject) = Subject::named(OURS) else { bail!("there is no such subject") };
    for (kind, cpus, situation) in [
        (Kind::GunicornGthread, &[0][..], ""),
        (Kind::GunicornSync, &[0], ""),
        (Kind::GunicornGthread, &[0, 1], ", GIL convoy on two cores"),
    ] {
        let server = Server::start(kind, cpus, 1)?;
        let attached =
            subject.start(&Target { root: server.root(), worker: server.worker(), cpus: vec![1] })?;
        let pid = attached.pid().context("nothing is attached")?;
        let (mut per_request, mut shares, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        // Tables are full, and a wait is followed three seconds after the end of its request.
        client::closed_loop(&server, "/", &[1], FOLLOWED_FROM_SECONDS)?;
        for _ in 0..bench.rounds(12) {
            let before = process_ns(pid);
            let load = client::closed_loop(&server, "/", &[1], 1.0)?;
            let used = process_ns(pid).saturating_sub(before) as f64;
            let requests = load.get("throughput").unwrap_or(0.0);
            per_request.push(used / requests);
            shares.push(used / 1e9);
            memory.push(resident_bytes(pid)?);
        }
        attached.finish()?;
        let row = &format!("{}{situation}", kind.name());
        let per_request = Interval::of(&per_request);
        result.add((LIVE, row, "CPU of the program per request"), Unit::Nanoseconds, per_request, None);
        result.add((LIVE, row, "of a core, at saturation"), Unit::Share, Interval::of(&shares), None);
        let half = memory.len() / 2;
        if let (Some(first), Some(last)) = (memory.get(..half), memory.get(half..)) {
            result.add((LIVE, row, "memory"), Unit::Bytes, Interval::of(last), None);
            let growth: Vec<f64> = last.iter().zip(first).map(|(last, first)| last / first).collect();
            let aim = Some(Aim::at_most(1.02));
            let growth = Interval::of_ratios(&growth);
            result.add((LIVE, row, "memory, second half to first"), Unit::Ratio, growth, aim);
        }
    }
    Ok(())
}

fn resident_bytes(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no memory")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no memory")?.parse()?;
    Ok(kib * 1024.0)
}

/// Bytes of a recording per request.
fn recordings(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    let pieces = calibrate(5_000_000)?;
    for (kind, path, cpus, name) in [
        (Kind::GunicornGthread, "/", vec![0], "gunicorn gthread, hello world"),
        (Kind::GunicornSync, "/", vec![0], "gunicorn sync, hello world"),
        (Kind::GunicornGthread, "/", vec![0, 1], "gunicorn gthread, hello world, GIL convoy"),
        (Kind::GunicornGthread, "/work", vec![0], "gunicorn gthread, 5 ms application"),
    ] {
        let server = Server::start(kind, &cpus, pieces)?;
        let mut sizes = Vec::new();
        for _ in 0..bench.rounds(6) {
            sizes.push(record(&server, path)?);
        }
        let aim = Some(Aim::at_most(200.0));
        result.add((RECORDING, name, "per request"), Unit::Bytes, Interval::of(&sizes), aim);
    }
    Ok(())
}

fn record(server: &Server, path: &str) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("run.wtrace");
    let said = directory.path().join("said");
    let mut command = Command::new(beside("wsgi-trace")?);
    command
        .args(["record", "--pid", &server.root().to_string(), "--hooks", "btf", "--output"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&said)?);
    on_cpus(&mut command, &[1]);
    let mut child = Child::start(&mut command, "wsgi-trace record")?;
    until("the recording to begin", Duration::from_secs(30), || {
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        if child.ended()?.is_some() {
            bail!("wsgi-trace record ended: {text}");
        }
        Ok(text.contains("watching process").then_some(()))
    })?;
    client::closed_loop(server, path, &[1], 2.0)?;
    child.signal(libc::SIGINT);
    child.wait(Duration::from_secs(30))?;
    let requests = requests(&file)?;
    Ok(file.metadata()?.len() as f64 / requests)
}

/// Requests that a report on the recording counts.
fn requests(recording: &Path) -> anyhow::Result<f64> {
    let output = Command::new(beside("wsgi-trace")?)
        .arg("report")
        .arg(recording)
        .args(["--format", "json"])
        .output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("no report")?;
    report.pointer("/requests/completed").and_then(serde_json::Value::as_f64).context("no requests")
}
