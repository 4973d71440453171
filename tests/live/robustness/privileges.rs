//! Who may trace: the capabilities that the documentation names suffice, and where they do not, `doctor` says
//! so because it tried.
//!
//! In: a server of root's; an ordinary user with some capabilities, a filter that refuses the system call
//! `bpf`. Out: verdicts.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wsgi_trace::capability::CAPABILITIES_WANTED;
use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;

use crate::said::{assert_failure, assert_success, json, output, program_for_all};

/// Some user who owns nothing.
const USER: &str = "65534";
/// `bpf` on x86_64 (arch/x86/entry/syscalls/syscall_64.tbl).
const BPF: &str = "321";

/// As an ordinary user who has these capabilities and no others.
fn with_capabilities(program: &Path, capabilities: &[String], arguments: &[&str]) -> Command {
    let list: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
    let list = list.join(",");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    command.args(["--inh-caps", &list, "--ambient-caps", &list]).arg(program).args(arguments);
    command
}

/// As `setpriv` names them.
fn wanted() -> Vec<String> {
    CAPABILITIES_WANTED
        .split([',', ' '])
        .filter_map(|word| word.strip_prefix("CAP_"))
        .map(str::to_lowercase)
        .collect()
}

#[test]
fn documented_capabilities_find_and_trace_a_server_of_another_user() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let directory = tempfile::tempdir()?;
    let program = program_for_all(directory.path())?;
    let (_, port) = server.address().host_and_port();
    let port = port.to_string();
    let names = wanted();
    assert_eq!(names.len(), 5, "{names:?}");

    let doctor = output(&mut with_capabilities(&program, &names, &["doctor", "--port", &port]))?;
    assert_success(&doctor);
    assert!(doctor.stdout.contains("ok  attaching"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("NO  CAP_SYS_ADMIN"), "{}", doctor.stdout);

    let mut traced =
        Program::start_by(with_capabilities(&program, &names, &["--port", &port, "--format", "json"]))?;
    traced.wait_for_stderr("watching process")?;
    let sent = Load::run(server.address(), &["--clients=2", "--requests=200", "--routes=/fast"])?;
    server.access_log(sent.answered())?;
    traced.signal(libc::SIGINT);
    let traced = traced.finish(Duration::from_secs(30))?;
    assert_success(&traced);
    let report = json(&traced)?;
    let at = |path: &str| report.pointer(path).cloned().unwrap_or_default();
    assert_eq!(at("/requests/completed").as_u64(), Some(sent.answered() as u64), "{}", at("/requests"));
    assert!(at("/gil").is_object(), "{}", at("/not_measured"));
    assert!(at("/listeners/0/address").is_string(), "{}", at("/listeners"));

    // One less, and what is missing is named.
    let fewer: Vec<String> = names.iter().filter(|name| *name != "dac_read_search").cloned().collect();
    let refused = output(&mut with_capabilities(&program, &fewer, &["--port", &port, "-d", "1s"]))?;
    assert_failure(&refused, ExitCode::TargetNotFound, &["CAP_DAC_READ_SEARCH"]);
    Ok(())
}

#[test]
fn every_mode_works_with_the_documented_capabilities_or_names_the_one_it_lacks() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 2))?;
    let directory = tempfile::tempdir()?;
    let program = program_for_all(directory.path())?;
    let pid = server.master().to_string();
    let traced = |options: &[&str]| {
        let arguments = [&["--pid", &pid, "-d", "300ms", "--format", "json"], options].concat();
        output(&mut with_capabilities(&program, &wanted(), &arguments))
    };
    for (options, hooks, has_gil) in [
        (&[][..], "btf", true),
        (&["--hooks=btf"], "btf", true),
        (&["--light"], "light", true),
        (&["--stacks"], "btf", true),
        (&["--gil=off"], "btf", false),
    ] {
        let outcome = traced(options)?;
        assert_success(&outcome);
        let report = json(&outcome)?;
        assert_eq!(report.pointer("/tool/hooks"), Some(&hooks.into()), "{options:?}");
        assert_eq!(report["gil"].is_object(), has_gil, "{options:?}: {}", report["not_measured"]);
    }

    // Probes take CAP_SYS_ADMIN: without it another way is chosen, and the reason is told; by doctor before.
    let outcome = traced(&["--gil=uprobes"])?;
    assert_success(&outcome);
    let file = json(&outcome)?.pointer("/gil/files/0").cloned().unwrap_or_default();
    assert_eq!(file["method"], "syscalls", "{file}");
    assert!(file["reason"].as_str().is_some_and(|reason| reason.contains("CAP_SYS_ADMIN")), "{file}");
    let doctor = output(&mut with_capabilities(&program, &wanted(), &["doctor"]))?;
    let probes = doctor.stdout.lines().find(|line| line.contains("probes in interpreters"));
    assert!(
        probes.is_some_and(|line| line.starts_with("NO") && line.contains("CAP_SYS_ADMIN")),
        "{probes:?}"
    );

    // So does mounting tracefs, where nobody has.
    let outcome = traced(&["--hooks=tracepoints"])?;
    if Path::new("/sys/kernel/tracing/events").is_dir()
        || Path::new("/sys/kernel/debug/tracing/events").is_dir()
    {
        assert_success(&outcome);
    } else {
        assert_failure(&outcome, ExitCode::KernelUnsuitable, &["tracefs", "CAP_SYS_ADMIN", "--hooks btf"]);
    }
    Ok(())
}

#[test]
fn where_the_system_call_is_refused_it_is_said_by_trace_as_by_doctor() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let directory = tempfile::tempdir()?;
    let program = program_for_all(directory.path())?;
    let filtered = |arguments: &[&str]| {
        let client = wsgi_trace_test_support::root().join("tests/clients/without_call.py");
        output(Command::new(Version::V27.python()).arg(client).arg(BPF).arg(&program).args(arguments))
    };
    for arguments in [&["--pid", &pid, "-d", "1s"][..], &["doctor", "--pid", &pid]] {
        let said = filtered(arguments)?;
        assert_failure(&said, ExitCode::NotPermitted, &["seccomp", "forbids loading BPF programs"]);
    }
    let doctor = filtered(&["doctor"])?;
    assert!(doctor.stdout.contains("NO  attaching"), "{}", doctor.stdout);
    Ok(())
}

/// The list is the same wherever it stands.
#[test]
fn documents_name_the_capabilities_that_are_wanted() -> anyhow::Result<()> {
    for page in ["README.md", "docs/serve.md", "packaging/wheel/README.md", "packaging/wsgi-trace.service"] {
        let text = std::fs::read_to_string(wsgi_trace_test_support::root().join(page))?;
        for name in wanted() {
            let name = format!("CAP_{}", name.to_uppercase());
            assert!(text.contains(&name), "{page} does not name {name}");
        }
    }
    Ok(())
}
