//! `soak`: what is true a few times must be true many times.
//!
//! In: nothing. Out: success if the server and the kernel bear a hundred killed profilers.

use crate::command;

/// As `make test` does, with more rounds.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut tests = command::cargo(&command::TEST);
    tests.args(["--test", "robustness", "killed_again"]);
    command::run(tests.env("WSGI_TRACE_KILLS", "100").env("WSGI_TRACE_REQUIRE_ROOT", "1"))
}
