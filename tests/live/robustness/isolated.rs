//! A server with every namespace of its own and limits of its cgroup. What is seen of it from the host, from
//! a privileged sidecar with the host's process numbers, and from one that shares its PID namespace alone.
//! And how a run ends that loses it.
//!
//! In: a contained server, podman. Out: verdicts.

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::isolated::{CPUS, Isolated, MEMORY_BYTES};
use wsgi_trace_test_support::podman;
use wsgi_trace_test_support::program::{Outcome, Program, wsgi_trace_binary};
use wsgi_trace_test_support::{require_bpf, require_podman};

use crate::container::{OF_HOST, UNFILTERED, capabilities};
use crate::said::{LIMIT, assert_failure, assert_success, json, number, output, run};

/// As many as the clients below send.
const REQUESTS: u64 = 60;
const CLIENTS: &[&str] = &["--requests=60", "--seconds=30", "--clients=3", "--routes=/page"];

fn text<'a>(report: &'a Value, pointer: &str) -> &'a str {
    report.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a report of it must say wherever it was traced from.
fn assert_named_and_limited(report: &Value, server: &Isolated) {
    assert_eq!(text(report, "/target/container/id"), server.container_id, "{}", report["target"]);
    assert_eq!(text(report, "/target/container/runtime"), "podman");
    assert_eq!(report.pointer("/target/container/k8s_pod_name"), Some(&Value::Null));
    assert_eq!(text(report, "/target/server/name"), "gunicorn");
    // From the interpreter's and the server's files below its own root.
    assert!(text(report, "/target/server/version").starts_with("27."), "{}", report["target"]);
    assert!(text(report, "/target/server/python_version").starts_with("3."));
    assert_eq!(number(report, "/target/memory/limit_bytes"), MEMORY_BYTES);
    assert!((1..=MEMORY_BYTES).contains(&number(report, "/target/memory/used_bytes")));
    let (quota_ns, period_ns) =
        (number(report, "/target/cgroups/0/quota_ns"), number(report, "/target/cgroups/0/period_ns"));
    assert!((quota_ns as f64 / period_ns as f64 - CPUS).abs() < 1e-9, "{quota_ns} of {period_ns}");
}

/// Traces with these arguments while clients ask, and ends the window when all are answered.
fn traced(server: &Isolated, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let mut program = Program::start(arguments)?;
    program.wait_for_stderr("watching")?;
    assert_eq!(server.ask(CLIENTS)?.answered() as u64, REQUESTS);
    program.signal(libc::SIGINT);
    program.finish(LIMIT)
}

#[test]
fn server_with_every_namespace_of_its_own_is_found_named_and_read_from_the_host() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _alone = exclusive()?;
    let server = Isolated::start()?;
    let (pid, port) = (server.pid().to_string(), server.port.to_string());

    let listed: Value = json(&run(&["list", "--format", "json"])?)?;
    let row = listed.as_array().and_then(|rows| rows.iter().find(|row| row["pid"] == server.pid()));
    let row = row.with_context(|| format!("not listed: {listed}"))?;
    assert_eq!(text(row, "/container/id"), server.container_id);
    let table = run(&["list"])?.stdout;
    assert!(table.contains("CONTAINER") && table.contains(&server.container_id[..12]), "{table}");

    for target in [["--pid", &pid], ["--port", &port], ["--name", "shop:app"]] {
        let outcome = traced(&server, &[&target[..], &["--format", "json", "--stacks"]].concat())?;
        assert_success(&outcome);
        let report = json(&outcome)?;
        assert_eq!(number(&report, "/target/pid"), u64::from(server.pid()), "{target:?}");
        assert_named_and_limited(&report, &server);
        assert_eq!(number(&report, "/requests/completed"), REQUESTS, "{target:?}");
        assert_eq!(text(&report, "/listeners/0/address"), format!("127.0.0.1:{port}"));
        // Three clients compete for two threads that compute: they wait for the lock, held where the
        // application computes.
        assert!(number(&report, "/gil/waits/count") > 0, "{}", report["gil"]);
        let places = report["gil"].to_string();
        assert!(places.contains("/srv/app/shop.py") && places.contains("spin"), "{places}");
    }

    let outcome = run(&["--pid", &pid, "-d", "1s", "--verbose"])?;
    assert_success(&outcome);
    let said = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = format!("podman container {}", &server.container_id[..12]);
    for words in [name.as_str(), "0.50 CPUs", "Memory limit of"] {
        assert!(said.contains(words), "{words:?} is not in: {}", outcome.stdout);
    }
    Ok(())
}

#[test]
fn privileged_sidecar_with_the_host_s_processes_reports_what_the_host_does() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _others = shared()?;
    let server = Isolated::start()?;
    let pid = server.pid().to_string();
    // Until they are told to end: how long a container takes to come up nobody knows.
    let load = server.start_asking(&["--seconds=60", "--clients=2", "--routes=/page"])?;
    let directory = tempfile::tempdir()?;
    let mut command = podman::run(directory.path());
    command.args([OF_HOST, "--privileged"]).args(podman::ROOT).arg(wsgi_trace_binary()?);
    let outcome = output(command.args(["--pid", &pid, "-d", "3s", "--format", "json"]))?;
    load.stop_early();
    let sent = load.finish()?;
    assert_success(&outcome);
    let report = json(&outcome)?;
    assert_named_and_limited(&report, &server);
    let completed = number(&report, "/requests/completed");
    assert!((1..=sent.answered() as u64).contains(&completed), "{completed} of {}", sent.answered());
    assert!(report["gil"].is_object(), "{}", report["not_measured"]);
    assert!(report["listeners"][0]["queue"].is_object(), "{}", report["listeners"]);
    Ok(())
}

#[test]
fn sidecar_that_shares_the_pid_namespace_alone_lists_the_server_and_says_which_setting_lets_it_trace()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _others = shared()?;
    let server = Isolated::start()?;
    let beside = |arguments: &[&str]| {
        let mut command = server.sidecar();
        command.args(["--cap-drop=all", "--cap-add", &capabilities(), UNFILTERED]);
        command.arg(Isolated::its_processes()).args(podman::ROOT).arg(wsgi_trace_binary()?).args(arguments);
        output(&mut command)
    };
    let listed = beside(&["list", "--format", "json"])?;
    assert_success(&listed);
    let listed = json(&listed)?;
    // There it is the first process.
    assert_eq!(listed.pointer("/0/pid"), Some(&Value::from(1)), "{listed}");
    assert_eq!(text(&listed, "/0/container/id"), server.container_id, "{listed}");
    for arguments in [&["--pid", "1", "-d", "1s"][..], &["doctor", "--pid", "1"]] {
        assert_failure(
            &beside(arguments)?,
            ExitCode::KernelUnsuitable,
            &["process numbers of its own", "hostPID"],
        );
    }
    Ok(())
}

#[test]
fn number_that_a_process_has_in_its_container_leads_to_the_one_it_has_here() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _others = shared()?;
    let server = Isolated::start()?;
    let own = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid()))?;
    let worker = own.split_whitespace().next().context("no worker")?;
    let status = std::fs::read_to_string(format!("/proc/{worker}/status"))?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).context("no numbers")?;
    let inside = numbers.split_whitespace().last().context("no number")?;
    if std::path::Path::new("/proc").join(inside).exists() {
        // A machine with a process of that small number: nothing to be confused about.
        return Ok(());
    }
    let missing = format!("there is no process {inside} here");
    let parts = [missing.as_str(), worker];
    assert_failure(&run(&["--pid", inside, "-d", "1s"])?, ExitCode::TargetNotFound, &parts);
    Ok(())
}

#[test]
fn container_that_is_killed_in_the_middle_ends_the_window_and_the_report_still_comes() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _others = shared()?;
    let server = Isolated::start()?;
    let pid = server.pid().to_string();
    let mut program = Program::start(&["--pid", &pid, "--format", "json"])?;
    program.wait_for_stderr("watching")?;
    let sent = server.ask(CLIENTS)?;
    server.kill();
    let outcome = program.finish(LIMIT)?;
    assert_success(&outcome);
    let report = json(&outcome)?;
    assert_eq!(text(&report, "/window/end_reason"), "target_exited");
    assert_eq!(number(&report, "/requests/completed"), sent.answered() as u64);
    // Its cgroup is gone by now: what was read at first is told.
    assert_eq!(number(&report, "/target/memory/limit_bytes"), MEMORY_BYTES);
    assert_eq!(text(&report, "/target/container/id"), server.container_id);
    Ok(())
}

#[test]
fn root_file_system_that_is_gone_costs_the_server_s_version_and_nothing_else() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _others = shared()?;
    let server = Isolated::start()?;
    // Interpreter, packages and application: all that is not mounted.
    for directory in ["opt", "srv"] {
        std::fs::remove_dir_all(server.root().join(directory))?;
    }
    let pid = server.pid().to_string();
    let outcome = traced(&server, &["--pid", &pid, "--format", "json", "--stacks"])?;
    assert_success(&outcome);
    let report = json(&outcome)?;
    assert_eq!(report.pointer("/target/server/version"), Some(&Value::Null));
    assert_eq!(text(&report, "/target/container/id"), server.container_id);
    assert_eq!(number(&report, "/requests/completed"), REQUESTS);
    assert!(number(&report, "/gil/waits/count") > 0, "{}", report["gil"]);
    Ok(())
}
