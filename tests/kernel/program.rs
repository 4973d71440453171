//! The whole program on the kernel under test, from its command line to its report.
//!
//! In: `WSGI_TRACE_BINARY`, a toy server. Out: verdicts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_tests::program::{Outcome, Program};

use crate::toy::{REQUESTS, Toy};

const LIMIT: Duration = Duration::from_secs(60);

/// Its report counts every request of the toy, with exact limits, and its sums hold.
pub(crate) fn reports() -> anyhow::Result<()> {
    let toy = Toy::start()?;
    let mut program = Program::start(&["--pid", &toy.pid().to_string(), "--format", "json"])?;
    program.wait_for_stderr("watching process")?;
    toy.drive(REQUESTS)?;
    program.signal(libc::SIGINT);
    let outcome = program.finish(LIMIT)?;
    ensure!(outcome.status.success(), "{}: {}", outcome.status, outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).context("the report is not JSON")?;
    for (place, expected) in [
        ("/requests/completed", REQUESTS),
        ("/requests/framing/exact", REQUESTS),
        ("/losses/conservation/slices_broken", 0),
        ("/losses/conservation/requests_broken", 0),
        ("/losses/malformed", 0),
    ] {
        let value = report.pointer(place).with_context(|| format!("the report has no {place}"))?;
        ensure!(value.as_u64() == Some(expected as u64), "{place} is {value}, expected {expected}");
    }
    Ok(())
}

/// On a kernel that is too old it says so in one line, with the documented exit code.
pub(crate) fn refuses() -> anyhow::Result<()> {
    let toy = Toy::start()?;
    let Outcome { status, stderr, .. } = Program::run(&["--pid", &toy.pid().to_string()], LIMIT)?;
    ensure!(status.code() == Some(5), "{status}: {stderr}");
    ensure!(stderr.lines().count() == 1 && stderr.contains("too old"), "{stderr}");
    Ok(())
}
