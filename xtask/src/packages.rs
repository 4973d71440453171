//! Programs that Debian's packages bring.
//!
//! In: programs and the packages that have them. Out: they are there: installed where they were missing and
//! we are root, otherwise an error that says what to run.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::command;

/// The programs that must be there, installed as root or named in one line.
pub(crate) fn need(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let there = |program: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
    };
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !there("apt-get") {
        bail!("missing: {}", missing.join(" "));
    }
    if !is_root() {
        bail!(
            "missing: run  sudo apt-get install --no-install-recommends {}  and then this command again",
            missing.join(" ")
        );
    }
    eprintln!("installing {}", missing.join(" "));
    command::run(Command::new("apt-get").args(["-qq", "update"]))?;
    command::run(
        Command::new("apt-get")
            .args(["-qq", "install", "-y", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::process::Stdio::null()),
    )
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}
