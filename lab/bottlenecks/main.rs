//! `make bottlenecks`: what limits each server on each kind of work, in the words of the findings.
//!
//! In: `--servers a,b`, `--workloads a,b` (none: all), `--minutes N`, `--list`; the `wsgi-trace` of this
//! build. Out: a line of progress for each cell, `target/bottlenecks/bottlenecks.{md,json}` and the report of
//! each; after a run of all `lab/results/bottlenecks.{md,json}`. A cell that fails, or whose answer is not
//! the expected one, is named, and the run fails.

mod cell;
mod differs;
mod page;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wsgi_trace_lab::bottlenecks::server::{SUBJECTS, Subject};
use wsgi_trace_lab::bottlenecks::workload::{WORKLOADS, Workload};
use wsgi_trace_lab::machine::Machine;

use cell::{Cell, Outcome};

const USAGE: &str = "usage: bottlenecks [--servers NAME,…] [--workloads NAME,…] [--minutes N] [--list]";

/// Where the page of a whole run stands.
const RESULTS: &str = "lab/results";

/// The whole run, unless `--minutes` says otherwise; what has no time left is named so.
const LIMIT: Duration = Duration::from_secs(15 * 60);

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[bottlenecks] {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Choice {
    subjects: Vec<&'static Subject>,
    workloads: Vec<&'static Workload>,
    limit: Duration,
}

impl Choice {
    fn is_all(&self) -> bool {
        self.subjects.len() == SUBJECTS.len() && self.workloads.len() == WORKLOADS.len()
    }
}

fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let Some(choice) = choose(arguments)? else { return Ok(()) };
    if !wsgi_trace_test_support::gate::can_bpf() {
        bail!("needs root, or CAP_BPF and CAP_PERFMON");
    }
    // Before the first cell: a build is not part of the run.
    wsgi_trace_test_support::program::wsgi_trace_binary()?;
    let machine = Machine::describe();
    let root = wsgi_trace_test_support::root();
    let target = root.join("target/bottlenecks");
    let start = Instant::now();
    let all = choice.subjects.len() * choice.workloads.len();
    let mut cells: Vec<Cell> = Vec::with_capacity(all);
    for subject in &choice.subjects {
        for workload in &choice.workloads {
            let began = Instant::now();
            let cell = if start.elapsed() < choice.limit {
                cell::run(subject, workload, &target.join("reports"))
            } else {
                cell::not_run(subject, workload, "no time was left")
            };
            eprintln!(
                "[bottlenecks] {}/{all} {}, {}: {} ({:.1} s)",
                cells.len() + 1,
                subject.title,
                workload.title,
                said(&cell),
                began.elapsed().as_secs_f64()
            );
            cells.push(cell);
            // A run that is cut off leaves what it has.
            page::write(&target, &machine, &choice.subjects, &choice.workloads, &cells)?;
        }
    }
    if choice.is_all() {
        page::write(&root.join(RESULTS), &machine, &choice.subjects, &choice.workloads, &cells)?;
    }
    let written = if choice.is_all() { RESULTS } else { "target/bottlenecks" };
    eprintln!("[bottlenecks] written: {written}/bottlenecks.md, {written}/bottlenecks.json");
    let different: Vec<String> = cells
        .iter()
        .filter_map(|cell| Some(format!("{}, {}: {}", cell.server, cell.workload, differs::differs(cell)?)))
        .collect();
    for line in &different {
        eprintln!("[bottlenecks] differs: {line}");
    }
    match different.len() {
        0 => Ok(()),
        number => {
            bail!("{number} of {all} cells differ from what is expected (lab/src/bottlenecks/expected.rs)")
        }
    }
}

/// One line for the reader of the progress.
fn said(cell: &Cell) -> String {
    match (&cell.why, cell.outcome) {
        (Some(why), _) => format!("FAILED: {}", why.lines().next().unwrap_or_default()),
        (None, outcome) => {
            let id =
                cell.finding.as_deref().filter(|_| outcome == Outcome::Finding).unwrap_or(outcome.word());
            format!("{id}: {}", cell.sentence.as_deref().unwrap_or_default())
        }
    }
}

fn choose(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Choice>> {
    let mut choice =
        Choice { subjects: SUBJECTS.iter().collect(), workloads: WORKLOADS.iter().collect(), limit: LIMIT };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value\n{USAGE}"));
        match argument.as_str() {
            "--servers" => choice.subjects = named(&value()?, SUBJECTS, |subject| subject.name)?,
            "--workloads" => choice.workloads = named(&value()?, WORKLOADS, |workload| workload.name)?,
            "--minutes" => {
                let text = value()?;
                let minutes: u64 =
                    text.parse().with_context(|| format!("{text:?} is no number of minutes"))?;
                choice.limit = Duration::from_secs(minutes.saturating_mul(60));
            }
            "--list" => {
                for subject in SUBJECTS {
                    println!("server    {:<16} {}", subject.name, subject.title);
                }
                for workload in WORKLOADS {
                    println!("workload  {:<16} {}", workload.name, workload.about);
                }
                return Ok(None);
            }
            other => bail!("{other:?} is no option\n{USAGE}"),
        }
    }
    Ok(Some(choice))
}

/// The entries of a table that a list names, in the table's order.
fn named<T>(
    list: &str,
    table: &'static [T],
    name: fn(&T) -> &'static str,
) -> anyhow::Result<Vec<&'static T>> {
    let wanted: Vec<&str> = list.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    if let Some(unknown) = wanted.iter().find(|one| !table.iter().any(|entry| name(entry) == **one)) {
        let known: Vec<&str> = table.iter().map(name).collect();
        bail!("there is no {unknown:?}; there are {}", known.join(", "));
    }
    if wanted.is_empty() {
        bail!("an empty list\n{USAGE}");
    }
    Ok(table.iter().filter(|entry| wanted.contains(&name(entry))).collect())
}
