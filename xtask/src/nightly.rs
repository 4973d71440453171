//! `nightly`: everything that no change waits for, one chore after the other.
//!
//! In: names of chores, or none for all. Out: a table of what passed and how long it took, also in
//! `target/nightly.txt`; success if all passed. One that fails does not keep the others from running.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::command;

/// What is run, in this order: what needs a quiet machine last, when nothing is left to build. `mixes` takes
/// a night of its own.
const CHORES: [&str; 12] = [
    "page",
    "test-lab",
    "dist-test",
    "kernels",
    "unit",
    "fuzz",
    "live",
    "live-all",
    "thousand-clients",
    "bottlenecks",
    "gil-matrix",
    "check-bench",
];

/// How one chore ended.
struct Ended {
    name: &'static str,
    passed: bool,
    seconds: u64,
}

/// Runs them and says how they ended.
pub(crate) fn run(names: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = names.iter().find(|name| !CHORES.contains(&name.as_str())) {
        bail!("{unknown} is not run at night; these are: {}", CHORES.join(", "));
    }
    let chosen =
        CHORES.into_iter().filter(|chore| names.is_empty() || names.iter().any(|name| name == chore));
    let chosen: Vec<&'static str> = chosen.collect();
    let mut ended = Vec::new();
    for (index, name) in chosen.iter().enumerate() {
        eprintln!("[nightly] {name} ({} of {})", index + 1, chosen.len());
        let start = Instant::now();
        let outcome = command::run(&mut command::cargo(&["xtask", name]));
        if let Err(error) = &outcome {
            eprintln!("[nightly] {error:#}");
        }
        ended.push(Ended { name, passed: outcome.is_ok(), seconds: start.elapsed().as_secs() });
    }
    let table = table(&ended);
    println!("\n{table}");
    let file = command::root().join("target/nightly.txt");
    std::fs::write(&file, &table).with_context(|| format!("{} is not writable", file.display()))?;
    let failed = ended.iter().filter(|chore| !chore.passed).count();
    if failed > 0 {
        bail!("{failed} of {} failed", ended.len());
    }
    Ok(())
}

fn table(ended: &[Ended]) -> String {
    let mut text = format!("{:<18}{:<8}{:>8}\n", "chore", "", "time");
    for Ended { name, passed, seconds } in ended {
        let outcome = if *passed { "passed" } else { "FAILED" };
        let _ = writeln!(text, "{name:<18}{outcome:<8}{:>4} min {:02} s", seconds / 60, seconds % 60);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_chore_and_what_failed() {
        let ended = [
            Ended { name: "page", passed: true, seconds: 61 },
            Ended { name: "kernels", passed: false, seconds: 5 },
        ];
        let table = table(&ended);
        assert!(table.contains("page              passed     1 min 01 s"), "{table}");
        assert!(table.contains("kernels           FAILED     0 min 05 s"), "{table}");
    }

    #[test]
    fn a_chore_that_is_not_run_at_night_is_refused_before_anything_runs() {
        let error = run(&["demo".to_owned()]).expect_err("no such chore");
        assert!(error.to_string().contains("these are: page"), "{error}");
    }
}
