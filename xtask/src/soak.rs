//! `soak`: what is true a few times must be true many times.
//!
//! In: nothing. Out: success if the server and the kernel bear a hundred killed profilers.

use crate::command;

/// As `make test` does, with more rounds.
pub(crate) fn run() -> anyhow::Result<()> {
    let tests = ["test", "--locked", "--package", "wsgi-trace-tests", "--test", "robustness", "killed_again"];
    command::run(command::cargo(&tests).env("WSGI_TRACE_KILLS", "100").env("WSGI_TRACE_REQUIRE_ROOT", "1"))
}
