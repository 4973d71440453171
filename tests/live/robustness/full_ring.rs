//! A ring buffer that is far too small.
//!
//! In: nothing. Out: verdicts.

use serde_json::Value;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;

use crate::said::{LIMIT, assert_success, json, number, run};

const BUSY: &[&str] =
    &["--requests", "100000", "--seconds", "3", "--clients", "6", "--keep-alive", "5", "--routes", "/fast"];

#[test]
fn an_overfull_ring_loses_nothing_uncounted_and_the_report_says_so_at_its_top() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let pid = server.master().to_string();
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("recording").to_string_lossy().into_owned();
    let arguments =
        ["--pid", &pid, "-d", "1500ms", "--format", "json", "--ring-bytes", "8192", "--record", &recording];
    let mut program = Program::start(&arguments)?;
    program.wait_for_stderr("watching")?;
    let load = Load::start(server.address(), BUSY)?;
    let outcome = program.finish(LIMIT)?;
    let sent = load.finish()?;
    assert_success(&outcome);
    // The server did not notice.
    assert!(sent.requests.iter().all(|request| request.status == Some(200)));

    let report = json(&outcome)?;
    let lost = report.pointer("/losses/kernel_lost").and_then(Value::as_array).cloned().unwrap_or_default();
    let lost: Vec<(&str, u64)> = lost
        .iter()
        .filter_map(|loss| Some((loss.get("name")?.as_str()?, loss.get("count")?.as_u64()?)))
        .collect();
    let of = |name: &str| lost.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
    assert!(of("ring_full_slice") > 100, "the ring was not overfull: {lost:?}");
    // What the kernel wrote is what came; each slice that it could not write is a hole or lies before the
    // first or after the last of its thread.
    assert_eq!(
        number(&report, "/losses/conservation/received"),
        number(&report, "/losses/conservation/emitted")
    );
    let holes = number(&report, "/losses/sequence_holes");
    assert!(holes > 0 && holes <= of("ring_full_slice"), "{holes} holes, {lost:?}");
    for law in ["slices_broken", "requests_broken"] {
        assert_eq!(number(&report, &format!("/losses/conservation/{law}")), 0, "{law}");
    }
    assert_eq!(report.pointer("/losses/is_complete"), Some(&false.into()));

    // No client was dropped. Of whom too little was seen, that is said, and no cause is made up.
    let undecided = number(&report, "/drops/undecided");
    assert_eq!(number(&report, "/drops/dropped"), 0, "{:?}", report.pointer("/drops"));
    assert!(undecided > 0, "{:?}", report.pointer("/drops"));

    let text = run(&["report", &recording])?;
    assert!(text.stdout.starts_with("INCOMPLETE"), "{}", text.stdout);
    let requests = run(&["report", &recording, "--format", "ndjson"])?;
    let mut lossy = 0;
    for line in requests.stdout.lines() {
        let request: Value = serde_json::from_str(line)?;
        let phases = request.get("phases").and_then(Value::as_object);
        let sum: u64 = phases.into_iter().flat_map(|phases| phases.values()).filter_map(Value::as_u64).sum();
        assert_eq!(Some(sum), request.get("total_ns").and_then(Value::as_u64), "{line}");
        lossy += u64::from(request.get("is_lossy") == Some(&true.into()));
    }
    assert!(lossy > 0, "no request says that it was touched by a loss");
    Ok(())
}
