//! Targets that are none: no such process, no server, not ours to look at, gone.
//!
//! In: nothing. Out: verdicts.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::require_bpf;

use crate::said::{assert_failure, assert_success, output, program_for_all, run};

/// Above the largest process id that Linux gives.
const NO_PID: &str = "4194305";
/// Who owns nothing.
const NOBODY: u32 = 65_534;

/// Leader of a session: below a process that listens, as this one may for a moment, it would count as that
/// server's helper.
fn sleeper() -> anyhow::Result<Child> {
    Child::start_as_session(Command::new("sleep").arg("600").stdin(Stdio::null()), "sleep")
}

#[test]
fn a_process_that_is_not_there_is_said_to_be_missing() -> anyhow::Result<()> {
    for arguments in [
        &["--pid", NO_PID, "-d", "1s"][..],
        &["doctor", "--pid", NO_PID],
        &["record", "--pid", NO_PID, "-o", "x"],
    ] {
        let parts = ["there is no process 4194305", "wsgi-trace list"];
        assert_failure(&run(arguments)?, ExitCode::TargetNotFound, &parts);
    }
    assert!(!std::path::Path::new("x").exists(), "a file was made for nothing");
    Ok(())
}

#[test]
fn a_process_that_has_ended_but_was_not_looked_at_is_not_there() -> anyhow::Result<()> {
    let mut ended = Command::new("true").spawn()?;
    let pid = ended.id();
    wsgi_trace_test_support::child::until("the end of true", crate::said::LIMIT, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.contains(") Z ").then_some(()))
    })?;
    let outcome = run(&["--pid", &pid.to_string(), "-d", "1s"])?;
    assert_failure(&outcome, ExitCode::TargetNotFound, &["there is no process"]);
    ended.wait()?;
    Ok(())
}

#[test]
fn a_sandbox_with_a_kernel_of_its_own_is_refused_by_name() -> anyhow::Result<()> {
    // This process is no gVisor, but is called as that calls itself.
    let mut command = Command::new("sleep");
    let sandbox = Child::start(command.arg0("runsc-sandbox").arg("600").stdin(Stdio::null()), "sleep")?;
    let pid = sandbox.pid().to_string();
    for arguments in [&["--pid", &pid, "-d", "1s"][..], &["doctor", "--pid", &pid]] {
        assert_failure(&run(arguments)?, ExitCode::KernelUnsuitable, &["gVisor", "another runtime"]);
    }
    Ok(())
}

#[test]
fn a_process_that_serves_nothing_is_told_from_a_server() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let child = sleeper()?;
    let pid = child.pid().to_string();
    for arguments in [&["--pid", &pid, "-d", "1s"][..], &["doctor", "--pid", &pid]] {
        let parts = ["hold no listening socket", "wsgi-trace list"];
        assert_failure(&run(arguments)?, ExitCode::TargetNotFound, &parts);
    }
    Ok(())
}

#[test]
fn kernel_threads_are_no_servers() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let is_kernel = std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd");
    if is_kernel {
        let outcome = run(&["--pid", "2", "-d", "1s"])?;
        assert_failure(&outcome, ExitCode::TargetNotFound, &["hold no listening socket"]);
    }
    Ok(())
}

#[test]
fn a_process_above_several_servers_leads_to_a_choice() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let servers = [
        Gunicorn::start(&Settings::sync(Version::V27, 1))?,
        Gunicorn::start(&Settings::sync(Version::V23, 1))?,
    ];
    // This test program started both.
    let outcome = run(&["--pid", &std::process::id().to_string(), "-d", "1s"])?;
    let pids = servers.each_ref().map(|server| server.master().to_string());
    assert_failure(
        &outcome,
        ExitCode::TargetNotFound,
        &["leads to several servers", "--pid", &pids[0], &pids[1]],
    );
    Ok(())
}

#[test]
fn ports_and_names_that_lead_nowhere_say_so() -> anyhow::Result<()> {
    let outcome = run(&["--port", "1", "-d", "1s"])?;
    assert_failure(&outcome, ExitCode::TargetNotFound, &["nothing listens on TCP port 1"]);
    let outcome = run(&["--name", "no such server", "-d", "1s"])?;
    assert_failure(&outcome, ExitCode::TargetNotFound, &["no running server is called", "wsgi-trace list"]);
    Ok(())
}

#[test]
fn without_privileges_tracing_says_what_is_missing_and_the_rest_works() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let directory = tempfile::tempdir()?;
    let program = program_for_all(directory.path())?;
    let recording = directory.path().join("recording");
    let recorded =
        run(&["record", "--pid", &pid, "-d", "200ms", "-o", recording.to_str().unwrap_or_default()])?;
    assert_success(&recorded);
    std::os::unix::fs::chown(&recording, Some(NOBODY), Some(NOBODY))?;
    let as_nobody = |arguments: &[&str]| {
        output(Command::new(&program).args(arguments).uid(NOBODY).gid(NOBODY).current_dir(directory.path()))
    };

    let refused = as_nobody(&["--pid", &pid, "-d", "1s"])?;
    assert_failure(&refused, ExitCode::NotPermitted, &["CAP_BPF and CAP_PERFMON missing", "sudo"]);
    let doctor = as_nobody(&["doctor", "--pid", &pid])?;
    assert_eq!(doctor.status.code(), Some(4), "{}", doctor.stderr);
    assert!(
        doctor.stdout.contains("NO  privileges") && doctor.stdout.contains("gunicorn"),
        "{}",
        doctor.stdout
    );
    let list = as_nobody(&["list"])?;
    assert_success(&list);
    assert!(list.stdout.lines().any(|line| line.starts_with(&pid)), "{}", list.stdout);
    let report = as_nobody(&["report", "recording"])?;
    assert_success(&report);
    assert!(report.stdout.contains("gunicorn"), "{}", report.stdout);
    assert_success(&as_nobody(&["explain"])?);
    Ok(())
}

#[test]
fn no_mount_is_left_behind() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let tracefs = || -> anyhow::Result<Vec<String>> {
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        let of_tracing =
            mounts.lines().filter(|line| ["trac", "debugfs", "bpf"].iter().any(|name| line.contains(name)));
        Ok(of_tracing.map(str::to_owned).collect())
    };
    let before = tracefs()?;
    for hooks in ["btf", "tracepoints"] {
        assert_success(&run(&["--pid", &pid, "-d", "100ms", "--hooks", hooks])?);
    }
    assert_eq!(tracefs()?, before);
    Ok(())
}
