//! What a run said, judged by the rules that hold for every failure.
//!
//! In: the outcome of a run. Out: verdicts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Context as _;
use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::program::{Outcome, Program, wsgi_trace_binary};

/// Long enough for a busy machine; nothing waits that long when all is well.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs to the end.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<Outcome> {
    Program::run(arguments, LIMIT)
}

/// The program failed with this code, and its last words are one sentence that holds all of `parts`.
pub(crate) fn assert_failure(outcome: &Outcome, code: ExitCode, parts: &[&str]) {
    let said = &outcome.stderr;
    assert_eq!(outcome.status.code(), Some(i32::from(code.number())), "{said}");
    let last = said.lines().last().unwrap_or_default();
    let sentence = last.strip_prefix("wsgi-trace: ").unwrap_or_else(|| panic!("no sentence: {said}"));
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
    for noise in ["panicked", "RUST_BACKTRACE", "Error {", "(os error"] {
        assert!(!said.contains(noise), "{said}");
    }
    let other: Vec<&str> =
        said.lines().filter(|line| !line.starts_with("wsgi-trace: watching ") && *line != last).collect();
    assert!(other.is_empty(), "more than one sentence: {said}");
}

/// The program succeeded, without a word about anything wrong.
pub(crate) fn assert_success(outcome: &Outcome) {
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

/// A JSON report.
pub(crate) fn json(outcome: &Outcome) -> anyhow::Result<serde_json::Value> {
    serde_json::from_str(&outcome.stdout).with_context(|| format!("not JSON: {}", outcome.stderr))
}

/// The number at a JSON pointer.
pub(crate) fn number(report: &serde_json::Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("no {pointer}"))
}

/// The program where every user can run it.
///
/// A child copies it: held open for writing by this process, it would be busy for the forks of other tests.
pub(crate) fn program_for_all(directory: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = directory.join("wsgi-trace");
    let copied = output(Command::new("cp").arg(wsgi_trace_binary()?).arg(&program))?;
    anyhow::ensure!(copied.status.success(), "cp: {}", copied.stderr);
    for path in [directory, &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(program)
}

/// Runs a command to its end, as [`Outcome`].
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Outcome> {
    let Output { status, stdout, stderr } = command.output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Outcome { status, stdout: text(stdout), stderr: text(stderr) })
}
