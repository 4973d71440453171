//! `unit`: the packaged systemd unit, with systemd as the first process of an emulated Debian.
//!
//! In: names of Debian's releases, or none for all; root, to make them. Out: success when the checks
//! (`tests/unit`) pass on each.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::architecture::Architecture;
use crate::emulator::boot::Machine;
use crate::emulator::fetch::Release;
use crate::emulator::{KERNELS, Role, WITHOUT_CMPXCHG16B, archive, fetch, store};
use crate::{command, dist};

/// What a machine needs: systemd, and a server to watch.
const PACKAGES: [&str; 5] = ["systemd", "systemd-sysv", "dbus", "kmod", "gunicorn"];

/// Where each file of the tree stands in the machine.
const FILES: [(&str, &str); 8] = [
    ("etc/systemd/system/gunicorn.service", "tests/unit/gunicorn.service"),
    ("etc/systemd/system/payload.service", "tests/unit/payload.service"),
    ("opt/checks.py", "tests/unit/checks.py"),
    ("opt/load.py", "tests/clients/load.py"),
    ("opt/demo_app.py", "tests/apps/demo_app.py"),
    ("opt/dropping.py", "tests/apps/dropping.py"),
    ("opt/streams.py", "tests/apps/streams.py"),
    ("opt/witness.py", "tests/apps/witness.py"),
];

/// systemd begins, with the checks; nobody logs in.
const PARAMETERS: &str = "rdinit=/sbin/init systemd.show_status=error systemd.wants=payload.service systemd.mask=serial-getty@ttyS0.service";
/// One CPU alone: Linux 6.1 does not bring up a second one under this clock. Its clock counts its
/// instructions, and does not wait where it waits: no limit of systemd's or of the checks passes because this
/// machine has other things to do.
const CLOCK: [&str; 2] = ["-icount", "shift=1,sleep=off"];
/// A whole run takes a minute or two; on a machine that has other things to do, some times that.
const LIMIT: Duration = Duration::from_secs(1800);

/// Builds the package and what it is installed on, and boots each.
pub(crate) fn run(suites: &[String]) -> anyhow::Result<()> {
    let all: Vec<_> = KERNELS
        .iter()
        .filter(|kernel| kernel.role == Role::OfRelease && kernel.architecture == Architecture::X86_64)
        .collect();
    if let Some(unknown) = suites.iter().find(|name| !all.iter().any(|kernel| kernel.suite == **name)) {
        bail!(
            "no Debian {unknown} here: {}",
            all.iter().map(|kernel| kernel.suite).collect::<Vec<_>>().join(", ")
        );
    }
    fetch::need_emulator(Architecture::X86_64)?;
    let store = store()?;
    let root = command::root();
    let mut files: Vec<(&str, PathBuf)> = FILES.iter().map(|(name, path)| (*name, root.join(path))).collect();
    files.push(("opt/wsgi-trace.deb", dist::package()?));
    let mut failed = Vec::new();
    for kernel in all {
        let suite = kernel.suite;
        if !suites.is_empty() && !suites.iter().any(|wanted| wanted == suite) {
            continue;
        }
        let release = Release { suite, architecture: kernel.architecture };
        let linux = fetch::linux(&store, release, kernel.package)
            .with_context(|| format!("the kernel of {suite} could not be fetched"))?;
        let tree = fetch::system(&store, suite, &PACKAGES)
            .with_context(|| format!("a Debian {suite} could not be made"))?;
        let image = store.join("unit.cpio");
        archive::write(&image, &[&tree, &linux], &files).context("the machine could not be packed")?;
        println!("== Debian {suite}: boots and checks, a minute or two");
        let machine = Machine {
            architecture: kernel.architecture,
            kernel: &fetch::image(&linux)?,
            name: suite,
            image: &image,
            parameters: PARAMETERS,
            cpus: 1,
            memory_mib: 2048,
            processor: WITHOUT_CMPXCHG16B,
            emulation: &CLOCK,
            limit: LIMIT,
        };
        if !machine.run()?.passed {
            failed.push(suite);
        }
    }
    if !failed.is_empty() {
        bail!("failed on Debian {}", failed.join(", "));
    }
    println!("== the unit works on each");
    Ok(())
}
