//! `live`: every live test, those too that take long or want a quiet machine; `live-all`: every server.
//!
//! In: names of tests, or none for all. Out: success if all passed; a skip is a failure.

use crate::{command, watched};

/// Test programs that trace real servers.
const PROGRAMS: [&str; 9] = [
    "kernel_side",
    "kernel_bounds",
    "this_kernel",
    "truth",
    "dropped",
    "robustness",
    "verdicts",
    "serve",
    "docs",
];

/// The test program with one line for each server.
const SERVERS: [&str; 1] = ["servers"];

/// One after the other; names choose among the tests of all.
pub(crate) fn run(names: &[String]) -> anyhow::Result<()> {
    run_programs(&PROGRAMS, names)
}

/// Lines of servers that do not pass yet: run only when asked for by name.
const GAPS: &str = "gaps::";

/// Every server, each against its own witness; names choose among them.
pub(crate) fn run_all(names: &[String]) -> anyhow::Result<()> {
    let mut options = names.to_vec();
    if names.is_empty() {
        options.extend(["--skip".to_owned(), GAPS.to_owned()]);
    }
    run_programs(&SERVERS, &options)
}

/// Waits for the interpreter lock against another program's probes, on every interpreter that is found; the table goes
/// into its page, unless an argument names only some.
pub(crate) fn gil_matrix(names: &[String]) -> anyhow::Result<()> {
    let root = command::root();
    command::run(&mut std::process::Command::new(root.join("xtask/interpreters.sh")))?;
    let mut tests =
        command::cargo(&["test", "--locked", "--package", "wsgi-trace-tests", "--test", "gil_matrix"]);
    tests.args(["--", "--include-ignored", "--nocapture"]).env("WSGI_TRACE_REQUIRE_ROOT", "1");
    if names.is_empty() {
        tests.env("WSGI_TRACE_GIL_PAGE", root.join("docs/gil-truth.md"));
    } else {
        tests.env("WSGI_TRACE_GIL", names.join(","));
    }
    command::run(&mut tests)
}

/// A thousand clients at once, at servers of every kind; the table goes into its page, unless an argument names only some.
pub(crate) fn thousand_clients(names: &[String]) -> anyhow::Result<()> {
    let mut tests =
        command::cargo(&["test", "--locked", "--package", "wsgi-trace-tests", "--test", "thousand_clients"]);
    tests.args(["--", "--include-ignored", "--nocapture"]).env("WSGI_TRACE_REQUIRE_ROOT", "1");
    match names {
        [] => tests.env("WSGI_TRACE_THOUSAND_PAGE", command::root().join("docs/thousand-clients.md")),
        names => tests.env("WSGI_TRACE_THOUSAND", names.join(" ")),
    };
    command::run(&mut tests)
}

fn run_programs(programs: &[&str], names: &[String]) -> anyhow::Result<()> {
    let programs = programs.iter().flat_map(|program| ["--test", program]);
    let common = ["test", "--locked", "--package", "wsgi-trace-tests"];
    command::run(command::cargo(&common).arg("--no-run").args(programs.clone()))?;
    let mut tests = command::cargo(&common);
    tests.arg("--no-fail-fast").args(programs).arg("--").arg("--include-ignored").args(names);
    tests.env("WSGI_TRACE_REQUIRE_ROOT", "1");
    watched::run(&mut tests, watched::SILENCE_OF_LONG_TESTS, |line| println!("{line}"))?.check()
}
