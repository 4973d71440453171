//! In a container of its own, as a sidecar: what its default filter of system calls refuses is said with the
//! setting to change, and with that setting the documented capabilities suffice.
//!
//! In: a server of the machine, podman. Out: verdicts.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use wsgi_trace::capability::CAPABILITIES_WANTED;
use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::podman;
use wsgi_trace_test_support::program::{Outcome, wsgi_trace_binary};
use wsgi_trace_test_support::{require_bpf, require_podman};

use crate::said::{self, assert_failure, assert_success, output};

/// The documented capabilities, as podman names them.
pub(crate) fn capabilities() -> String {
    let names = CAPABILITIES_WANTED.split([',', ' ']).filter_map(|word| word.strip_prefix("CAP_"));
    names.collect::<Vec<_>>().join(",")
}

/// podman's default filter, but with these calls allowed to whoever has their capability (moby/moby,
/// profiles/seccomp/default.json).
fn filter_by_capability(directory: &Path) -> anyhow::Result<PathBuf> {
    const CALLS: [(&str, &str); 2] = [("bpf", "CAP_BPF"), ("perf_event_open", "CAP_PERFMON")];
    let mut filter: Value = serde_json::from_str(&std::fs::read_to_string(DEFAULT_FILTER)?)?;
    let rules = filter.pointer_mut("/syscalls").and_then(Value::as_array_mut).context("no rules")?;
    for names in rules.iter_mut().filter_map(|rule| rule.get_mut("names")?.as_array_mut()) {
        names.retain(|name| CALLS.iter().all(|(call, _)| name != call));
    }
    rules.retain(|rule| rule.pointer("/names/0").is_some());
    for (call, capability) in CALLS {
        let rule =
            json!({ "names": [call], "action": "SCMP_ACT_ALLOW", "includes": { "caps": [capability] } });
        rules.push(rule);
    }
    let file = directory.join("filter.json");
    std::fs::write(&file, filter.to_string())?;
    Ok(file)
}

/// Where Debian's containers-common has it.
const DEFAULT_FILTER: &str = "/usr/share/containers/seccomp.json";

/// As podman says it.
pub(crate) const OF_HOST: &str = "--pid=host";
pub(crate) const UNFILTERED: &str = "--security-opt=seccomp=unconfined";

/// `wsgi-trace` in a container with the documented capabilities and no others.
fn in_container(options: &[&str], arguments: &[&str]) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let mut command = podman::run(directory.path());
    command.args(["--cap-drop=all", "--cap-add", &capabilities()]).args(options);
    command.args(podman::ROOT).arg(wsgi_trace_binary()?).args(arguments);
    output(&mut command)
}

#[test]
fn default_filter_of_a_container_is_named_and_without_it_the_documented_capabilities_suffice()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let pid = server.master().to_string();
    for arguments in [&["--pid", &pid, "-d", "1s"][..], &["doctor", "--pid", &pid]] {
        let said = in_container(&[OF_HOST], arguments)?;
        assert_failure(
            &said,
            ExitCode::NotPermitted,
            &["seccomp=unconfined", "forbids loading BPF programs"],
        );
    }

    // A filter that allows the two calls to their own capabilities, as Docker's does by now, is no hindrance.
    let directory = tempfile::tempdir()?;
    let arguments = ["--pid", &pid, "-d", "300ms"];
    let filter = format!("--security-opt=seccomp={}", filter_by_capability(directory.path())?.display());
    assert_success(&in_container(&[OF_HOST, &filter], &arguments)?);

    // To CAP_SYS_ADMIN the default filter allows it.
    assert_success(&in_container(&[OF_HOST, "--cap-add=SYS_ADMIN"], &arguments)?);

    assert_success(&in_container(&[OF_HOST, UNFILTERED], &["doctor", "--pid", &pid])?);
    // Until they are told to end: how long a container takes to come up nobody knows.
    let load = Load::start(server.address(), &["--clients=2", "--seconds=60", "--routes=/fast"])?;
    let traced = in_container(&[OF_HOST, UNFILTERED], &["--pid", &pid, "-d", "2s", "--format", "json"])?;
    load.stop_early();
    let load = load.finish()?;
    assert_success(&traced);
    let report = said::json(&traced)?;
    let at = |path: &str| report.pointer(path).cloned().unwrap_or_default();
    let completed = at("/requests/completed").as_u64().unwrap_or(0);
    assert!(completed > 100 && completed <= load.answered() as u64, "{completed} of {}", load.answered());
    assert!(at("/gil").is_object(), "{}", at("/not_measured"));
    assert!(at("/listeners/0/address").is_string(), "{}", at("/listeners"));
    Ok(())
}

#[test]
fn container_with_process_numbers_of_its_own_is_told_so_and_not_that_the_kernel_is_too_old()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _others = shared()?;
    let doctor = in_container(&[UNFILTERED], &["doctor"])?;
    assert_failure(&doctor, ExitCode::KernelUnsuitable, &["--pid=host"]);
    let no: Vec<&str> = doctor.stdout.lines().filter(|line| line.starts_with("NO")).collect();
    let is_it = |line: &&str| line.starts_with("NO  attaching") && line.contains("--pid=host");
    assert!(no.iter().any(is_it), "{no:#?}");
    // What else is refused names the capability that the container lacks.
    assert!(no.iter().all(|line| is_it(line) || line.contains("CAP_")), "{no:#?}");
    Ok(())
}
