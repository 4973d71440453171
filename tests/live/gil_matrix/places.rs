//! Where in Python the holder was, on every interpreter whose frames are known.
//!
//! In: interpreters, threads that compute in a known function. Out: verdicts.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_tests::gate::{exclusive, note_skip};
use wsgi_trace_tests::program::Program;
use wsgi_trace_tests::{require_bpf, root};

use crate::interpreters;
use crate::server::{Kind, Server};

/// Versions whose frames are known.
const KNOWN: [&str; 5] = ["3.11", "3.12", "3.13", "3.14", "3.15"];

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn holders_are_found_in_the_lines_that_compute_on_every_interpreter() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let source = std::fs::read_to_string(root().join("tests/apps/gil_load.py"))?;
    let first = source.lines().position(|line| line.starts_with("def compute")).context("no function")? + 1;
    let last = first + 4;
    let found = interpreters::found();
    for interpreter in
        found.iter().filter(|of| !of.is("free-threaded") && KNOWN.iter().any(|known| of.is(known)))
    {
        let _alone = exclusive()?;
        let server = Server::start(interpreter, Kind::Cpu)?;
        let pid = server.pid().to_string();
        let program = Program::start(&["--pid", &pid, "--stacks", "--duration", "2s", "--format", "json"])?;
        let outcome = program.finish(Duration::from_secs(60))?;
        let report: Value = serde_json::from_str(&outcome.stdout)?;
        let number = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_u64).unwrap_or(0);
        let listed = report.pointer("/gil/places/listed").and_then(Value::as_array).context("no places")?;
        let (mut inside_ns, mut all_ns) = (0, number(&report, "/gil/places/unknown_ns"));
        for place in listed {
            let text = |at: &str| place.pointer(at).and_then(Value::as_str).unwrap_or_default();
            let line = usize::try_from(number(place, "/at/line"))?;
            let wait_ns = number(place, "/wait_ns");
            all_ns += wait_ns;
            if text("/at/function") == "compute"
                && text("/at/file").ends_with("gil_load.py")
                && text("/called_from/function") == "cpu"
                && (first..=last).contains(&line)
            {
                inside_ns += wait_ns;
            }
        }
        let share = inside_ns as f64 / all_ns.max(1) as f64;
        eprintln!(
            "{}: {:.1} % of {:.1} ms waited in the lines that compute, {} samples, {} unstable",
            interpreter.name,
            share * 100.0,
            all_ns as f64 / 1e6,
            number(&report, "/gil/places/samples"),
            number(&report, "/gil/places/unstable"),
        );
        assert!(number(&report, "/gil/places/samples") > 50, "{}: it did not contend", interpreter.name);
        // The rest: the loop around the function, a sample on the way in or out of it.
        assert!(share > 0.9, "{}: {listed:#?}", interpreter.name);
    }
    for known in KNOWN.iter().filter(|known| !found.iter().any(|interpreter| interpreter.is(known))) {
        note_skip(&format!("no interpreter here is {known}"));
    }
    Ok(())
}
