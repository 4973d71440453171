//! `--gil`: what each way attaches, and that nothing is left of it.
//!
//! In: nothing. Out: verdicts.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use aya::programs::{ProgramInfo, loaded_programs};
use serde_json::Value;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::{Program, kernel_programs};
use wsgi_trace_test_support::published::why_not_measured;
use wsgi_trace_test_support::require_bpf;

/// The report of a server that was asked `options` of, watched in one way.
fn watched(server: &Gunicorn, way: &[&str], options: &[&str]) -> anyhow::Result<(Value, String)> {
    let pid = server.master().to_string();
    let mut arguments = vec!["--pid", &pid, "--format", "json"];
    arguments.extend(way);
    let mut program = Program::start(&arguments)?;
    program.wait_for_stderr("watching process")?;
    let sent = Load::run(server.address(), options)?;
    server.access_log(sent.answered())?;
    let probes = probes_of(&program);
    program.signal(libc::SIGINT);
    let outcome = program.finish(Duration::from_secs(60))?;
    until_gone(&probes)?;
    Ok((serde_json::from_str(&outcome.stdout)?, outcome.stderr))
}

fn number(report: &Value, path: &str) -> anyhow::Result<u64> {
    report.pointer(path).and_then(Value::as_u64).with_context(|| format!("no {path}"))
}

/// Numbers of the programs in interpreters that a running profiler holds.
fn probes_of(program: &Program) -> BTreeSet<u32> {
    let held = kernel_programs(program.pid());
    let is_probe = |info: &ProgramInfo| info.name_as_str().is_some_and(|name| name.starts_with("gil_"));
    let all = loaded_programs().filter_map(Result::ok).filter(is_probe);
    all.map(|info| info.id()).filter(|id| held.contains(id)).collect()
}

/// The kernel frees programs some time after their last user is gone.
fn until_gone(probes: &BTreeSet<u32>) -> anyhow::Result<()> {
    until("the probes are gone", Duration::from_secs(20), || {
        let mut all = loaded_programs().filter_map(Result::ok);
        Ok((!all.any(|info| probes.contains(&info.id()))).then_some(()))
    })
}

#[test]
fn a_server_of_single_threads_hits_no_probe_where_threads_wait() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 2))?;
    let options = ["--requests", "40", "--clients", "2", "--routes", "/cpu,/fast,/sleep/5"];
    for (way, probes) in [("auto", 0), ("uprobes", 1)] {
        let (report, _) = watched(&server, &["--gil", way], &options)?;
        assert_eq!(number(&report, "/gil/probe_hits")?, 0, "{way}");
        assert_eq!(number(&report, "/gil/waits/count")?, 0, "{way}");
        assert_eq!(number(&report, "/gil/files/0/probes")?, probes, "{way}");
    }
    Ok(())
}

#[test]
fn threads_that_compute_hit_the_probes_and_their_waits_are_told_in_every_way() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let options = ["--requests", "12", "--seconds", "60", "--clients", "3", "--routes", "/truth/cpu/60"];
    for (way, method) in [
        (&["--gil", "uprobes"][..], "uprobes"),
        (&["--gil", "full"], "full"),
        (&["--gil", "full", "--gil-single-step"], "full"),
    ] {
        let (report, said) = watched(&server, way, &options)?;
        let used = report.pointer("/gil/files/0/method").and_then(Value::as_str);
        // An interpreter whose function begins with an instruction that must be stepped is refused without
        // the word.
        let refused = report.pointer("/gil/files/0/reason").and_then(Value::as_str).unwrap_or_default();
        if used != Some(method) && refused.contains("--gil-single-step") && way.len() == 2 {
            continue;
        }
        assert_eq!(used, Some(method), "{way:?}: {refused}");
        assert!(number(&report, "/gil/waits/count")? > 0, "{way:?}");
        assert!(number(&report, "/gil/probe_hits")? > 0, "{way:?}");
        // Only the method "full" counts them.
        let attempts = report.pointer("/gil/attempts").and_then(Value::as_u64);
        assert_eq!(attempts.is_some_and(|count| count > 0), method == "full", "{way:?}");
        assert_eq!(attempts.is_none(), method != "full", "{way:?}");
        assert_eq!(said.contains("each time a thread takes the GIL"), method == "full", "{said}");
    }
    Ok(())
}

#[test]
fn switched_off_nothing_is_known_of_the_interpreter() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 2))?;
    let options = ["--requests", "10", "--clients", "2", "--routes", "/cpu"];
    let (report, _) = watched(&server, &["--gil", "off"], &options)?;
    let reason = why_not_measured(&report, "/gil")?;
    assert!(reason.contains("--gil=off"), "{reason}");
    Ok(())
}

#[test]
fn killed_with_probes_attached_it_leaves_none_and_the_server_answers() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let pid = server.master().to_string();
    for way in ["uprobes", "full"] {
        let mut program = Program::start(&["--pid", &pid, "--gil", way])?;
        program.wait_for_stderr("watching process")?;
        let load = Load::start(
            server.address(),
            &["--requests", "40", "--seconds", "60", "--clients", "3", "--routes", "/cpu"],
        )?;
        let probes = probes_of(&program);
        assert!(!probes.is_empty(), "{way}: it has no probes");
        program.signal(libc::SIGKILL);
        program.finish(Duration::from_secs(20)).ok();
        let sent = load.finish()?;
        assert_eq!(sent.answered(), 40, "{way}");
        until_gone(&probes)?;
    }
    Ok(())
}

#[test]
fn attached_and_detached_again_and_again_under_load_every_request_is_answered() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let pid = server.master().to_string();
    // More than can be answered until the last window ends.
    let load = Load::start(
        server.address(),
        &["--requests", "100000", "--seconds", "100", "--clients", "3", "--routes", "/cpu,/fast"],
    )?;
    for way in [&["--gil", "uprobes"][..], &["--gil", "full", "--gil-single-step"], &["--gil", "syscalls"]] {
        let mut program =
            Program::start(&[&["--pid", &pid, "--format", "json", "-d", "400ms"], way].concat())?;
        program.wait_for_stderr("watching process")?;
        let probes = probes_of(&program);
        let outcome = program.finish(Duration::from_secs(60))?;
        anyhow::ensure!(outcome.status.success(), "{}", outcome.stderr);
        until_gone(&probes)?;
        let report: Value = serde_json::from_str(&outcome.stdout)?;
        assert!(number(&report, "/gil/waits/count")? > 0, "{way:?}: the load was over");
        let has_probes = way.contains(&"uprobes") || way.contains(&"full");
        assert_eq!((number(&report, "/gil/probe_hits")? > 0, !probes.is_empty()), (has_probes, has_probes));
    }
    load.stop_early();
    let sent = load.finish()?;
    assert_eq!(sent.answered(), sent.requests.len());
    Ok(())
}
