//! `record`: takes the recordings of `tests/recordings` again.
//!
//! In: the tree, names of scenarios (none: all). Out: recordings; as root, and with the virtual environments
//! of `setup`.

use std::process::Command;

use crate::command;

/// Both in release: what the program itself uses of two cores is in no recording's way.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    command::build_with(command::TESTS, "record-scenarios", "release")?;
    let mut record = Command::new(command::root().join("target/release/record-scenarios"));
    record.env("WSGI_TRACE_BINARY", command::root().join("target/release/wsgi-trace"));
    command::run(record.args(arguments).current_dir(command::root()))
}
