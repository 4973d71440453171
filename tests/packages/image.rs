//! The container image: the commands of docs/containers.md, run as they stand, with a real gunicorn as the
//! server.
//!
//! In: `target/dist`, podman, the blocks of `sh dist` of the page. Out: verdicts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::{podman, require_bpf, require_podman, root};

use crate::installed::succeed;
use crate::{MACHINE, bash, place};

/// `sudo` of one who is root, and `podman` as tests run it.
fn commands(directory: &Path) -> anyhow::Result<()> {
    // Where root may not raise limits, podman must not try.
    let configuration = directory.join("containers.conf");
    fs::write(
        &configuration,
        "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n",
    )?;
    let podman = podman::podman(&directory.join("kept"));
    let words = podman.get_args().map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")));
    let podman = format!(
        "export PODMAN_IGNORE_CGROUPSV1_WARNING=1 CONTAINERS_CONF='{}'\nexec unshare {} \"$@\"",
        configuration.display(),
        words.collect::<Vec<_>>().join(" ")
    );
    for (name, body) in [("sudo", "exec \"$@\""), ("podman", podman.as_str())] {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    fs::create_dir_all(directory.join("kept"))?;
    Ok(())
}

#[test]
#[ignore = "make dist-test"]
fn the_image_loads_and_reports_with_the_documented_capabilities_alone() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_podman!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let (_, port) = server.address().host_and_port();
    let page = fs::read_to_string(root().join("docs/containers.md"))?;
    let script = page.split("```sh dist\n").nth(1).and_then(|rest| rest.split("```").next());
    let script = script.context("docs/containers.md has lost its commands")?;
    let script = script.replace("--port 8000", &format!("--port {port}")).replace("30s", "3s");
    let script = script.replace("-amd64.oci.tar", &format!("-{}.oci.tar", MACHINE.1));
    assert!(script.contains(concat!("localhost/wsgi-trace:", env!("CARGO_PKG_VERSION"))), "{script}");
    let place = place()?;
    let tools = tempfile::tempdir()?;
    commands(tools.path())?;
    let mut load = Load::start(server.address(), &["--clients=2", "--seconds=60", "--routes=/fast"])?;
    let said = succeed(&mut bash(&script, place.path(), &[tools.path()]))?;
    anyhow::ensure!(load.ended()?.is_none(), "the clients ended before the report did");
    load.stop_early();
    load.finish()?;
    assert!(said.contains("gunicorn") && said.contains("/fast") && said.contains("Findings"), "{said}");
    assert!(said.contains("Global interpreter lock"), "{said}");
    // Nothing in it but the program and its licences.
    let image = crate::package(&format!("-{}.oci.tar", MACHINE.1))?;
    let unpacked = tempfile::tempdir()?;
    succeed(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(&image)
            .arg("--directory")
            .arg(unpacked.path()),
    )?;
    let layer = succeed(
        Command::new("sh")
            .current_dir(unpacked.path())
            .args(["-c", "tar --list --file \"$(find blobs -type f -size +100k)\""]),
    )?;
    let files: Vec<&str> = layer.lines().filter(|name| !name.ends_with('/')).collect();
    assert_eq!(files.first().copied(), Some("usr/bin/wsgi-trace"), "{files:?}");
    assert!(files.iter().skip(1).all(|name| name.contains("/licenses/")), "{files:?}");
    Ok(())
}
