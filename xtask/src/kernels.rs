//! `kernels`: the programs on kernels other than this machine's, in emulation.
//!
//! In: names of boots to try, or none for all; whether what is attached is taken as reviewed. Out: success
//! when the payload passes on each kernel that is supported, is refused clearly on the one that is too old,
//! what was attached is what `tests/kernel/attach` has, and recordings give the same reports on other
//! architectures.

mod recordings;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::architecture::Architecture;
use crate::command;
use crate::emulator::boot::{Machine, Run};
use crate::emulator::fetch::Release;
use crate::emulator::{KERNELS, Kernel, Role, archive, fetch, store};

/// Emulation is 5 to 10 times slower than the machine; a whole run takes one or two minutes.
const LIMIT: Duration = Duration::from_secs(900);
/// Where emulation has no instructions in common with the machine it takes some times that.
const FOREIGN_LIMIT: Duration = Duration::from_secs(3600);
/// Of the Debian whose CPython and gunicorn are in the machine, on every kernel.
const SUITE: &str = "trixie";
/// A CPython, what gunicorn imports, what starts a program with some capabilities (`setpriv`), and the
/// libraries of all.
const PACKAGES: [&str; 13] = [
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
    "util-linux",
    "libcap-ng0",
];
/// What the payload is told of its machine. Parameters that the kernel does not know become variables of
/// init's environment.
const PLACES: &str = "WSGI_TRACE_BINARY=/wsgi-trace PYTHON=/usr/bin/python3.13 APP=/opt";
/// Where the payload finds recordings of this machine, where the emulated one is of another architecture.
const RECORDINGS: &str = "RECORDINGS=/opt";
/// Where the payload finds the 32-bit program, which there is for `x86_64` alone: its calls are written in
/// machine code.
const THIRTY_TWO: &str = "THIRTY_TWO=/thirty-two";
/// Accepts what is attached: the reviewed files are written.
const UPDATE: &str = "--update";
/// The payload's lines between these are the report of what was attached.
const REPORT: (&str, &str) = ("ATTACH-REPORT", "ATTACH-REPORT-END");

/// What a boot changes of a kernel as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing.
    Nothing,
    /// To preempt itself wherever it can.
    Preempt,
    /// To be locked down at this level. The lockdown module begins before all others, so no `lsm=` has to
    /// name it (`DEFINE_EARLY_LSM`).
    LockDown(&'static str),
    /// To let nobody load programs who has not the capability.
    NoUnprivilegedBpf,
}

/// Modes about what is allowed. Their kernel is the one of Debian's present release.
const ALLOWED: [Told; 3] =
    [Told::LockDown("integrity"), Told::LockDown("confidentiality"), Told::NoUnprivilegedBpf];

/// One boot.
struct Boot {
    kernel: &'static Kernel,
    told: Told,
}

impl Boot {
    /// Every kernel as it is, and those that can be told something told so.
    fn all() -> Vec<Self> {
        let mut boots = Vec::new();
        for kernel in KERNELS.iter() {
            boots.push(Self { kernel, told: Told::Nothing });
            if kernel.architecture != Architecture::X86_64 {
                continue;
            }
            // Debian's kernels can from 6.12 on.
            if kernel.version == "6.12" || kernel.role == Role::Newest {
                boots.push(Self { kernel, told: Told::Preempt });
            }
            if kernel.version == "6.12" {
                boots.extend(ALLOWED.map(|told| Self { kernel, told }));
            }
        }
        boots
    }

    fn name(&self) -> String {
        let told = match self.told {
            Told::Nothing => String::new(),
            Told::Preempt => "-preempt".to_owned(),
            Told::LockDown(level) => format!("-{level}"),
            Told::NoUnprivilegedBpf => "-unprivileged".to_owned(),
        };
        format!("{}{}{told}", self.kernel.architecture.prefix(), self.kernel.version)
    }

    /// Whether it is among these names; without any, each is.
    fn is_wanted(&self, names: &[&String]) -> bool {
        names.is_empty() || names.iter().any(|name| **name == self.name())
    }

    fn parameters(&self) -> String {
        let expect = match (self.kernel.role, self.told) {
            (Role::TooOld, _) => "refusal",
            (_, Told::LockDown(_) | Told::NoUnprivilegedBpf) => "privileges",
            _ => "tracing",
        };
        let told = match self.told {
            Told::Nothing => String::new(),
            Told::Preempt => "preempt=full PREEMPT=full".to_owned(),
            // The kernel takes the one, init gets the other.
            Told::LockDown(level) => format!("lockdown={level} LOCKDOWN={level}"),
            Told::NoUnprivilegedBpf => {
                "sysctl.kernel.unprivileged_bpf_disabled=2 UNPRIVILEGED_BPF=2".to_owned()
            }
        };
        let thirty_two = if self.kernel.architecture == Architecture::X86_64 { THIRTY_TWO } else { "" };
        let recordings = if is_foreign(self.kernel.architecture) { RECORDINGS } else { "" };
        format!("EXPECT={expect} {PLACES} {thirty_two} {recordings} {told}")
    }
}

/// Whether it is not that of this machine.
fn is_foreign(architecture: Architecture) -> bool {
    architecture != Architecture::host()
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
    let store = store()?;
    let mut failed = Vec::new();
    let mut packed: Option<(Architecture, PathBuf)> = None;
    for boot in all.iter().filter(|boot| boot.is_wanted(&names)) {
        let kernel = boot.kernel;
        let architecture = kernel.architecture;
        let image = match &packed {
            Some((of, image)) if *of == architecture => image.clone(),
            _ => {
                fetch::need_emulator(architecture)?;
                payload(&store, architecture)?
            }
        };
        packed = Some((architecture, image.clone()));
        let release = Release { suite: kernel.suite, architecture };
        let file = fetch::kernel(&store, release, kernel.package)
            .with_context(|| format!("Linux {} could not be fetched", boot.name()))?;
        println!("== Linux {}: {}", boot.name(), boot.parameters().trim_end());
        let machine = Machine {
            architecture,
            kernel: &file,
            name: &boot.name(),
            image: &image,
            parameters: &boot.parameters(),
            cpus: 2,
            memory_mib: 1024,
            processor: kernel.processor,
            emulation: &[],
            limit: if architecture == Architecture::X86_64 { LIMIT } else { FOREIGN_LIMIT },
        };
        let run = machine.run()?;
        let is_reviewed = is_reviewed(&boot.name(), &run, !flags.is_empty())?;
        let gives_the_same = !is_foreign(architecture) || recordings::are_the_same(&boot.name(), &run)?;
        if !run.passed || !is_reviewed || !gives_the_same {
            failed.push(boot.name());
        }
    }
    if !failed.is_empty() {
        bail!("failed on Linux {}", failed.join(", "));
    }
    println!("== all kernels as expected");
    Ok(())
}

/// The file system with the payload, a CPython with gunicorn, and where it can be made the 32-bit program.
fn payload(store: &Path, architecture: Architecture) -> anyhow::Result<PathBuf> {
    let target = architecture.target();
    let tree = fetch::files(store, Release { suite: SUITE, architecture }, &PACKAGES)
        .context("a CPython could not be fetched")?;
    command::run(&mut command::cargo(&[
        "build",
        "--locked",
        "--release",
        "--target",
        target,
        "--package",
        command::TESTS,
        "--bin",
        "kernel-smoke",
        "--package",
        "wsgi-trace",
        "--bin",
        "wsgi-trace",
    ]))?;
    let built = command::root().join("target").join(target).join("release");
    let sources = command::root().join("tests/kernel");
    let image = store.join(format!("{}payload.cpio", architecture.prefix()));
    let mut files = vec![
        ("init", built.join("kernel-smoke")),
        ("wsgi-trace", built.join("wsgi-trace")),
        ("opt/app.py", sources.join("app.py")),
    ];
    if architecture == Architecture::X86_64 {
        files.push(("thirty-two", thirty_two(store, &sources)?));
    }
    let taken = if is_foreign(architecture) { recordings::taken()? } else { Vec::new() };
    files.extend(taken.iter().map(|(name, path)| (name.as_str(), path.clone())));
    archive::write(&image, &[&tree], &files).context("the payload could not be packed")?;
    Ok(image)
}

/// The 32-bit program.
fn thirty_two(store: &Path, sources: &Path) -> anyhow::Result<PathBuf> {
    let thirty_two = store.join("thirty-two");
    let mut compile = Command::new("cc");
    compile.args(["-m32", "-Os", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-no-pie"]);
    compile.args(["-nostdlib", "-static", "-o"]).arg(&thirty_two).arg(sources.join("thirty_two.c"));
    command::run(&mut compile).context("the 32-bit program could not be compiled")?;
    Ok(thirty_two)
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
    // `diff` fails as the two differ.
    let _ = Command::new("diff").arg("-u").arg(&file).arg(&now).status();
    println!("-- where that is right: cargo xtask kernels {name} {UPDATE}");
    Ok(false)
}
