//! `fuzz`: runs every fuzz target for a minute each, or as long as is asked for.
//!
//! In: target names, or none for all; `--seconds N`. Out: success if none of them found anything; executions
//! a second and coverage, at the start and at the end. The seeds are those of `fuzz/seeds`; what a run finds
//! is kept in `fuzz/corpus`, what it breaks in `fuzz/artifacts`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::command;

/// Targets, as `fuzz/Cargo.toml` names them.
const TARGETS: [&str; 11] = [
    "decode",
    "diff",
    "http",
    "interpreter",
    "items",
    "otlp",
    "packet",
    "pipeline",
    "recording_reader",
    "redact",
    "report",
];
/// How long each runs, in seconds.
const SECONDS: &str = "60";
/// One input must not take longer, in seconds, nor more memory, in MB: what is read is bounded, however small
/// a file it is in.
const LIMITS: [&str; 4] = ["-timeout=20", "-rss_limit_mb=1536", "-malloc_limit_mb=512", "-max_len=65536"];
/// What is instrumented is built for a target of its own: build scripts are not.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// What a fuzzer needs to see: which edges are taken, which values compared; addresses and arithmetic are
/// checked.
const FLAGS: [&str; 10] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Cforce-frame-pointers",
];

/// Runs them one after the other.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut seconds = SECONDS.to_owned();
    let mut names = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            seconds.clone_from(arguments.next().context("--seconds needs a number")?);
        } else {
            names.push(argument.as_str());
        }
    }
    if let Some(name) = names.iter().find(|name| !TARGETS.contains(name)) {
        bail!("there is no target {name}: {}", TARGETS.join(", "));
    }
    let chosen: Vec<&str> =
        TARGETS.into_iter().filter(|target| names.is_empty() || names.contains(target)).collect();
    command::run(&mut build(&chosen))?;
    let mut table = Vec::new();
    let mut failed = Vec::new();
    for target in chosen {
        println!("fuzzing {target} for {seconds} s");
        let (row, is_good) = fuzz(target, &seconds)?;
        println!("{row}");
        table.push(row);
        if !is_good {
            failed.push(target);
        }
    }
    println!("\n{}", table.join("\n"));
    if !failed.is_empty() {
        bail!("found something: {}; the inputs are in fuzz/artifacts", failed.join(", "));
    }
    Ok(())
}

/// The sanitizer and the coverage are nightly options; the pinned compiler takes them so.
fn build(targets: &[&str]) -> Command {
    let mut build = command::cargo(&["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    build.args(["--target", TRIPLE, "--target-dir", "target/fuzz"]);
    for target in targets {
        build.args(["--bin", target]);
    }
    build.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    build
}

/// Runs one; its row of the table, and whether it found nothing.
fn fuzz(target: &str, seconds: &str) -> anyhow::Result<(String, bool)> {
    let root = command::root();
    let directory = |kind: &str| root.join("fuzz").join(kind).join(target);
    let (corpus, artifacts) = (directory("corpus"), directory("artifacts"));
    for place in [&corpus, &artifacts] {
        std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    }
    let mut fuzzer = Command::new(root.join("target/fuzz").join(TRIPLE).join("release").join(target));
    fuzzer.arg(&corpus).arg(directory("seeds")).args(LIMITS).arg(format!("-max_total_time={seconds}"));
    fuzzer.arg("-print_final_stats=1").arg(prefix(&artifacts)).stdin(Stdio::null());
    // Leaks are no harm here: the servers under test live as long as the process.
    fuzzer.env("ASAN_OPTIONS", "detect_leaks=0").current_dir(&root);
    let output = fuzzer.output().with_context(|| format!("{target} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{said}");
    }
    Ok((row(target, &said), output.status.success()))
}

fn prefix(artifacts: &Path) -> String {
    format!("-artifact_prefix={}/", artifacts.display())
}

/// Executions, and coverage (edges, and features of them) when the seeds had been read and at the end.
fn row(target: &str, said: &str) -> String {
    let covered: Vec<&str> =
        said.lines().filter(|line| line.starts_with('#') && line.contains(" cov: ")).collect();
    let first = covered.iter().find(|line| line.contains("INITED")).or(covered.first());
    let number = |line: Option<&&str>, name: &str| -> String {
        let words: Vec<&str> = line.map_or_else(Vec::new, |line| line.split_whitespace().collect());
        let value = words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
        (*value.unwrap_or(&"-")).to_owned()
    };
    let total = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().last()).unwrap_or("-").to_owned()
    };
    let last = covered.last();
    format!(
        "{target:17} {:>9} runs {:>6}/s  cov {:>6} -> {:>6}  ft {:>6} -> {:>6}",
        total("stat::number_of_executed_units:"),
        total("stat::average_exec_per_sec:"),
        number(first, "cov:"),
        number(last, "cov:"),
        number(first, "ft:"),
        number(last, "ft:"),
    )
}
