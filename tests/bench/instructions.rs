//! Instructions of the hot path, counted by callgrind: the same on every run, so a change of code can be told from noise.
//!
//! In: two made-up recordings, one ten times as long; `instructions.json`, the committed baseline. Out: instructions per
//! slice (what both runs have in common, starting up, cancels out), and whether they are those of the baseline.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::replay;
use crate::server::beside;

/// Requests of the shorter recording.
const REQUESTS: u64 = 1_000;

/// Allowed difference. Runs of one build differ by less than a thousandth (addresses of memory); another processor makes
/// the C library choose other copy routines, which moved the count by about a hundredth.
const TOLERANCE: f64 = 0.02;

/// The committed baseline.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Baseline {
    /// Instructions that one slice costs from the file to the report.
    instructions_per_slice: f64,
}

fn baseline_path() -> PathBuf {
    wsgi_trace_tests::root().join("tests/bench/instructions.json")
}

/// Instructions per slice.
pub(crate) fn per_slice() -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let mut runs = Vec::new();
    for factor in [1, 10] {
        let path = directory.path().join(format!("{factor}.wtrace"));
        let slices = replay::make(&path, REQUESTS * factor)?;
        runs.push((slices as f64, count(&path)?));
    }
    match runs.as_slice() {
        [(few, short), (many, long)] => Ok((long - short) / (many - few)),
        _ => bail!("there were no runs"),
    }
}

/// All instructions of one `wsgi-trace report`.
fn count(recording: &Path) -> anyhow::Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(beside("wsgi-trace")?)
        .arg("report")
        .arg(recording)
        .args(["--format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .context("valgrind is not installed")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("the run under valgrind failed: {}", text.lines().last().unwrap_or_default());
    }
    let line =
        text.lines().find_map(|line| line.split_once("Collected :")).context("no count of instructions")?;
    Ok(line.1.trim().parse()?)
}

/// Compares with the baseline, or writes it.
pub(crate) fn check(accept: bool) -> anyhow::Result<()> {
    let measured = per_slice()?;
    let path = baseline_path();
    if accept {
        let baseline = Baseline { instructions_per_slice: measured.round() };
        std::fs::write(&path, serde_json::to_string_pretty(&baseline)? + "\n")?;
        println!(
            "[bench] the baseline is now {measured:.0} instructions per slice; commit {}",
            path.display()
        );
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
    let baseline: Baseline = serde_json::from_str(&text)?;
    let ratio = measured / baseline.instructions_per_slice;
    println!(
        "[bench] {measured:.0} instructions per slice, baseline {:.0} (x {ratio:.4})",
        baseline.instructions_per_slice
    );
    if ratio > 1.0 + TOLERANCE {
        bail!(
            "the hot path got {:.1} % longer. Look for the cause:\n  target/release/bench --make-recording \
             /tmp/long.wtrace 10000\n  valgrind --tool=callgrind target/release/wsgi-trace report /tmp/long.wtrace \
             --format json >/dev/null\n  callgrind_annotate callgrind.out.*\nIf what was gained is worth it, say so in \
             the commit and accept it:\n  cargo xtask bench --accept-instructions",
            (ratio - 1.0) * 100.0
        );
    }
    if ratio < 1.0 - TOLERANCE {
        bail!(
            "the hot path got {:.1} % shorter. Keep it: cargo xtask bench --accept-instructions, and commit \
             tests/bench/instructions.json",
            (1.0 - ratio) * 100.0
        );
    }
    Ok(())
}
