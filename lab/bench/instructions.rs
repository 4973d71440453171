//! Instructions of the hot path, counted by callgrind: the same on every run, so a change of code can be
//! distinguished from noise.
//!
//! In: made-up recordings of a full trace, with and without long waits, and of light mode, each in two
//! lengths; `instructions.json`, the committed baseline. Out: instructions per slice, and per message of
//! light mode (what both runs have in common, starting up, cancels out), what they are spent on, and whether
//! they are those of the baseline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::machine::output;
use crate::server::beside;
use crate::{light_replay, replay};

/// Requests of the shorter recording.
const REQUESTS: u64 = 1_000;

/// Allowed difference. Runs of one build differ by less than a thousandth (addresses of memory). Another
/// processor makes the C library choose other copy routines, which moved the count by about a hundredth.
const TOLERANCE: f64 = 0.02;

/// The committed baseline: instructions by what is counted.
type Baseline = BTreeMap<String, f64>;

/// Makes a recording of so many requests; returns how many slices or messages it has.
pub(crate) type Make = fn(&Path, u64) -> anyhow::Result<u64>;

/// What is counted: instructions from the file to the report of one slice or one message of light mode, with
/// its share of what its request costs besides. A request of a full trace is eight slices, two heads and a
/// connection; one of light mode two messages, their heads, three sleeps and the end of a connection.
/// The second column is the option that makes such a recording.
const COUNTED: [(&str, &str, Make); 3] = [
    ("instructions_per_slice", "--make-recording", replay::make),
    ("instructions_per_slice_in_line", "--make-recording-in-line", replay::make_in_line),
    ("instructions_per_light_message", "--make-light-recording", light_replay::make),
];

/// What makes the recording of this option.
pub(crate) fn maker(option: &str) -> Option<Make> {
    COUNTED.iter().find(|(_, known, _)| *known == option).map(|(.., make)| *make)
}

fn baseline_path() -> PathBuf {
    wsgi_trace_test_support::root().join("lab/bench/instructions.json")
}

/// What a replay takes.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// Instructions per slice, or per message of light mode.
    pub(crate) per_record: f64,
    /// What they are spent on, and its share of all; largest first.
    pub(crate) spent_on: Vec<(&'static str, f64)>,
}

/// Kinds of work, by what names of functions hold; the first that fits. What was inlined counts as its
/// caller's.
const WORK: &[(&str, &[&str])] = &[
    ("copying", &["memcpy", "memmove"]),
    ("memory from the allocator and back", &["malloc", "free", "realloc", "calloc"]),
    ("reading the file, unpacking", &["recording", "deflate", "crc32"]),
    ("bytes to events", &["decode"]),
    ("bringing events into order", &["::order::"]),
    ("who waits for the interpreter lock", &["machine::gil"]),
    ("requests, connections, slots (the other machines)", &["machine"]),
    ("the way between them", &["pipeline"]),
];

/// Counts those of a full trace.
pub(crate) fn replay() -> anyhow::Result<Replay> {
    replay_of(replay::make)
}

fn replay_of(make: Make) -> anyhow::Result<Replay> {
    let directory = tempfile::tempdir()?;
    let counts = directory.path().join("callgrind.out");
    let mut runs = Vec::new();
    for factor in [1, 10] {
        let path = directory.path().join(format!("{factor}.wtrace"));
        let records = make(&path, REQUESTS * factor)?;
        runs.push((records as f64, count(&path, &counts)?));
    }
    let per_record = match runs.as_slice() {
        [(few, short), (many, long)] => (long - short) / (many - few),
        _ => bail!("there were no runs"),
    };
    // Those of the longer run: it came last.
    let mut annotate = Command::new("callgrind_annotate");
    annotate.args(["--auto=no", "--threshold=100"]).arg(&counts);
    Ok(Replay { per_record, spent_on: spent_on(&output(&mut annotate, "callgrind_annotate")?) })
}

/// Shares of [`WORK`] in the lines of `callgrind_annotate`: `INSTRUCTIONS (SHARE) FILE:FUNCTION [OBJECT]`.
fn spent_on(text: &str) -> Vec<(&'static str, f64)> {
    let mut all = 0.0;
    let mut sums: Vec<(&'static str, f64)> = WORK.iter().map(|(work, _)| (*work, 0.0)).collect();
    for line in text.lines() {
        let Some((count, rest)) = line.trim_start().split_once(' ') else { continue };
        let (Ok(count), Some((_, function))) = (count.replace(',', "").parse::<f64>(), rest.split_once(':'))
        else {
            continue;
        };
        all += count;
        let fits = |names: &[&str]| names.iter().any(|name| function.contains(name));
        let sum = WORK.iter().position(|(_, names)| fits(names)).and_then(|index| sums.get_mut(index));
        if let Some((_, sum)) = sum {
            *sum += count;
        }
    }
    let known: f64 = sums.iter().map(|(_, sum)| sum).sum();
    sums.push(("everything else", all - known));
    for (_, sum) in &mut sums {
        *sum /= all.max(1.0);
    }
    sums.sort_by(|one, other| other.1.total_cmp(&one.1));
    sums
}

/// All instructions of one `wsgi-trace report`; which function took them is written to `counts`.
fn count(recording: &Path, counts: &Path) -> anyhow::Result<f64> {
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.display()))
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
    let mut measured = Baseline::new();
    for (name, _, make) in COUNTED {
        measured.insert(name.to_owned(), replay_of(make)?.per_record.round());
    }
    let path = baseline_path();
    if accept {
        std::fs::write(&path, serde_json::to_string_pretty(&measured)? + "\n")?;
        println!("[bench] the baseline is now {measured:?}; commit {}", path.display());
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
    let baseline: Baseline = serde_json::from_str(&text)?;
    let mut outcome = Ok(());
    for (name, option, _) in COUNTED {
        let count = measured.get(name).copied().unwrap_or(0.0);
        outcome = outcome.and(compare((name, option), count, baseline.get(name).copied()));
    }
    outcome
}

fn compare((name, option): (&str, &str), measured: f64, baseline: Option<f64>) -> anyhow::Result<()> {
    let Some(baseline) = baseline else {
        bail!("{name}: {measured:.0}, and no baseline. Accept it: cargo xtask bench --accept-instructions");
    };
    let ratio = measured / baseline;
    println!("[bench] {name}: {measured:.0}, baseline {baseline:.0} (x {ratio:.4})");
    if ratio > 1.0 + TOLERANCE {
        bail!(
            "{name}: {:.1} % more. Look for the cause:\n  target/release/bench {option} \
             /tmp/long.wtrace 10000\n  valgrind --tool=callgrind target/release/wsgi-trace report /tmp/long.wtrace \
             --format json >/dev/null\n  callgrind_annotate callgrind.out.*\nIf what was gained is worth it, \
             say so in the commit and accept it:\n  cargo xtask bench --accept-instructions",
            (ratio - 1.0) * 100.0
        );
    }
    if ratio < 1.0 - TOLERANCE {
        bail!(
            "{name}: {:.1} % fewer. Keep it: cargo xtask bench --accept-instructions, and commit \
             lab/bench/instructions.json",
            (1.0 - ratio) * 100.0
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_summed_by_the_work_that_they_do() {
        let text = "\
-----\nIr\n-----\n100 (100.0%)  PROGRAM TOTALS\n\nIr                  file:function\n
50 (50.00%)  /x/pack.rs:wsgi_trace::recording::pack::unpack [/x/wsgi-trace]
1,030 (20.00%)  ???:__memcpy_avx_unaligned_erms [/usr/lib/libc.so.6]
20 (20.0%)  /x/slot.rs:profiler_core::machine::slot::Slot::hold [/x/wsgi-trace]
900 ( 9.0%)  ???:main [/x/wsgi-trace]
";
        let spent_on = spent_on(text);
        let share = |work: &str| spent_on.iter().find(|(name, _)| *name == work).unwrap().1;
        assert!((share("copying") - 0.515).abs() < 1e-9, "{spent_on:?}");
        assert!((share("reading the file, unpacking") - 0.025).abs() < 1e-9);
        assert!((share("everything else") - 0.45).abs() < 1e-9);
        assert_eq!(spent_on[0].0, "copying");
    }
}
