//! `screenshots`: the pictures of the documentation, taken of a real run.
//!
//! In: the tree, a Chromium and Node.js on the PATH, root. Out: `docs/images/*.png`, and beside them what
//! they were drawn from.

use std::process::Command;

use anyhow::Context as _;

use crate::command;
use crate::page::browser;

pub(crate) fn run() -> anyhow::Result<()> {
    let browser = browser()?;
    command::build_with(command::TESTS, "screenshots", "release")?;
    let root = command::root();
    let (pages, pictures) = (root.join("target/screenshots"), root.join("docs/images"));
    std::fs::create_dir_all(&pictures).with_context(|| format!("cannot make {}", pictures.display()))?;
    command::run(
        Command::new(root.join("target/release/screenshots"))
            .current_dir(&root)
            .env("WSGI_TRACE_BINARY", root.join("target/release/wsgi-trace"))
            .arg(&pages),
    )?;
    let script = root.join("tests/screenshots/shoot.mjs");
    command::run(Command::new("node").arg(script).arg(browser).arg(&pages).arg(&pictures))?;
    crate::pictures::write()
}
