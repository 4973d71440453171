//! `make advice`: advice is applied, and what became of the finding is looked at.
//!
//! In: names of trials (none: all), `--list`; the `wsgi-trace` of this build. Out: a line of progress for
//! each trial, its reports under `target/advice`, and after a run of all the table in
//! `lab/results/advice.md`, which names every finding. Each trial provokes a finding, reads the settings to
//! change from the JSON report, starts the server again with the first of them, and watches the same load. A
//! finding that stays, at more than half of its cost, fails the run unless the trial says why.

mod judge;
mod page;

use std::process::ExitCode;

use anyhow::bail;
use wsgi_trace_lab::advised::trial::{self, TRIALS, Trial};

use judge::{Judged, Outcome};

const USAGE: &str = "usage: advice [--list] [TRIAL…]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[advice] {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    if arguments.iter().any(|argument| argument == "--list") {
        for trial in TRIALS {
            println!("{:<28} {}, {}", trial.name, trial.setup().title(), trial.work.about);
        }
        return Ok(());
    }
    if let Some(unknown) = arguments.iter().find(|name| !TRIALS.iter().any(|trial| trial.name == **name)) {
        bail!("there is no trial {unknown:?}\n{USAGE}");
    }
    let forgotten = trial::forgotten();
    if !forgotten.is_empty() {
        bail!("neither a trial nor a reason why not: {}", forgotten.join(", "));
    }
    if !wsgi_trace_test_support::gate::can_bpf() {
        bail!("needs root, or CAP_BPF and CAP_PERFMON");
    }
    wsgi_trace_test_support::program::wsgi_trace_binary()?;
    let chosen: Vec<&Trial> = TRIALS
        .iter()
        .filter(|trial| arguments.is_empty() || arguments.iter().any(|name| name == trial.name))
        .collect();
    let mut all: Vec<Judged> = Vec::with_capacity(chosen.len());
    for (index, trial) in chosen.iter().enumerate() {
        let judged = judge::run(trial);
        eprintln!("[advice] {}/{} {}: {}", index + 1, chosen.len(), trial.name, judged.line());
        all.push(judged);
    }
    if arguments.is_empty() {
        page::write(&wsgi_trace_test_support::root().join("lab/results/advice.md"), &all)?;
        eprintln!("[advice] written: lab/results/advice.md");
    }
    let wrong = all.iter().filter(|judged| judged.is_wrong()).count();
    let tried = all.iter().filter(|judged| !matches!(judged.outcome, Outcome::NotTried(_))).count();
    eprintln!("[advice] {tried} of {} tried, {wrong} not as advised", all.len());
    if wrong > 0 { bail!("{wrong} of {} trials failed", all.len()) } else { Ok(()) }
}
