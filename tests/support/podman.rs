//! podman, and its `run` on the machine's own root file system.
//!
//! In: a directory for what podman keeps. Out: a command, to which options, [`ROOT`] and the program are
//! added.

use std::path::Path;
use std::process::Command;

/// Says what the container's root file system is: this machine's, and what it writes goes with it.
pub const ROOT: [&str; 2] = ["--rootfs", "/:O"];

/// A container ends by itself after so many seconds, whatever becomes of the test.
const LIMIT: &str = "--timeout=120";

/// crun refuses machines that mount both versions of control groups: it gets to see the first alone, in
/// mounts of its own. The program goes by its path: a test has a `podman` of its own in front, which comes
/// here.
const WITHOUT_THE_SECOND_VERSION: &str = r#"
set -e
if mountpoint --quiet /sys/fs/cgroup/unified; then
    mkdir --parents "$0"
    mount -t tmpfs tmpfs "$0"
    findmnt --noheadings --list --types cgroup --output TARGET | while read -r mounted; do
        mkdir "$0/${mounted##*/}"
        mount --bind "$mounted" "$0/${mounted##*/}"
    done
    mount --rbind "$0" /sys/fs/cgroup
fi
exec /usr/bin/podman "$@""#;

/// Whether podman is there; a test that needs it says so and ends otherwise.
pub fn is_installed() -> bool {
    crate::gate::is_installed("/usr/bin/podman", "podman")
}

/// Ends a test early where podman is missing.
#[macro_export]
macro_rules! require_podman {
    ($value:expr) => {
        if !$crate::podman::is_installed() {
            return $value;
        }
    };
}

/// `podman run` with the machine's network.
pub fn run(directory: &Path) -> Command {
    let mut command = run_alone(directory);
    command.arg("--network=host");
    command
}

/// `podman`, with what it keeps in this directory; a subcommand is added.
pub fn podman(directory: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITHOUT_THE_SECOND_VERSION]);
    command.arg(directory.join("control-groups"));
    command.arg("--root").arg(directory.join("podman")).arg("--runroot").arg(directory.join("podman-run"));
    command.args(["--cgroup-manager=cgroupfs", "--events-backend=none", "--log-level=error"]);
    command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
    command
}

/// `podman run` with limits that an ordinary process has.
pub fn run_alone(directory: &Path) -> Command {
    let mut command = podman(directory);
    command.args(["run", "--rm", LIMIT, "--log-driver=none"]);
    command.args(["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]);
    // The tree may be on a file system of its own, which the container does not see otherwise.
    let project = crate::root();
    command.arg("--volume").arg(format!("{0}:{0}:ro", project.display()));
    command
}
