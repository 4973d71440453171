//! `live`: every live test, those too that take long or want a quiet machine; `live-all`: every server.
//!
//! In: names of tests, or none for all. Out: success if all passed, and a
//! list of what was skipped; a skip for want of a privilege or of what `make setup` installs is a failure.

use std::slice;

use crate::summary::Summary;
use crate::{command, test, watched};

/// Test programs that trace real servers.
pub(crate) const PROGRAMS: [&str; 12] = [
    "kernel_side",
    "kernel_bounds",
    "this_kernel",
    "truth",
    "dropped",
    "robustness",
    "verdicts",
    "reported",
    "findings",
    "serve",
    "top_in_a_terminal",
    "docs",
];

/// The test program with one line for each server.
pub(crate) const SERVERS: [&str; 1] = ["servers"];

/// The test program that compares waits for the interpreter lock.
pub(crate) const GIL_MATRIX: [&str; 1] = ["gil_matrix"];

/// The test program with a thousand clients.
pub(crate) const THOUSAND_CLIENTS: [&str; 1] = ["thousand_clients"];

/// One after the other; names choose among the tests of all.
pub(crate) fn run(names: &[String]) -> anyhow::Result<()> {
    run_programs(&PROGRAMS, names)
}

/// Lines of servers that do not pass yet: run only when asked for by name.
const GAPS: &str = "gaps::";

/// Every server, each against its own witness; names choose among them.
pub(crate) fn run_all(names: &[String]) -> anyhow::Result<()> {
    match names {
        [] => run_programs(&SERVERS, &["--skip", GAPS].map(str::to_owned)),
        names => run_programs(&SERVERS, names),
    }
}

/// Waits for the interpreter lock against another program's probes, on every interpreter that is found; the
/// table goes into its page, unless an argument names only some.
pub(crate) fn gil_matrix(names: &[String]) -> anyhow::Result<()> {
    let root = command::root();
    command::run(&mut std::process::Command::new(root.join("xtask/interpreters.sh")))?;
    let mut tests = loud(&GIL_MATRIX);
    if names.is_empty() {
        tests.env("WSGI_TRACE_GIL_PAGE", root.join("lab/results/gil-truth.md"));
    } else {
        tests.env("WSGI_TRACE_GIL", names.join(","));
    }
    run_loud(&mut tests)
}

/// A thousand clients at once, at servers of every kind; the table goes into its page, unless an argument
/// names only some.
pub(crate) fn thousand_clients(names: &[String]) -> anyhow::Result<()> {
    let mut tests = loud(&THOUSAND_CLIENTS);
    match names {
        [] => tests.env("WSGI_TRACE_THOUSAND_PAGE", command::root().join("lab/results/thousand-clients.md")),
        names => tests.env("WSGI_TRACE_THOUSAND", names.join(" ")),
    };
    run_loud(&mut tests)
}

/// All tests of these programs of the lab, with all that they say.
fn loud(programs: &[&str]) -> std::process::Command {
    let mut tests = command::cargo(&command::TEST_LAB);
    tests.args(programs.iter().flat_map(|program| ["--test", program]));
    tests.args(["--", "--include-ignored", "--nocapture"]).env("WSGI_TRACE_REQUIRE_ROOT", "1");
    tests
}

/// Runs tests whose output goes straight to the terminal, and lists what they skipped.
fn run_loud(tests: &mut std::process::Command) -> anyhow::Result<()> {
    let summary = Summary::of(slice::from_mut(tests))?;
    let outcome = command::run(tests);
    summary.print_skips()?;
    outcome
}

fn run_programs(programs: &[&str], names: &[String]) -> anyhow::Result<()> {
    let programs = programs.iter().flat_map(|program| ["--test", program]);
    command::run(command::cargo(&command::TEST).arg("--no-run").args(programs.clone()))?;
    let mut tests = command::cargo(&command::TEST);
    tests.args(programs).args(["--", "--include-ignored"]).args(names);
    tests.env("WSGI_TRACE_REQUIRE_ROOT", "1").env("RUST_TEST_THREADS", test::WAITING);
    let mut summary = Summary::of(slice::from_mut(&mut tests))?;
    let ended = watched::run(&mut tests, watched::SILENCE_OF_LONG_TESTS, |line| {
        println!("{line}");
        summary.take(line);
    })?;
    summary.conclude(&ended)
}
