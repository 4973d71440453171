//! `make whatif`: forecasts beside the real change.
//!
//! In: `--subjects a,b`, `--workloads a,b`, `--loads 40,60` (none: all), `--seconds N` of a window, `--runs
//! N` of each setting, `--resume` (runs that are recorded are not made again), `--itself` (the recorded
//! settings alone: self-forecasts), `--judge` (recordings that are there, no new ones), both together (the
//! self-forecast of every recording that is there), `--publish` (the table goes into `lab/results`), `--keep`
//! (with the page's lines of whatever is not judged now), `--list`; the `wsgi-trace` of this build.
//! Out: recordings and what was beside them under `target/whatif`, the table
//! `target/whatif/judged.{md,json}`, and after a run of all `lab/results/whatif-judged.md`. A server is
//! recorded at one setting; all its settings are run one after the other, so often; each gets the same
//! arrivals.

mod itself;
mod judge;
mod page;
mod run;
mod subject;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::gate;

use run::{Beside, RUN_UP};
use subject::{SUBJECTS, Slots, Subject};
use workload::{LOADS, WORKLOADS, Workload};

const USAGE: &str = "usage: whatif [--subjects NAME,…] [--workloads NAME,…] [--loads PERCENT,…] [--seconds N] [--runs N] [--resume] [--itself] [--judge] [--publish] [--keep] [--list]";
/// How long to wait until live tests beside this run are done.
const TURN_LIMIT: Duration = Duration::from_secs(600);
/// Clients go on for so long after the window: the program ends the recording meanwhile.
const AFTER: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[whatif] {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Choice {
    subjects: Vec<&'static Subject>,
    workloads: Vec<&'static Workload>,
    loads: Vec<u32>,
    seconds: u64,
    runs: u32,
    is_resumed: bool,
    is_itself_only: bool,
    is_judged_only: bool,
    is_published: bool,
    is_kept: bool,
}

impl Choice {
    fn is_all(&self) -> bool {
        self.subjects.len() == SUBJECTS.len()
            && self.workloads.len() == WORKLOADS.len()
            && self.loads.len() == LOADS.len()
            && !self.is_itself_only
    }
}

/// One setting under one load.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) subject: &'static Subject,
    pub(crate) workload: &'static Workload,
    pub(crate) percent: u32,
    directory: &'a Path,
}

impl Place<'_> {
    /// The recording of one run of a setting.
    pub(crate) fn recording(&self, (processes, threads): Slots, run: u32) -> PathBuf {
        let Self { subject, workload, percent, directory } = self;
        directory
            .join(format!("{}-{}-{percent}-{processes}x{threads}-{run}.wtrace", subject.name, workload.name))
    }

    /// What was beside it.
    pub(crate) fn beside(&self, slots: Slots, run: u32) -> Option<Beside> {
        let text = std::fs::read_to_string(self.recording(slots, run).with_extension("json")).ok()?;
        serde_json::from_str(&text).ok()
    }
}

fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let Some(choice) = choose(arguments)? else { return Ok(()) };
    if !choice.is_judged_only && !gate::can_bpf() {
        bail!("needs root, or CAP_BPF and CAP_PERFMON");
    }
    wsgi_trace_test_support::program::wsgi_trace_binary()?;
    let root = wsgi_trace_test_support::root();
    let target = root.join("target/whatif");
    let directory = target.join("recordings");
    std::fs::create_dir_all(&directory)?;
    if choice.is_judged_only && choice.is_itself_only {
        return judge_itself(&choice, &target, &directory);
    }
    let mut cells = Vec::new();
    for workload in &choice.workloads {
        for &percent in &choice.loads {
            for subject in &choice.subjects {
                let place = Place { subject, workload, percent, directory: &directory };
                if !choice.is_judged_only {
                    record(&place, &choice)?;
                }
                cells.extend(judge::judge(&place, choice.runs));
                // A run that is cut off leaves what it has.
                page::write(&target.join("judged"), &cells)?;
            }
        }
    }
    if choice.is_published || choice.is_all() && !choice.is_judged_only {
        let published = root.join("lab/results/whatif-judged");
        let with_others = choice.is_kept.then(|| page::with_others(&published, &cells)).transpose()?;
        page::write(&published, with_others.as_ref().unwrap_or(&cells))?;
    }
    eprint!("{}", page::summary(&cells));
    Ok(())
}

/// The self-forecast of every recording that is there.
fn judge_itself(choice: &Choice, target: &Path, directory: &Path) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for &subject in &choice.subjects {
        for &workload in &choice.workloads {
            for &percent in &choice.loads {
                all.extend(itself::itself(&Place { subject, workload, percent, directory }, choice.runs));
            }
        }
    }
    if all.is_empty() {
        bail!("there is no recording of these in {}", directory.display());
    }
    let (file, page) = (target.join("itself.md"), itself::page(&all));
    std::fs::write(&file, &page).with_context(|| format!("{} cannot be written", file.display()))?;
    print!("{page}");
    Ok(())
}

/// Runs every setting so often, one after the other.
fn record(place: &Place<'_>, choice: &Choice) -> anyhow::Result<()> {
    let Place { subject, workload, percent, .. } = place;
    for run in 0..choice.runs {
        let length = RUN_UP + Duration::from_secs(choice.seconds) + AFTER;
        let seed = u64::from(run) + 1;
        let others = if choice.is_itself_only { &[] } else { subject.others };
        for slots in std::iter::once(subject.recorded).chain(others.iter().copied()) {
            if choice.is_resumed && place.beside(slots, run).is_some() {
                continue;
            }
            let _turn = gate::exclusive_within(TURN_LIMIT)?;
            let file = place.recording(slots, run);
            let what = format!("{} {}x{} {} {percent} %", subject.name, slots.0, slots.1, workload.name);
            let ask =
                |address: &str, stop: &AtomicBool| workload.ask(address, *percent, (length, seed), stop);
            match run::record((subject.recipe)(slots).as_ref(), ask, choice.seconds, &file) {
                Ok(beside) => {
                    std::fs::write(file.with_extension("json"), serde_json::to_string(&beside)?)?;
                    let Beside { load_average, stolen, speed_ms, late_ms } = beside;
                    eprintln!(
                        "[whatif] {what}: recorded; load {load_average:.1}, stolen {:.1} %, speed {speed_ms:.1} ms, late {late_ms:.1} ms",
                        stolen * 100.0
                    );
                }
                // The other runs are worth having all the same.
                Err(error) => eprintln!("[whatif] {what}: FAILED: {error:#}"),
            }
        }
    }
    Ok(())
}

fn choose(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Choice>> {
    let mut choice = Choice {
        subjects: SUBJECTS.iter().collect(),
        workloads: WORKLOADS.iter().collect(),
        loads: LOADS.to_vec(),
        seconds: 20,
        runs: 3,
        is_resumed: false,
        is_itself_only: false,
        is_judged_only: false,
        is_published: false,
        is_kept: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value\n{USAGE}"));
        match argument.as_str() {
            "--subjects" => choice.subjects = named(&value()?, SUBJECTS, |subject| subject.name)?,
            "--workloads" => choice.workloads = named(&value()?, WORKLOADS, |workload| workload.name)?,
            "--loads" => choice.loads = numbers(&value()?)?,
            "--seconds" => choice.seconds = number(&value()?)?,
            "--runs" => choice.runs = number(&value()?)?,
            "--resume" => choice.is_resumed = true,
            "--itself" => choice.is_itself_only = true,
            "--judge" => choice.is_judged_only = true,
            "--publish" => choice.is_published = true,
            "--keep" => choice.is_kept = true,
            "--list" => {
                SUBJECTS.iter().for_each(|subject| println!("subject   {}", subject.name));
                WORKLOADS.iter().for_each(|workload| println!("workload  {}", workload.name));
                return Ok(None);
            }
            other => bail!("{other:?} is no option\n{USAGE}"),
        }
    }
    Ok(Some(choice))
}

fn number<T: std::str::FromStr>(text: &str) -> anyhow::Result<T> {
    text.parse().ok().with_context(|| format!("{text:?} is no number"))
}

fn numbers(list: &str) -> anyhow::Result<Vec<u32>> {
    list.split(',').map(|text| number(text.trim())).collect()
}

/// The entries of a table that a list names, in the table's order.
fn named<T>(
    list: &str,
    table: &'static [T],
    name: fn(&T) -> &'static str,
) -> anyhow::Result<Vec<&'static T>> {
    let wanted: Vec<&str> = list.split(',').map(str::trim).collect();
    if let Some(unknown) = wanted.iter().find(|one| !table.iter().any(|entry| name(entry) == **one)) {
        let known: Vec<&str> = table.iter().map(name).collect();
        bail!("there is no {unknown:?}; there are {}", known.join(", "));
    }
    Ok(table.iter().filter(|entry| wanted.contains(&name(entry))).collect())
}
