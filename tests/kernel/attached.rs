//! What was attached on this kernel, as text that a reviewer reads.
//!
//! In: JSON reports, the program's own `doctor`. Out: lines on the console between two marks, with nothing in
//! them that differs from run to run: `xtask` compares them with `tests/kernel/attach`.

use std::fmt::Write as _;
use std::sync::Mutex;

use anyhow::ensure;
use serde_json::Value;
use wsgi_trace_test_support::program::Program;

use crate::machine::kernel_release;
use crate::server::{Gunicorn, LIMIT};

static TEXT: Mutex<String> = Mutex::new(String::new());

/// Notes text under a title.
pub(crate) fn note_text(title: &str, text: &str) {
    let Ok(mut notes) = TEXT.lock() else { return };
    let _ = writeln!(notes, "== {title}");
    for line in text.lines() {
        let _ = writeln!(notes, "{}", without_what_differs(line));
    }
}

/// Notes what a run attached.
pub(crate) fn note(title: &str, report: &Value) {
    let text = |place: &str| report.pointer(place).and_then(Value::as_str).unwrap_or("?").to_owned();
    let mut notes = format!("hooks {}: {}\n", text("/tool/hooks"), text("/tool/hooks_reason"));
    for program in list(report, "/tool/programs") {
        let _ = writeln!(notes, "with {}", program.as_str().unwrap_or("?"));
    }
    for missing in list(report, "/tool/missing") {
        let said = |key: &str| missing.get(key).and_then(Value::as_str).unwrap_or("?");
        let _ = writeln!(notes, "without {}: {}; {}", said("program"), said("reason"), said("consequence"));
    }
    note_text(title, &notes);
}

/// Notes how waits for the GIL were seen.
pub(crate) fn note_gil(report: &Value) {
    let mut notes = format!("{}\n", report.pointer("/gil/method").and_then(Value::as_str).unwrap_or("?"));
    for file in list(report, "/gil/files") {
        let said = |key: &str| file.get(key).map_or_else(String::new, Value::to_string);
        let _ = writeln!(notes, "{}", ["file", "method", "reason", "probes", "stepped"].map(said).join(" "));
    }
    note_text("the GIL", &notes);
}

/// Notes what `doctor` says of the machine and the server.
pub(crate) fn doctor(server: &Gunicorn) -> anyhow::Result<()> {
    let outcome = Program::run(&["doctor", "--pid", &server.pid().to_string()], LIMIT)?;
    ensure!(outcome.status.success(), "{}: {}{}", outcome.status, outcome.stdout, outcome.stderr);
    note_text("doctor", &outcome.stdout);
    Ok(())
}

/// Prints all notes.
pub(crate) fn print() {
    let Ok(notes) = TEXT.lock() else { return };
    println!("ATTACH-REPORT\n{notes}ATTACH-REPORT-END");
}

fn list<'a>(report: &'a Value, place: &str) -> &'a [Value] {
    report.pointer(place).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A line without the kernel's release, which the file's name stands for, and without measured time.
fn without_what_differs(line: &str) -> String {
    let line = line.replace(&kernel_release(), "…");
    match (line.find(", in "), line.ends_with(" ms")) {
        (Some(at), true) => format!("{}, in … ms", line.get(..at).unwrap_or_default()),
        _ => line,
    }
}
