//! The whole program on the kernel under test, from its command line to its report.
//!
//! In: `WSGI_TRACE_BINARY`, a toy server. Out: verdicts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::program::{Outcome, Program};

use crate::known::preempts_programs_at_calls;
use crate::toy::{REQUESTS, REQUESTS_PER_CONNECTION, Toy};

/// In emulation, on a machine that has other things to do, attaching alone takes half a minute.
const LIMIT: Duration = Duration::from_secs(120);

/// Its report counts every request of the toy, with exact limits, and its sums hold.
pub(crate) fn reports() -> anyhow::Result<()> {
    reports_by(Program::start, &[]).map(drop)
}

/// The report of a program that is started in some way, with more options, after the checks of [`reports`].
pub(crate) fn reports_by(
    start: impl FnOnce(&[&str]) -> anyhow::Result<Program>,
    options: &[&str],
) -> anyhow::Result<Value> {
    let toy = Toy::start()?;
    let pid = toy.pid().to_string();
    let mut program = start(&[&["--pid", &pid, "--format", "json"], options].concat())?;
    program.wait_for_stderr_within("watching process", LIMIT)?;
    toy.drive(REQUESTS)?;
    program.signal(libc::SIGINT);
    let outcome = program.finish(LIMIT)?;
    ensure!(outcome.status.success(), "{}: {}", outcome.status, outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).context("the report is not JSON")?;
    let at = |place: &str| report.pointer(place).with_context(|| format!("the report has no {place}"));
    let skipped = at("/losses/recursion_misses")?.as_array().context("skipped runs are no list")?;
    let skipped = skipped.iter().filter_map(|program| program.get("count")?.as_u64()).sum::<u64>();
    // Of a call whose program the kernel skipped nothing is known, and of an accept nothing that came on its
    // connection.
    let may_lack = if preempts_programs_at_calls() { skipped * REQUESTS_PER_CONNECTION as u64 } else { 0 };
    for (place, expected, may_lack) in [
        ("/requests/completed", REQUESTS, may_lack),
        ("/requests/framing/exact", REQUESTS, may_lack),
        ("/losses/conservation/slices_broken", 0, 0),
        ("/losses/conservation/requests_broken", 0, 0),
        ("/losses/malformed", 0, 0),
    ] {
        let (value, most) = (at(place)?, expected as u64);
        let is_right = value.as_u64().is_some_and(|value| value <= most && value + may_lack >= most);
        ensure!(is_right, "{place} is {value}, expected {expected}, {skipped} runs skipped");
    }
    Ok(report)
}

/// On a kernel that is too old it says so in one line, with the documented exit code.
pub(crate) fn refuses() -> anyhow::Result<()> {
    let toy = Toy::start()?;
    let Outcome { status, stderr, .. } = Program::run(&["--pid", &toy.pid().to_string()], LIMIT)?;
    ensure!(status.code() == Some(5), "{status}: {stderr}");
    ensure!(stderr.lines().count() == 1 && stderr.contains("lacks what tracing needs"), "{stderr}");
    Ok(())
}
