//! One boot of an emulated machine.
//!
//! In: a kernel, a file system with the payload, and what it is told. Out: whether the payload said that it
//! passed, and its lines; they also go to the terminal as they come, and the whole console to
//! `target/kernels/`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::architecture::Architecture;
use crate::command;

/// What is booted.
pub(crate) struct Machine<'a> {
    /// What is emulated.
    pub(crate) architecture: Architecture,
    /// The kernel's file.
    pub(crate) kernel: &'a Path,
    /// What its log is called, beside the file system's name.
    pub(crate) name: &'a str,
    /// The initial file system.
    pub(crate) image: &'a Path,
    /// What the kernel's command line says beside the usual.
    pub(crate) parameters: &'a str,
    /// How many CPUs it has.
    pub(crate) cpus: u32,
    /// Its memory.
    pub(crate) memory_mib: u32,
    /// QEMU's name of its processor.
    pub(crate) processor: &'a str,
    /// More of QEMU's arguments.
    pub(crate) emulation: &'a [&'a str],
    /// How long a whole run may take.
    pub(crate) limit: Duration,
}

/// How long a boot may take to reach the payload: some ten times what it takes on a busy machine.
const BOOT: Duration = Duration::from_secs(600);
/// The payload's first line.
const START: &str = "PAYLOAD-START";
/// The payload's last line, with its exit status.
const EXIT: &str = "PAYLOAD-EXIT ";
/// How lines begin that are the bytes of a file: no person reads them.
pub(crate) const FILE_PART: &str = "FILE-PART ";

/// What a boot gave.
#[derive(Default)]
pub(crate) struct Run {
    /// The payload said so.
    pub(crate) passed: bool,
    /// What else it said.
    pub(crate) lines: Vec<String>,
}

impl Machine<'_> {
    /// Boots, and again only where the payload was never reached: emulated boots hang before it now and then.
    pub(crate) fn run(&self) -> anyhow::Result<Run> {
        let logs = command::root().join("target/kernels");
        fs::create_dir_all(&logs)?;
        let image = self.image.file_stem().unwrap_or_default().to_string_lossy();
        let log = logs.join(format!("{image}-{}.log", self.name));
        for attempt in 1..=3 {
            if let Some(run) = self.boot(&log)? {
                if !run.passed {
                    println!("-- the whole console is in {}", log.display());
                }
                return Ok(run);
            }
            println!("-- boot {attempt} did not reach the payload: {}", log.display());
        }
        Ok(Run::default())
    }

    /// One boot, its lines as they come; `None` where the payload was not reached.
    fn boot(&self, log: &Path) -> anyhow::Result<Option<Run>> {
        let mut emulator = self.command().spawn().context("QEMU could not be started")?;
        let console = emulator.stdout.take().context("QEMU has no console")?;
        let (sender, lines) = mpsc::channel();
        // Ends with the console.
        thread::spawn(move || {
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).replace('\r', "");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut file = File::create(log)?;
        let (begun, mut is_reached, mut run) = (Instant::now(), false, Run::default());
        loop {
            let limit = if is_reached { self.limit } else { BOOT.min(self.limit) };
            let line = match lines.recv_timeout(limit.saturating_sub(begun.elapsed())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    println!("-- ended after {} s", begun.elapsed().as_secs());
                    emulator.kill()?;
                    break;
                }
            };
            writeln!(file, "{line}")?;
            match line.strip_prefix(EXIT) {
                Some(status) => run.passed = status == "0",
                None if is_reached => {
                    if !line.starts_with(FILE_PART) {
                        println!("{line}");
                    }
                    run.lines.push(line);
                }
                None => is_reached |= line.ends_with(START),
            }
        }
        emulator.wait()?;
        Ok(is_reached.then_some(run))
    }

    fn command(&self) -> Command {
        let usual = self.architecture.parameters();
        let mut machine = Command::new(self.architecture.emulator().0);
        machine
            // One thread for all CPUs. With one each, QEMU 7.2 may execute a breakpoint that another CPU has
            // just replaced. A kernel that switches its tracepoints on or off then panics (Oops:
            // int3).
            .args(["-machine", self.architecture.machine(), "-accel", "tcg,thread=single"])
            .args([
                "-cpu",
                self.processor,
                "-smp",
                &self.cpus.to_string(),
                "-m",
                &self.memory_mib.to_string(),
            ])
            .args(self.emulation)
            .args(["-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.image)
            .args(["-append", &format!("{usual} {}", self.parameters)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        machine
    }
}
