//! In a container of its own, as a sidecar: what its default filter of system calls refuses is said with the setting to change, and
//! with that setting the documented capabilities suffice.
//!
//! In: a server of the machine, podman. Out: verdicts.

use anyhow::Context as _;
use wsgi_trace::capability::CAPABILITIES_WANTED;
use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_tests::gate::{exclusive, shared};
use wsgi_trace_tests::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_tests::load::Load;
use wsgi_trace_tests::podman;
use wsgi_trace_tests::program::{Outcome, wsgi_trace_binary};
use wsgi_trace_tests::{require_bpf, require_podman};

use crate::said::{assert_failure, assert_success, json, output};

/// The documented capabilities, as podman names them.
pub(crate) fn capabilities() -> String {
    let names = CAPABILITIES_WANTED.split([',', ' ']).filter_map(|word| word.strip_prefix("CAP_"));
    names.collect::<Vec<_>>().join(",")
}

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
    let _alone = exclusive()?;
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

    // To CAP_SYS_ADMIN the default filter allows it.
    let arguments = ["--pid", &pid, "-d", "300ms"];
    assert_success(&in_container(&[OF_HOST, "--cap-add=SYS_ADMIN"], &arguments)?);

    assert_success(&in_container(&[OF_HOST, UNFILTERED], &["doctor", "--pid", &pid])?);
    let (traced, load) = std::thread::scope(|scope| {
        let address = server.address();
        let asking =
            scope.spawn(move || Load::run(address, &["--clients=2", "--seconds=10", "--routes=/fast"]));
        (
            in_container(&[OF_HOST, UNFILTERED], &["--pid", &pid, "-d", "2s", "--format", "json"]),
            asking.join(),
        )
    });
    let (traced, load) = (traced?, load.ok().context("the load panicked")??);
    assert_success(&traced);
    let report = json(&traced)?;
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
    assert!(no.iter().all(|line| is_it(line) || line.starts_with("NO  CAP_")), "{no:#?}");
    Ok(())
}
