//! `page`: the pages of all recordings, opened in a real browser.
//!
//! In: `tests/recordings`, a Chromium and Node.js on the PATH. Out: pages and screenshots under
//! `target/page`; success if no page logged, loaded or broke anything, or violated a rule of accessibility.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::command;
use crate::packages::need;

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

pub(crate) fn run() -> anyhow::Result<()> {
    let browser = browser()?;
    command::run(&mut command::cargo(&[
        "build",
        "--locked",
        "--package",
        "wsgi-trace",
        "--bin",
        "wsgi-trace",
    ]))?;
    let root = command::root();
    let directory = root.join("target/page");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut pages = Vec::new();
    for recording in recordings()? {
        let name = recording.file_stem().unwrap_or_default();
        let page = directory.join(name).with_extension("html");
        let mut report = Command::new(root.join("target/debug/wsgi-trace"));
        report.arg("report").arg(&recording).args(["--format", "html", "-o"]).arg(&page);
        command::run(&mut report)?;
        pages.push(page);
    }
    command::run(&mut Command::new(root.join("tests/page/axe.sh")))?;
    let script = root.join("tests/page/check.mjs");
    let axe = root.join(".tools/axe/axe.min.js");
    command::run(Command::new("node").arg(script).arg(browser).arg(axe).arg(&directory).args(&pages))
}

/// A browser of this machine, installed where there is none.
pub(crate) fn browser() -> anyhow::Result<PathBuf> {
    if BROWSERS.into_iter().all(|program| on_path(program).is_none()) {
        need(&[("chromium", "chromium")])?;
    }
    BROWSERS.into_iter().find_map(on_path).with_context(|| {
        format!("no browser: one of {} must be on the PATH (apt install chromium)", BROWSERS.join(", "))
    })
}

fn recordings() -> anyhow::Result<Vec<PathBuf>> {
    let mut recordings = Vec::new();
    for entry in std::fs::read_dir(command::root().join("tests/recordings"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wtrace") {
            recordings.push(path);
        }
    }
    recordings.sort();
    Ok(recordings)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
