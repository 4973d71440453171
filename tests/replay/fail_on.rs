//! `--fail-on`, from the command line to the exit code.
//!
//! In: `tests/recordings`. Out: verdicts on exit code, report and words on stderr.

use std::time::Duration;

use wsgi_trace_test_support::program::{Outcome, Program};
use wsgi_trace_test_support::root;

/// Reports on a recording.
fn report(recording: &str, options: &[&str]) -> anyhow::Result<Outcome> {
    let path = root().join("tests/recordings").join(recording).display().to_string();
    let arguments: Vec<&str> = ["report", &path].into_iter().chain(options.iter().copied()).collect();
    Program::run(&arguments, Duration::from_secs(60))
}

#[test]
fn a_finding_that_is_present_ends_with_nine_after_the_same_report() -> anyhow::Result<()> {
    let plain = report("gthread-exhausted.wtrace", &["--format", "json"])?;
    let gate = report("gthread-exhausted.wtrace", &["--format", "json", "--fail-on", "herd,sleeping"])?;
    assert_eq!((plain.status.code(), gate.status.code()), (Some(0), Some(9)), "{}", gate.stderr);
    assert!(plain.stdout == gate.stdout && plain.stdout.starts_with('{'), "the reports differ");
    assert!(plain.stderr.is_empty(), "{}", plain.stderr);
    assert!(gate.stderr.contains("wsgi-trace: --fail-on: sleeping is present"), "{}", gate.stderr);
    Ok(())
}

#[test]
fn a_finding_that_is_absent_does_not_fail_and_nothing_is_said() -> anyhow::Result<()> {
    let gate = report("gthread-exhausted.wtrace", &["--fail-on", "cpu-bound", "--fail-on", "slow-clients"])?;
    assert_eq!((gate.status.code(), gate.stderr.as_str()), (Some(0), ""));
    Ok(())
}

#[test]
fn an_undecided_finding_does_not_fail_and_is_said_with_its_reason() -> anyhow::Result<()> {
    let gate = report("sync-idle.wtrace", &["--fail-on", "any"])?;
    assert_eq!(gate.status.code(), Some(0), "{}", gate.stderr);
    assert!(gate.stderr.contains("--fail-on: undecided, so no failure: "), "{}", gate.stderr);
    // Findings with one reason are said together.
    let said = |group: &str| {
        group.contains("sleeping") && group.ends_with("(no request was seen and 10 are needed)")
    };
    assert!(gate.stderr.trim_end().split("; ").any(said), "{}", gate.stderr);
    Ok(())
}

#[test]
fn a_report_that_cannot_be_written_or_read_is_no_verdict() -> anyhow::Result<()> {
    let full = report("gthread-exhausted.wtrace", &["--fail-on", "any", "-o", "/dev/full"])?;
    assert_eq!(full.status.code(), Some(7), "{}", full.stderr);
    let none = report("README.md", &["--fail-on", "any"])?;
    assert_eq!(none.status.code(), Some(8), "{}", none.stderr);
    Ok(())
}
