//! `kernels`: the programs on kernels other than this machine's, in emulation.
//!
//! In: names of boots to try, or none for all; whether what is attached is taken as reviewed. Out: success when the payload passes on each kernel that is supported, is
//! refused clearly on the one that is too old, and what was attached is what `tests/kernel/attach` has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::command;
use crate::emulator::boot::{Machine, Run};
use crate::emulator::{KERNELS, Kernel, Role, archive, fetch, store};

const TARGET: &str = "x86_64-unknown-linux-musl";
/// Emulation is 5 to 10 times slower than the machine; a whole run takes one or two minutes.
const LIMIT: Duration = Duration::from_secs(900);
/// Of the Debian whose CPython and gunicorn are in the machine, on every kernel.
const SUITE: &str = "trixie";
/// A CPython, what gunicorn imports, and the libraries of both.
const PACKAGES: [&str; 11] = [
    "python3.13-minimal",
    "libpython3.13-minimal",
    "libpython3.13-stdlib",
    "python3-gunicorn",
    "python3-packaging",
    "libc6",
    "libexpat1",
    "zlib1g",
    "libssl3t64",
    "libzstd1",
    "libffi8",
];
/// What the payload is told of its machine. Parameters that the kernel does not know become variables of init's environment.
const PLACES: &str =
    "WSGI_TRACE_BINARY=/wsgi-trace PYTHON=/usr/bin/python3.13 APP=/opt THIRTY_TWO=/thirty-two";
/// Accepts what is attached: the reviewed files are written.
const UPDATE: &str = "--update";
/// The payload's lines between these are the report of what was attached.
const REPORT: (&str, &str) = ("ATTACH-REPORT", "ATTACH-REPORT-END");

/// One boot.
struct Boot {
    kernel: &'static Kernel,
    /// With `preempt=full`.
    preempts: bool,
}

impl Boot {
    /// Every kernel as it is, and those that can be told to preempt told so.
    fn all() -> Vec<Self> {
        let mut boots = Vec::new();
        for kernel in &KERNELS {
            boots.push(Self { kernel, preempts: false });
            // Debian's kernels can from 6.12 on.
            if kernel.version == "6.12" || kernel.role == Role::Newest {
                boots.push(Self { kernel, preempts: true });
            }
        }
        boots
    }

    fn name(&self) -> String {
        format!("{}{}", self.kernel.version, if self.preempts { "-preempt" } else { "" })
    }

    fn parameters(&self) -> String {
        let expect = if self.kernel.role == Role::TooOld { "refusal" } else { "tracing" };
        let preempt = if self.preempts { "preempt=full PREEMPT=full" } else { "" };
        format!("EXPECT={expect} {PLACES} {preempt}")
    }
}

/// Fetches what is missing, builds the payload without shared libraries, and boots each kernel with it.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (flags, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| **flag != UPDATE) {
        bail!("{unknown} is none of: {UPDATE}");
    }
    let all = Boot::all();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|boot| boot.name() != ***name)) {
        let known: Vec<_> = all.iter().map(Boot::name).collect();
        bail!("no kernel {unknown} in the matrix: {}", known.join(", "));
    }
    fetch::need_emulator()?;
    let store = store()?;
    let image = payload(&store)?;
    let mut failed = Vec::new();
    for boot in all.iter().filter(|boot| names.is_empty() || names.iter().any(|name| **name == boot.name())) {
        let kernel = boot.kernel;
        let file = fetch::kernel(&store, kernel.suite, kernel.package)
            .with_context(|| format!("Linux {} could not be fetched", kernel.version))?;
        println!("== Linux {}: {}", boot.name(), boot.parameters().trim_end());
        let machine = Machine {
            kernel: &file,
            name: &boot.name(),
            image: &image,
            parameters: &boot.parameters(),
            cpus: 2,
            memory_mib: 1024,
            processor: kernel.processor,
            emulation: &[],
            limit: LIMIT,
        };
        let run = machine.run()?;
        if !run.passed || !is_reviewed(&boot.name(), &run, !flags.is_empty())? {
            failed.push(boot.name());
        }
    }
    if !failed.is_empty() {
        bail!("failed on Linux {}", failed.join(", "));
    }
    println!("== all kernels as expected");
    Ok(())
}

/// The file system with the payload, a CPython with gunicorn, and the 32-bit program.
fn payload(store: &Path) -> anyhow::Result<PathBuf> {
    let tree = fetch::files(store, SUITE, &PACKAGES).context("a CPython could not be fetched")?;
    command::run(&mut command::cargo(&[
        "build",
        "--locked",
        "--release",
        "--target",
        TARGET,
        "--package",
        "wsgi-trace-tests",
        "--bin",
        "kernel-smoke",
        "--package",
        "wsgi-trace",
        "--bin",
        "wsgi-trace",
    ]))?;
    let built = command::root().join("target").join(TARGET).join("release");
    let sources = command::root().join("tests/kernel");
    let thirty_two = store.join("thirty-two");
    let mut compile = Command::new("cc");
    compile.args(["-m32", "-Os", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-no-pie"]);
    compile.args(["-nostdlib", "-static", "-o"]).arg(&thirty_two).arg(sources.join("thirty_two.c"));
    command::run(&mut compile).context("the 32-bit program could not be compiled")?;
    let image = store.join("payload.cpio");
    let files = [
        ("init", built.join("kernel-smoke")),
        ("wsgi-trace", built.join("wsgi-trace")),
        ("thirty-two", thirty_two),
        ("opt/app.py", sources.join("app.py")),
    ];
    archive::write(&image, &[&tree], &files).context("the payload could not be packed")?;
    Ok(image)
}

/// Whether what the payload attached is what was reviewed; with `update` it is from now on.
fn is_reviewed(name: &str, run: &Run, update: bool) -> anyhow::Result<bool> {
    let told: String = run
        .lines
        .iter()
        .map(String::as_str)
        .skip_while(|line| *line != REPORT.0)
        .skip(1)
        .take_while(|line| *line != REPORT.1)
        .flat_map(|line| [line, "\n"])
        .collect();
    let directory = command::root().join("tests/kernel/attach");
    let file = directory.join(format!("{name}.txt"));
    if update && !told.is_empty() {
        fs::create_dir_all(&directory)?;
        fs::write(&file, &told)?;
        return Ok(true);
    }
    let reviewed = fs::read_to_string(&file).unwrap_or_default();
    if reviewed == told {
        return Ok(true);
    }
    println!("-- what was attached is not what {} has:", file.display());
    let now = command::root().join("target/kernels").join(format!("{name}.txt"));
    fs::write(&now, &told)?;
    // It fails by what it is for: the two differ.
    let _ = Command::new("diff").arg("-u").arg(&file).arg(&now).status();
    println!("-- where that is right: cargo xtask kernels {name} {UPDATE}");
    Ok(false)
}
