//! What a recording holds and what it must not hold; a report from it is the report of the live run.
//!
//! In: servers under load that carries secrets. Out: verdicts.

use wsgi_trace::recording::Recording;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::{Trace, report_on};

use std::time::Duration;

use profiler_core::stream::Item;

const LOAD: &[&str] = &[
    "--requests",
    "150",
    "--seconds",
    "20",
    "--clients",
    "3",
    "--keep-alive",
    "4",
    "--routes",
    "/fast=4,/cpu,/backend,/stream,/empty,/missing,/error",
    "--kinds",
    "get=6,head,sized,chunked,expect,pipeline=0.3",
];

/// What `load.py --plant-secrets` and the application put into heads and bodies.
const SECRETS: &[&str] = &[
    "planted-cookie",
    "planted-token",
    "planted-query",
    "planted-body",
    "planted-answer",
    "from the back end",
    "uuuuuuuu",
    "cccccccc",
    "eeeeeeee",
];

fn assert_clean(what: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
        assert!(!found, "{what} holds {secret:?}");
    }
}

#[test]
fn secrets_reach_neither_the_recording_nor_a_report() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for settings in [Settings::sync(Version::V27, 2), Settings::gthread(Version::V23, 2, 4)] {
        let server = Gunicorn::start(&settings)?;
        let trace = Trace::start(server.master())?;
        let sent = Load::run(server.address(), &[LOAD, &["--plant-secrets"]].concat())?;
        server.access_log(sent.answered())?;
        let traced = trace.end()?;
        // The search would find them: paths are kept.
        assert!(traced.ndjson.contains("/backend/"));
        assert_clean("the recording", &std::fs::read(&traced.recording)?);
        let mut records = 0;
        for item in Recording::open(&traced.recording)? {
            match item {
                Item::Kernel(bytes) => assert_clean("a record", bytes.as_ref()),
                Item::Fact(fact) => assert_clean("a fact", &serde_json::to_vec(&fact)?),
            }
            records += 1;
        }
        assert!(records > 1000, "{records}");
        for format in ["text", "html", "json", "ndjson", "timeline"] {
            assert_clean(format, report_on(&traced.recording, format)?.stdout.as_bytes());
        }
    }
    Ok(())
}

fn replay_equals_live(format: &str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 2, 4))?;
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (recording, output, again) = (path("recording"), path("live"), path("again"));
    let pid = server.master().to_string();
    let arguments =
        ["--pid", &pid, "--duration", "100s", "--format", format, "--record", &recording, "-o", &output];
    let mut program = Program::start(&arguments)?;
    program.wait_for_stderr("watching process")?;
    let sent = Load::run(server.address(), LOAD)?;
    server.access_log(sent.answered())?;
    program.signal(libc::SIGINT);
    let live = program.finish(Duration::from_secs(60))?;
    assert!(live.status.success(), "{}", live.stderr);
    let replay =
        Program::run(&["report", &recording, "--format", format, "-o", &again], Duration::from_secs(60))?;
    assert!(replay.status.success(), "{}", replay.stderr);
    let (live, replay) = (std::fs::read(&output)?, std::fs::read(&again)?);
    assert!(live.len() > 1000);
    assert!(live == replay, "the report from the recording is not that of the live run");
    Ok(())
}

#[test]
fn json_from_a_recording_is_the_json_of_the_live_run() -> anyhow::Result<()> {
    replay_equals_live("json")
}

#[test]
fn a_page_from_a_recording_is_the_page_of_the_live_run() -> anyhow::Result<()> {
    replay_equals_live("html")
}

#[test]
fn ndjson_from_a_recording_is_the_ndjson_of_the_live_run() -> anyhow::Result<()> {
    replay_equals_live("ndjson")
}

#[test]
fn a_timeline_from_a_recording_is_the_timeline_of_the_live_run() -> anyhow::Result<()> {
    replay_equals_live("timeline")
}
