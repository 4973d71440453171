//! Where in Python the holder was, and who waited long for it, on every interpreter whose frames are known.
//!
//! In: interpreters, threads that compute or wait in a known function. Out: verdicts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::{exclusive, note_skip};
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::switches::Switches;
use wsgi_trace_test_support::trace::{Trace, Traced};
use wsgi_trace_test_support::{gil_lines, require_bpf, root, witness};

use crate::interpreters::{self, Interpreter};
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

/// A program of tests/apps that waits for its begin and its end, watched between them: what it says, and what
/// was seen of it.
fn watched(interpreter: &Interpreter, program: &str, argument: &str) -> anyhow::Result<(String, Traced)> {
    let mut command = interpreter.command();
    command.arg(root().join("tests/apps").join(program)).arg(argument);
    let mut child = Child::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()), "the interpreter")?;
    let mut lines = BufReader::new(child.take_stdout().context("no output")?).lines();
    let mut stdin = child.take_stdin().context("no input")?;
    assert_eq!(lines.next().context("it does not come up")??, "ready");
    let trace = Trace::start_with(child.pid(), &["--stacks"])?;
    stdin.write_all(b"begin\n")?;
    let told = lines.next().context("it says nothing")??;
    stdin.write_all(b"end\n")?;
    child.wait(Duration::from_secs(30))?;
    Ok((told, trace.end()?))
}

/// A thread that waits for another which keeps the lock, in a line that is known.
fn stands(interpreter: &Interpreter, line: u64) -> anyhow::Result<()> {
    const ROUNDS: u64 = 12;
    let _alone = exclusive()?;
    let (told, traced) = watched(interpreter, "gil_stand.py", &ROUNDS.to_string())?;
    let (waited_ns, kept_ns) = told.split_once(' ').context("it says something else")?;
    let (waited_ns, kept_ns): (u64, u64) = (waited_ns.parse()?, kept_ns.parse()?);
    let blocked = traced.value("/gil/places/blocked")?;
    let listed = blocked.pointer("/listed").and_then(Value::as_array).context("no places")?;
    let number = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_u64).unwrap_or(0);
    let text =
        |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_it = |block: &&Value| {
        text(block, "/at/file").ends_with("/gil_stand.py")
            && text(block, "/at/function") == "stand"
            && number(block, "/at/line") == line
            && text(block, "/called_from/function") == "want"
    };
    let block = listed.iter().find(is_it).with_context(|| format!("{}: {blocked:#}", interpreter.name))?;
    let ours_ns = number(block, "/wait_ns");
    eprintln!(
        "{}: {:.2} ms waited in the line that waits, {:.2} by its own clock, of which the lock was kept for {:.2}",
        interpreter.name,
        ours_ns as f64 / 1e6,
        waited_ns as f64 / 1e6,
        kept_ns as f64 / 1e6
    );
    assert_eq!(number(block, "/waits"), ROUNDS, "{}: {blocked:#}", interpreter.name);
    // Asleep until the moment at which it wants the lock, it comes to ask for it a little later, at most as
    // much later as it has it.
    assert!(
        ours_ns <= waited_ns && ours_ns as f64 > kept_ns as f64 * 0.98,
        "{}: {blocked:#}",
        interpreter.name
    );
    Ok(())
}

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn thread_that_waits_long_is_found_in_the_line_where_it_stands_on_every_interpreter() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let source = std::fs::read_to_string(root().join("tests/apps/gil_stand.py"))?;
    let mut lines =
        source.lines().zip(1..).filter(|(line, _)| line.contains("release_lock.clock_nanosleep("));
    let (_, line) = lines.next().context("no such line")?;
    anyhow::ensure!(lines.next().is_none(), "several such lines");
    let found = interpreters::found();
    let known = |of: &&Interpreter| {
        !of.is("free-threaded") && KNOWN.iter().any(|known| of.is(known)) && of.has_ctypes()
    };
    found.iter().filter(known).try_for_each(|interpreter| stands(interpreter, line))
}

/// Requests of a server, of which one keeps the lock and another wants it.
fn requests_stand(interpreter: &Interpreter) -> anyhow::Result<()> {
    const PAIRS: usize = 4;
    let _alone = exclusive()?;
    let directory = tempfile::tempdir()?;
    let witness = directory.path().join("witness");
    let switches = Switches::start()?;
    let server = Server::start_witnessed(interpreter, &witness)?;
    let trace = Trace::start_with(server.pid(), &["--stacks"])?;
    let answered = gil_lines::hold_and_want(&server.address(), PAIRS)?;
    let traced = trace.end()?;
    eprintln!("{}:", interpreter.name);
    assert_eq!(answered, 2 * PAIRS);
    let waits = switches.stop()?.waits();
    let witnesses = witness::parse(&std::fs::read_to_string(&witness)?)?;
    let checked =
        gil_lines::check(&traced.requests, &witnesses, &waits).with_context(|| interpreter.name.clone())?;
    assert_eq!(checked, PAIRS, "{}", interpreter.name);
    Ok(())
}

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn requests_that_wait_long_say_both_lines_on_every_interpreter() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let found = interpreters::found();
    // gunicorn serves them.
    let known = |of: &&Interpreter| {
        !of.is("free-threaded") && !of.is_musl() && KNOWN.iter().any(|known| of.is(known))
    };
    found.iter().filter(known).try_for_each(requests_stand)
}

/// Functions whose names are not English, the second at the address of the first.
fn names(interpreter: &Interpreter) -> anyhow::Result<()> {
    let _alone = exclusive()?;
    let (others, traced) = watched(interpreter, "gil_names.py", "3")?;
    anyhow::ensure!(others != "never", "no code object came to the address of the first");
    let listed = traced.value("/gil/places/listed")?.as_array().context("no places")?;
    let all_ns = traced.number("/gil/waits/sum_ns")?;
    let of = |name: &str| -> u64 {
        let is_it = |place: &&Value| {
            place.pointer("/at/function").is_some_and(|function| function == name)
                && place.pointer("/at/file").is_some_and(|file| file == "/srv/𝒜pp/été.py")
        };
        listed.iter().filter(is_it).filter_map(|place| place.get("wait_ns").and_then(Value::as_u64)).sum()
    };
    let (first, second) = (of("Zählen") as f64 / all_ns as f64, of("Считай") as f64 / all_ns as f64);
    eprintln!(
        "{}: {:.1} % of the waits in the first function, {:.1} % in the second ({others} code objects between them)",
        interpreter.name,
        first * 100.0,
        second * 100.0
    );
    // Each computes for 3 s; that another is there is seen within a second.
    assert!(first + second > 0.9 && second > 0.25, "{listed:#?}");
    Ok(())
}

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn functions_of_any_alphabet_are_named_also_at_the_address_of_one_that_is_gone() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let found = interpreters::found();
    let known = |of: &&Interpreter| !of.is("free-threaded") && KNOWN.iter().any(|known| of.is(known));
    found.iter().filter(known).try_for_each(names)
}
