//! Ways in which a run ends early: signals, a target that goes.
//!
//! In: nothing. Out: verdicts.

use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;

use crate::said::{LIMIT, assert_success, json, number};

const SOME: &[&str] = &["--requests", "20", "--seconds", "20", "--clients", "2", "--routes", "/fast"];

fn end_reason(report: &serde_json::Value) -> Option<&str> {
    report.pointer("/window/end_reason")?.as_str()
}

#[test]
fn signals_end_the_window_early_and_the_report_still_comes() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut program = Program::start(&["--pid", &pid, "--format", "json"])?;
        program.wait_for_stderr("watching")?;
        let sent = Load::run(server.address(), SOME)?;
        program.signal(signal);
        let outcome = program.finish(LIMIT)?;
        assert_success(&outcome);
        let report = json(&outcome)?;
        assert_eq!(end_reason(&report), Some("interrupted"));
        assert_eq!(number(&report, "/requests/completed"), sent.answered() as u64);
    }
    Ok(())
}

#[test]
fn a_target_that_exits_ends_the_window_and_the_report_still_comes() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let mut server = Gunicorn::start(&Settings::gthread(Version::V27, 2, 2))?;
    let pid = server.master().to_string();
    let mut program = Program::start(&["--pid", &pid, "--format", "json"])?;
    program.wait_for_stderr("watching")?;
    let sent = Load::run(server.address(), SOME)?;
    server.stop();
    let outcome = program.finish(LIMIT)?;
    assert_success(&outcome);
    let report = json(&outcome)?;
    assert_eq!(end_reason(&report), Some("target_exited"));
    assert_eq!(number(&report, "/requests/completed"), sent.answered() as u64);
    Ok(())
}

#[test]
fn a_target_that_exits_while_the_programs_are_attached_is_an_end_and_no_accident() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    for delay_ms in [0, 40, 80, 120, 200, 300] {
        let mut server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
        let pid = server.master().to_string();
        let program = Program::start(&["--pid", &pid, "--format", "json"])?;
        // Not a wait for anything: the moment is what the test is about.
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        server.stop();
        let outcome = program.finish(LIMIT)?;
        match outcome.status.code() {
            Some(0) => assert_eq!(end_reason(&json(&outcome)?), Some("target_exited")),
            Some(3) => assert!(
                ["there is no process", "hold no listening socket"]
                    .iter()
                    .any(|words| outcome.stderr.contains(words)),
                "{}",
                outcome.stderr
            ),
            Some(6) => assert!(outcome.stderr.contains("ended"), "{}", outcome.stderr),
            other => panic!("{other:?} after {delay_ms} ms: {}", outcome.stderr),
        }
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    }
    Ok(())
}

#[test]
fn a_trace_that_takes_more_than_it_may_ends_early_and_the_report_still_comes() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let how = ["--duration", "120s", "--max-cost", "0.1%", "--format", "json"];
    let mut program = Program::start(&[&["--pid", &pid][..], &how].concat())?;
    program.wait_for_stderr("watching")?;
    let load = ["--requests", "20000", "--seconds", "60", "--clients", "2", "--routes", "/fast"];
    let load = Load::start(server.address(), &load)?;
    let outcome = program.finish(LIMIT)?;
    drop(load);
    assert_success(&outcome);
    let report = json(&outcome)?;
    assert_eq!(end_reason(&report), Some("cost"));
    assert!(outcome.stderr.contains("--max-cost"), "{}", outcome.stderr);
    assert!(number(&report, "/requests/completed") > 0);
    Ok(())
}
