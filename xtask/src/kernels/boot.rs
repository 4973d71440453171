//! One boot of an emulated machine.
//!
//! In: a kernel, the payload's archive and what it has to see. Out: whether the payload said that it passed; its output
//! goes to the terminal, and whole to `target/kernels/`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::command;

/// Emulation is 5 to 10 times slower than the machine; a whole run takes about ten seconds.
const LIMIT_SECONDS: &str = "120";

/// Boots, and again only where user space was never reached: emulated boots hang before it now and then.
pub(super) fn passes(kernel: &Path, image: &Path, expect: &str) -> anyhow::Result<bool> {
    let logs = command::root().join("target/kernels");
    fs::create_dir_all(&logs)?;
    let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let log = logs.join(format!("{name}.log"));
    for attempt in 1..=3 {
        let output = machine(kernel, image, expect).output().context("QEMU could not be started")?;
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
        println!("-- boot {attempt} did not reach user space");
    }
    Ok(false)
}

fn machine(kernel: &Path, image: &Path, expect: &str) -> Command {
    // Parameters that the kernel does not know become variables of init's environment.
    let environment = format!("EXPECT={expect} WSGI_TRACE_BINARY=/wsgi-trace");
    let mut machine = Command::new("timeout");
    machine
        .args([LIMIT_SECONDS, "qemu-system-x86_64", "-machine", "q35,accel=tcg"])
        // Without cmpxchg16b: QEMU 7.2 faults on it in the allocator of Linux 6.12.
        .args(["-cpu", "max,-cx16", "-smp", "2", "-m", "1024"])
        .args(["-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .args(["-append", &format!("console=ttyS0 quiet panic=-1 mitigations=off {environment}")])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    machine
}
