//! `--tls`: probes in the server's OpenSSL come and go under load, and nothing is left of them; what they see
//! is redacted.
//!
//! In: nothing. Out: verdicts.

use std::time::Duration;

use anyhow::Context as _;
use aya::programs::loaded_programs;
use profiler_core::stream::Item;
use serde_json::Value;
use wsgi_trace::recording::Recording;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::tls::Tls;
use wsgi_trace_test_support::trace::{Trace, report_on};

fn start() -> anyhow::Result<(Server, String)> {
    let server = Server::start(&Tls::of(Settings::gthread(Version::V27, 1, 4)))?;
    let pid = server.pid().to_string();
    Ok((server, pid))
}

/// Programs in OpenSSL that the kernel has loaded, of whatever instance of the profiler.
fn probes_loaded() -> usize {
    let is_probe = |name: &str| name.starts_with("tls_");
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str().is_some_and(is_probe))
        .count()
}

#[test]
fn attached_and_detached_again_and_again_under_load_every_request_is_answered() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let (server, pid) = start()?;
    // More than can be answered until the last window ends.
    let load = Load::start(
        server.address(),
        &[
            "--tls=1.3",
            "--requests=100000",
            "--seconds=100",
            "--clients=3",
            "--keep-alive=7",
            "--routes=/fast",
        ],
    )?;
    for way in ["uprobes", "auto", "off", "uprobes"] {
        let arguments = ["--pid", &pid, "--format", "json", "-d", "400ms", "--tls", way];
        let outcome = Program::run(&arguments, Duration::from_secs(60))?;
        anyhow::ensure!(outcome.status.success(), "{}", outcome.stderr);
        let report: Value = serde_json::from_str(&outcome.stdout)?;
        let number =
            |at: &str| report.pointer(at).and_then(Value::as_u64).with_context(|| format!("no {at}"));
        let hidden = number("/requests/framing/not_http")?;
        // A request that was under way as the window began can be neither.
        let endpoints = report.pointer("/endpoints").and_then(Value::as_array).context("no endpoints")?;
        let is_fast = |endpoint: &&Value| {
            let shape = endpoint.get("path_shape").and_then(Value::as_str);
            shape.is_some_and(|shape| shape.starts_with("/fast"))
        };
        let count = |endpoint: &Value| endpoint.get("count").and_then(Value::as_u64);
        let named: u64 = endpoints.iter().filter(is_fast).filter_map(count).sum();
        anyhow::ensure!(hidden + named > 0, "{way}: the load was over");
        anyhow::ensure!((named > 0) == (way != "off"), "{way}: {named} named, {hidden} hidden");
    }
    load.stop_early();
    let sent = load.finish()?;
    assert_eq!(sent.answered(), sent.requests.len());
    assert_eq!(probes_loaded(), 0, "left in the kernel");
    Ok(())
}

#[test]
fn killed_with_probes_in_openssl_it_leaves_none_and_the_server_answers() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let (server, pid) = start()?;
    let options =
        ["--tls=1.3", "--requests=200", "--seconds=60", "--clients=3", "--keep-alive=5", "--routes=/fast"];
    let mut program = Program::start(&["--pid", &pid, "--tls", "uprobes"])?;
    program.wait_for_stderr("watching process")?;
    assert_ne!(probes_loaded(), 0);
    let load = Load::start(server.address(), &options)?;
    program.signal(libc::SIGKILL);
    program.finish(Duration::from_secs(20)).ok();
    assert_eq!(load.finish()?.answered(), 200);
    until("the probes are gone", Duration::from_secs(20), || Ok((probes_loaded() == 0).then_some(())))
}

/// What `load.py --plant-secrets` puts into heads and bodies, and a header's name.
const SECRETS: &[&str] =
    &["planted-cookie", "planted-token", "planted-query", "planted-body", "planted-answer", "Host: "];

#[test]
fn secrets_over_tls_reach_neither_the_recording_nor_a_report() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let clean = |what: &str, bytes: &[u8]| {
        for secret in SECRETS {
            let found = bytes.windows(secret.len()).any(|part| part.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!found, "{what} holds {secret:?}");
        }
    };
    let (server, pid) = start()?;
    let trace = Trace::start_with(pid.parse()?, &["--tls=uprobes"])?;
    let options = ["--tls=1.3", "--requests=100", "--clients=3", "--keep-alive=5", "--plant-secrets"];
    let kinds = ["--routes=/fast,/missing", "--kinds=get=3,head,sized,chunked,expect"];
    let sent = Load::run(server.address(), [&options[..], &kinds].concat().as_slice())?;
    assert_eq!(sent.answered(), sent.requests.len());
    let traced = trace.end()?;
    // The search would find them: paths are kept.
    assert!(traced.ndjson.contains("/missing/"));
    clean("the recording", &std::fs::read(&traced.recording)?);
    for item in Recording::open(&traced.recording)? {
        match item {
            Item::Kernel(bytes) => clean("a record", bytes.as_ref()),
            Item::Fact(fact) => clean("a fact", &serde_json::to_vec(&fact)?),
        }
    }
    for format in ["text", "html", "json", "ndjson", "timeline"] {
        clean(format, report_on(&traced.recording, format)?.stdout.as_bytes());
    }
    Ok(())
}
