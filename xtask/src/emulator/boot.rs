//! One boot of an emulated machine.
//!
//! In: a kernel, a file system with the payload, and what it is told. Out: whether the payload said that it passed; its output
//! goes to the terminal, and whole to `target/kernels/`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::command;

/// What is booted.
pub(crate) struct Machine<'a> {
    /// The kernel's file.
    pub(crate) kernel: &'a Path,
    /// The initial file system.
    pub(crate) image: &'a Path,
    /// What the kernel's command line says beside the usual.
    pub(crate) parameters: &'a str,
    /// Its memory.
    pub(crate) memory_mib: u32,
    /// More of QEMU's arguments.
    pub(crate) emulation: &'a [&'a str],
    /// How long a whole run may take.
    pub(crate) limit_seconds: u32,
}

impl Machine<'_> {
    /// Boots, and again only where the payload was never reached: emulated boots hang before it now and then.
    pub(crate) fn passes(&self) -> anyhow::Result<bool> {
        let logs = command::root().join("target/kernels");
        fs::create_dir_all(&logs)?;
        let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let log = logs.join(format!("{}-{}.log", name(self.image), name(self.kernel)));
        for attempt in 1..=3 {
            let output = self.command().output().context("QEMU could not be started")?;
            let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
            fs::write(&log, &text)?;
            if let Some((_, said)) = text.split_once("PAYLOAD-START\n") {
                let (checks, end) = said.split_once("PAYLOAD-EXIT ").unwrap_or((said, ""));
                println!("{}", checks.trim_end());
                let passed = end.lines().next() == Some("0");
                if !passed {
                    println!("-- the whole console is in {}", log.display());
                }
                return Ok(passed);
            }
            println!("-- boot {attempt} did not reach the payload");
        }
        Ok(false)
    }

    fn command(&self) -> Command {
        let usual = "console=ttyS0 quiet panic=-1 mitigations=off";
        let mut machine = Command::new("timeout");
        machine
            .arg(self.limit_seconds.to_string())
            .args(["qemu-system-x86_64", "-machine", "q35,accel=tcg"])
            // Without cmpxchg16b: QEMU 7.2 faults on it in the allocator of Linux 6.12.
            .args(["-cpu", "max,-cx16", "-smp", "2", "-m", &self.memory_mib.to_string()])
            .args(self.emulation)
            .args(["-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.image)
            .args(["-append", &format!("{usual} {}", self.parameters)])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        machine
    }
}
