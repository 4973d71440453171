//! `cargo xtask record`: takes the recordings of `tests/recordings` again.
//!
//! In: names of scenarios (none: all), the `wsgi-trace` beside this program. Out: `tests/recordings/NAME.wtrace`, facts
//! scrubbed of what names this machine; with `--show`, the reports on standard output and no recording.

mod scrub;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use wsgi_trace_tests::scenario::{SCENARIOS, Scenario};

/// Largest recording that is worth keeping.
const MAX_BYTES: u64 = 150_000;

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
    let show = flags.iter().any(|flag| flag == "--show");
    for name in &names {
        if Scenario::named(name).is_none() {
            bail!("there is no scenario {name:?}");
        }
    }
    for scenario in
        SCENARIOS.iter().filter(|one| names.is_empty() || names.iter().any(|name| name == one.name))
    {
        take(scenario, show).with_context(|| scenario.name.to_owned())?;
    }
    Ok(())
}

fn take(scenario: &Scenario, show: bool) -> anyhow::Result<()> {
    eprintln!("[record] {}: {}", scenario.name, scenario.about);
    let directory = tempfile::tempdir()?;
    let raw = directory.path().join("raw.wtrace");
    let program = std::env::current_exe()?.with_file_name("wsgi-trace");
    let running = scenario.start()?;
    let mut trace = Command::new(program);
    trace.args(["--pid", &running.server.master().to_string()]);
    trace.args(["--duration", &scenario.duration(), "--record"]).arg(&raw);
    trace.stdin(Stdio::null()).stderr(Stdio::null());
    if !show {
        trace.stdout(Stdio::null());
    }
    let status = trace.status()?;
    if !status.success() {
        bail!("wsgi-trace failed: {status}");
    }
    drop(running);
    if show {
        return Ok(());
    }
    let kept = wsgi_trace_tests::root().join(format!("tests/recordings/{}.wtrace", scenario.name));
    scrub::copy(&raw, &kept)?;
    let bytes = size(&kept)?;
    if bytes > MAX_BYTES {
        bail!("{} has {bytes} bytes, more than {MAX_BYTES}", kept.display());
    }
    eprintln!("[record] {}: {bytes} bytes", scenario.name);
    Ok(())
}

fn size(path: &Path) -> anyhow::Result<u64> {
    Ok(path.metadata()?.len())
}
