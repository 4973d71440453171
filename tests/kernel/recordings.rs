//! Recordings that go from one architecture to another: what is reported of them is the same, byte for byte.
//!
//! In: `RECORDINGS` (a directory of recordings, each with the reports that another machine makes of it), a
//! gunicorn. Out: verdicts; a recording of this kernel with its reports, on the console between marks:
//! `xtask` compares them with what the other machine makes of it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::program::Program;

use crate::load::Load;
use crate::real;
use crate::server::{Gunicorn, LIMIT, Workers};

/// The reports that are compared, by the names of their forms.
const FORMS: [&str; 3] = ["text", "json", "ndjson"];
/// Bytes of a file on one line of the console, two digits each.
const LINE_BYTES: usize = 512;
const WORKERS: Workers = Workers { class: "gthread", processes: 1, threads: 2 };
/// A little of everything: all of it goes over an emulated console.
const LOAD: Load = Load { clients: 3, requests: 6, kept: 3, paths: &["/fast", "/sleep/20", "/cpu/5"] };

/// Whether there are any of another machine.
pub(crate) fn are_there() -> bool {
    std::env::var_os("RECORDINGS").is_some()
}

/// What another machine recorded is reported as it is there.
pub(crate) fn of_another_machine() -> anyhow::Result<()> {
    let directory = PathBuf::from(std::env::var_os("RECORDINGS").context("RECORDINGS names no directory")?);
    let mut compared = 0;
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        let form = path.extension().and_then(OsStr::to_str).filter(|form| FORMS.contains(form));
        let Some(form) = form else { continue };
        let here = report(&path.with_extension("wtrace"), form)?;
        is_same(&path.display().to_string(), &fs::read_to_string(&path)?, &here)?;
        compared += 1;
    }
    ensure!(compared >= FORMS.len(), "{compared} reports in {}", directory.display());
    println!("{compared} reports are those of the other machine");
    Ok(())
}

/// A run of this kernel is reported alike live and from its recording, which is sent to the other machine.
pub(crate) fn of_this_kernel() -> anyhow::Result<()> {
    let server = Gunicorn::start(WORKERS)?;
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("live.wtrace");
    let file = recording.to_str().context("a path in UTF-8")?;
    let told = real::trace(&server, &["--record", file], LOAD)?;
    told.is_whole()?;
    send("live.wtrace", &fs::read(&recording)?)?;
    for form in FORMS {
        let replayed = report(&recording, form)?;
        if form == "json" {
            is_same("the report of the recording", told.text(), &replayed)?;
        }
        send(&format!("live.{form}"), replayed.as_bytes())?;
    }
    Ok(())
}

fn report(recording: &Path, form: &str) -> anyhow::Result<String> {
    let path = recording.to_str().context("a path in UTF-8")?;
    let program = Program::start_as(&["report", path, "--format", form], |command| {
        command.env("LC_ALL", "C.UTF-8").env("COLUMNS", "100");
    })?;
    let outcome = program.finish(LIMIT)?;
    ensure!(outcome.status.success(), "{path}: {}: {}", outcome.status, outcome.stderr);
    Ok(outcome.stdout)
}

fn is_same(what: &str, there: &str, here: &str) -> anyhow::Result<()> {
    let differs = there.lines().zip(here.lines()).enumerate().find(|(_, (there, here))| there != here);
    if let Some((number, (there, here))) = differs {
        let part = |line: &str| line.chars().take(300).collect::<String>();
        anyhow::bail!("{what}: line {} is {:?}, elsewhere {:?}", number + 1, part(here), part(there));
    }
    ensure!(there == here, "{what}: {} bytes, elsewhere {}", here.len(), there.len());
    Ok(())
}

/// Sends a file to whoever reads the console.
fn send(name: &str, content: &[u8]) -> anyhow::Result<()> {
    println!("FILE {name}");
    for part in content.chunks(LINE_BYTES) {
        let mut line = String::with_capacity(2 * LINE_BYTES);
        for byte in part {
            write!(line, "{byte:02x}")?;
        }
        println!("FILE-PART {line}");
    }
    println!("FILE-END {}", content.len());
    Ok(())
}
