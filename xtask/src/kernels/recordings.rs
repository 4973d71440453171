//! Recordings that go between this machine and an emulated one of another architecture.
//!
//! In: `tests/recordings`; what the payload sent over its console. Out: recordings with the reports that this
//! machine makes of them, for the payload to compare; whether what it recorded gives the same reports here,
//! byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::command;
use crate::emulator::boot::{FILE_PART, Run};

/// Recordings that are taken there: full and light, threads and an event loop.
const TAKEN: [&str; 3] = ["gthread-healthy", "light-gthread", "uvicorn-asgi"];
/// The forms of reports that are compared; files of them are named by these.
const FORMS: [&str; 3] = ["text", "json", "ndjson"];
/// What the payload recorded.
const SENT: &str = "live.wtrace";
/// The payload's lines before and after the bytes of a file, which come in hexadecimal digits.
const FILE: (&str, &str) = ("FILE ", "FILE-END ");

/// Recordings and this machine's reports of them, by their names in the image.
pub(super) fn taken() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let program = program()?;
    let directory = command::root().join("target/kernels");
    fs::create_dir_all(&directory)?;
    let mut files = Vec::new();
    for name in TAKEN {
        let recording = command::root().join("tests/recordings").join(format!("{name}.wtrace"));
        for form in FORMS {
            let file = directory.join(format!("{name}.{form}"));
            fs::write(&file, report(&program, &recording, form)?)?;
            files.push((format!("opt/{name}.{form}"), file));
        }
        files.push((format!("opt/{name}.wtrace"), recording));
    }
    Ok(files)
}

/// Whether this machine reports what the payload recorded as the payload did. What it sent is kept beside the
/// console's log.
pub(super) fn are_the_same(name: &str, run: &Run) -> anyhow::Result<bool> {
    let directory = command::root().join("target/kernels").join(name);
    fs::create_dir_all(&directory)?;
    let sent = sent(&run.lines)?;
    for (file, content) in &sent {
        let file = Path::new(file).file_name().context("a file without a name")?;
        fs::write(directory.join(file), content)?;
    }
    if !sent.contains_key(SENT) {
        println!("-- the payload sent no {SENT}");
        return Ok(false);
    }
    let program = program()?;
    let mut differ = Vec::new();
    for form in FORMS {
        let here = report(&program, &directory.join(SENT), form)?;
        if sent.get(&format!("live.{form}")) != Some(&here) {
            fs::write(directory.join(format!("here.{form}")), here)?;
            differ.push(form);
        }
    }
    if differ.is_empty() {
        println!("-- what it recorded gives the same reports here: {}", FORMS.join(", "));
    } else {
        println!(
            "-- its recording gives other reports here ({}): {}",
            differ.join(", "),
            directory.display()
        );
    }
    Ok(differ.is_empty())
}

/// The files that the payload sent.
fn sent(lines: &[String]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut open: Option<(&str, Vec<u8>)> = None;
    for line in lines {
        if let Some(name) = line.strip_prefix(FILE.0) {
            open = Some((name, Vec::new()));
        } else if let (Some(part), Some((_, content))) = (line.strip_prefix(FILE_PART), &mut open) {
            for pair in part.as_bytes().chunks(2) {
                let digits = std::str::from_utf8(pair)?;
                content.push(
                    u8::from_str_radix(digits, 16).with_context(|| format!("not two digits: {digits}"))?,
                );
            }
        } else if let Some(length) = line.strip_prefix(FILE.1) {
            let Some((name, content)) = open.take() else { bail!("the end of a file that did not begin") };
            ensure!(length.parse() == Ok(content.len()), "{name}: {} of {length} bytes came", content.len());
            files.insert(name.to_owned(), content);
        }
    }
    Ok(files)
}

/// This machine's program, of the tree as it is.
fn program() -> anyhow::Result<PathBuf> {
    let program =
        ["build", "--quiet", "--workspace", "--exclude", "profiler-ebpf", "--locked", "--bin", "wsgi-trace"];
    command::run(&mut command::cargo(&program))?;
    Ok(command::root().join("target/debug/wsgi-trace"))
}

fn report(program: &Path, recording: &Path, form: &str) -> anyhow::Result<Vec<u8>> {
    let mut report = Command::new(program);
    report.arg("report").arg(recording).args(["--format", form]);
    // As the payload does.
    report.env("LC_ALL", "C.UTF-8").env("COLUMNS", "100");
    Ok(command::output(&mut report)?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_file_comes_whole_between_other_lines_or_not_at_all() {
        let whole =
            lines(&["-- a", "FILE live.json", "FILE-PART 7b0a", "FILE-PART 7d", "FILE-END 3", "PASS a"]);
        assert_eq!(sent(&whole).expect("whole").get("live.json").map(Vec::as_slice), Some(&b"{\n}"[..]));
        for broken in [
            &["FILE a", "FILE-PART 7b", "FILE-END 2"][..],
            &["FILE-END 0"],
            &["FILE a", "FILE-PART 7", "FILE-PART zz", "FILE-END 2"],
        ] {
            assert!(sent(&lines(broken)).is_err(), "{broken:?}");
        }
    }
}
