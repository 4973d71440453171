//! Threads that want the lock of an interpreter that ends.
//!
//! In: interpreters; from 3.14 on such threads hang until their process is gone, before they ended. Out:
//! verdicts.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::trace::Trace;
use wsgi_trace_test_support::{require_bpf, root};

use crate::interpreters::{self, Interpreter};

/// How long the end of the interpreter takes.
const ENDING: Duration = Duration::from_secs(3);

/// What `apps/gil_finalising.py` says as its interpreter begins to end.
#[derive(Debug, Deserialize)]
struct Told {
    /// When that was, `CLOCK_MONOTONIC`.
    ending_ns: u64,
    /// The threads that wanted the lock.
    tids: Vec<u64>,
}

/// Traces the end of an interpreter whose threads want its lock.
fn ends(interpreter: &Interpreter) -> anyhow::Result<()> {
    let _alone = exclusive()?;
    let mut command = interpreter.command();
    command.arg(root().join("tests/apps/gil_finalising.py")).arg(ENDING.as_secs().to_string());
    let mut child = Child::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()), "the interpreter")?;
    let mut lines = BufReader::new(child.take_stdout().context("no output")?).lines();
    assert_eq!(lines.next().context("it does not come up")??, "ready");
    let trace = Trace::start(child.pid())?;
    drop(child.take_stdin());
    let told: Told = serde_json::from_str(&lines.next().context("it does not end")??)?;
    child.wait(ENDING * 10)?;
    let traced = trace.end()?;
    let began_ns = traced.number("/window/start_ns")?;
    let threads = traced.value("/gil/threads")?.as_array().context("no threads")?;
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    // What a thread waits for at that moment ends a switch interval later, or once it has a CPU.
    let limit_ns = told.ending_ns.saturating_sub(began_ns) + u64::try_from(ENDING.as_nanos())? / 3;
    for tid in &told.tids {
        let thread =
            threads.iter().find(|thread| number(thread, "tid") == *tid).context("it did not wait")?;
        let (total_ns, longest_ns) = (number(thread, "total_ns"), number(thread, "longest_ns"));
        eprintln!(
            "{}: thread {tid} waited {:.1} ms, up to {:.1} ms at once, of {:.1} ms until the end began",
            interpreter.name,
            total_ns as f64 / 1e6,
            longest_ns as f64 / 1e6,
            told.ending_ns.saturating_sub(began_ns) as f64 / 1e6
        );
        assert!(total_ns > 0 && total_ns < limit_ns, "{total_ns} of {limit_ns}");
    }
    let edges = traced.value("/gil/thread_edges")?.as_array().context("no edges")?;
    let by_edges_ns: u64 = edges.iter().map(|edge| number(edge, "total_ns")).sum();
    let other_ns = traced.number("/gil/other_thread_edges_ns")?;
    assert_eq!(by_edges_ns + other_ns, traced.number("/gil/waits/sum_ns")?);
    assert_eq!(traced.number("/losses/conservation/slices_broken")?, 0);
    Ok(())
}

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn who_wants_the_lock_of_an_interpreter_that_ends_waits_no_longer_than_until_then() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    interpreters::found().iter().filter(|of| !of.is("free-threaded")).try_for_each(ends)
}
