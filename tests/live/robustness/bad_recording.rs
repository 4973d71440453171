//! Recordings that are cut off, damaged, empty, too new, or none.
//!
//! In: nothing. Out: verdicts.

use std::path::Path;

use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;

use crate::said::{assert_failure, assert_success, json, number, run};

/// Records a server at work; returns how many requests it answered.
fn record(path: &str) -> anyhow::Result<usize> {
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let options = ["--requests", "300", "--seconds", "20", "--clients", "4", "--routes", "/sleep/10"];
    let pid = server.master().to_string();
    let mut program =
        wsgi_trace_test_support::program::Program::start(&["record", "--pid", &pid, "-o", path])?;
    program.wait_for_stderr("watching")?;
    let sent = Load::run(server.address(), &options)?;
    program.signal(libc::SIGINT);
    assert_success(&program.finish(crate::said::LIMIT)?);
    Ok(sent.answered())
}

#[test]
fn whatever_happened_to_a_recording_what_is_whole_is_reported_and_the_rest_said() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let whole = path("whole");
    let answered = record(&whole)?;
    let report = json(&run(&["report", &whole, "--format", "json"])?)?;
    assert_eq!(number(&report, "/requests/completed"), answered as u64);
    assert_eq!(report.pointer("/losses/is_recording_truncated"), Some(&false.into()));

    let bytes = std::fs::read(&whole)?;
    let changed = path("changed");
    let length = bytes.len();
    for cut in [1, 40, 64, 65, length / 7, length / 3, length / 2, length - 30, length - 1] {
        std::fs::write(&changed, bytes.get(..cut).unwrap_or_default())?;
        let outcome = run(&["report", &changed, "--format", "json"])?;
        if cut < 70 {
            assert_failure(&outcome, ExitCode::RecordingUnreadable, &["record again"]);
        } else if outcome.status.success() {
            let report = json(&outcome)?;
            assert!(number(&report, "/requests/completed") <= answered as u64);
            assert_eq!(report.pointer("/losses/is_recording_truncated"), Some(&true.into()), "cut at {cut}");
        } else {
            assert_failure(&outcome, ExitCode::RecordingUnreadable, &["nothing that can be read"]);
        }
    }
    for place in [length / 5, length / 2, length - length / 5] {
        let mut damaged = bytes.clone();
        damaged.iter_mut().skip(place).take(9).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&changed, damaged)?;
        let outcome = run(&["report", &changed])?;
        assert_success(&outcome);
        assert!(outcome.stdout.starts_with("INCOMPLETE"), "damaged at {place}: {}", outcome.stdout);
    }
    // The version stands after the eight bytes by which a recording is known.
    let mut newer = bytes.clone();
    newer.iter_mut().skip(8).take(1).for_each(|byte| *byte = 200);
    std::fs::write(&changed, &newer)?;
    let outcome = run(&["report", &changed])?;
    assert_eq!(outcome.status.code(), Some(8), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn what_is_no_recording_is_named_and_refused() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let text = directory.path().join("text");
    std::fs::write(&text, "only some text\n".repeat(20))?;
    let missing = directory.path().join("missing");
    let cases = [
        (text.as_path(), "is not a recording"),
        (Path::new("/dev/null"), "is empty"),
        // Without an end: what reads it all never comes back.
        (Path::new("/dev/zero"), "is not a recording"),
        (directory.path(), "it is a directory"),
        (missing.as_path(), "there is no such file"),
    ];
    for (path, words) in cases {
        let outcome = run(&["report", path.to_str().unwrap_or_default()])?;
        assert_failure(&outcome, ExitCode::RecordingUnreadable, &[words, "record"]);
        assert_eq!(outcome.stdout, "");
    }
    Ok(())
}
