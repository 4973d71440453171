//! `cargo xtask record`: takes the recordings of `tests/recordings` again.
//!
//! In: names of scenarios (none: all), the `wsgi-trace` beside this program. Out:
//! `tests/recordings/NAME.wtrace`, facts scrubbed of what names this machine. With `--show`, the reports on
//! standard output and no recording. With `--scrub`, those that are there scrubbed again. With `--full
//! DIRECTORY`, what replays give, for `cargo xtask compare`. With `--seeds`, the seeds of `fuzz/`. With
//! `--reported`, the problems of `tests/support/reported`, which are no scenarios.

mod full;
mod reported;
mod rolling;
mod scrub;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::hostile::seeds;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::scenario::{self, Clients, Running, Scenario};
use wsgi_trace_test_support::verdict::Judged;

/// Largest recording that is worth keeping.
const MAX_BYTES: u64 = 150_000;
/// Time for the program to end.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[record] {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let (flags, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    if has("--seeds") {
        return seeds::write(&wsgi_trace_test_support::root().join("fuzz/seeds"));
    }
    if has("--full") {
        return full::write(Path::new(names.first().context("--full needs a directory")?));
    }
    if has("--reported") {
        return reported::take(&names);
    }
    for name in &names {
        if Scenario::named(name).is_none() {
            bail!("there is no scenario {name:?}");
        }
    }
    let mut failed = Vec::new();
    for scenario in
        scenario::all().filter(|one| names.is_empty() || names.iter().any(|name| name == one.name))
    {
        let done = if has("--scrub") { scrub_again(scenario) } else { take(scenario, has("--show")) };
        if let Err(error) = done {
            eprintln!("[record] {}: {error:#}", scenario.name);
            failed.push(scenario.name);
        }
    }
    if !failed.is_empty() {
        bail!("not as they should be: {}", failed.join(", "));
    }
    Ok(())
}

fn take(scenario: &Scenario, show: bool) -> anyhow::Result<()> {
    eprintln!("[record] {}: {}", scenario.name, scenario.about);
    let _alone = exclusive()?;
    let directory = tempfile::tempdir()?;
    let raw = directory.path().join("raw.wtrace");
    let running = scenario.start()?;
    let said = if scenario.rolls {
        rolling::watch(scenario, &running, &raw)?
    } else {
        watch(scenario, &running, &raw)?
    };
    drop(running);
    if show {
        println!("{said}");
        return Ok(());
    }
    let kept = scenario.recording();
    scrub::copy(&raw, &kept)?;
    let bytes = kept.metadata()?.len();
    if bytes > MAX_BYTES {
        bail!("{} has {bytes} bytes, more than {MAX_BYTES}", kept.display());
    }
    let verdict = Judged::recording(&kept)?.must_be(scenario);
    eprintln!("[record] {}: {bytes} bytes", scenario.name);
    // The recording stays: it may be the situation that is not what the table says.
    verdict
}

/// Watches with the program itself; what it printed.
fn watch(scenario: &Scenario, running: &Running, raw: &Path) -> anyhow::Result<String> {
    let raw = raw.to_str().context("no path")?;
    let (target, duration) = (running.target(), scenario.duration());
    let mut arguments: Vec<&str> = target.iter().map(String::as_str).collect();
    arguments.extend(["--record", raw]);
    // A plan has its own length.
    if !matches!(scenario.clients, Clients::Dropping(_) | Clients::Lasting) {
        arguments.extend(["--duration", &duration]);
    }
    let mut trace = Program::start(&arguments)?;
    trace.wait_for_stderr("watching process")?;
    let kept = running.act()?;
    if kept.is_some() {
        trace.signal(libc::SIGINT);
    }
    let outcome = trace.finish(LIMIT)?;
    drop(kept);
    if !outcome.status.success() {
        bail!("wsgi-trace failed: {}: {}", outcome.status, outcome.stderr);
    }
    Ok(outcome.stdout)
}

/// Scrubs a recording of the tree again, as after a change of what is scrubbed.
fn scrub_again(scenario: &Scenario) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("copy.wtrace");
    scrub::copy(&scenario.recording(), &copy)?;
    std::fs::copy(&copy, scenario.recording())?;
    Ok(())
}
