//! `dist`: the packages, under `target/dist`. `dist-test`: each installed into a clean place and run.
//!
//! In: the tree; cargo-deb, cargo-generate-rpm, cargo-cyclonedx and maturin, at the versions of
//! `xtask/pins.toml` and `packaging/wheel/pyproject.toml`; a key to sign with, if there is one. Out: for each
//! architecture the static program, a wheel, a .deb, an .rpm and a container image that hold it; the script
//! that installs the program; the list of parts; sizes, checksums and their signature.

mod image;
mod parts;
mod program;
mod signature;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::architecture::Architecture;
use crate::command;
use crate::packages;
use crate::pins;
use program::{Build, PROFILE};

/// Shells and the names of their files.
const SHELLS: [(&str, &str); 3] =
    [("bash", "wsgi-trace.bash"), ("zsh", "_wsgi-trace"), ("fish", "wsgi-trace.fish")];
/// As `sha256sum --check` reads them.
const CHECKSUMS: &str = "SHA256SUMS";
/// What installs the static program from where these files are.
const SCRIPT: &str = "install.sh";
/// Builds once more, from nothing, and compares.
const TWICE: &str = "--twice";

/// Where packages lie.
fn directory() -> PathBuf {
    command::root().join("target/dist")
}

/// Builds this machine's program and the .deb, which it gives.
pub(crate) fn package() -> anyhow::Result<PathBuf> {
    let (directory, build) = (empty()?, Build::usual()?);
    describe(&build.program(Architecture::host(), &directory)?, &directory)?;
    deb(&build, Architecture::host(), &directory)
}

/// Builds everything, for all architectures or those that are named and this machine's.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (flags, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| **flag != TWICE) {
        bail!("{unknown} is none of: {TWICE}");
    }
    let known = Architecture::ALL.map(Architecture::linux);
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no packages are made for {unknown}; these are: {}", known.join(", "));
    }
    // This machine's comes first: it prints the manual pages.
    let others = Architecture::ALL.into_iter().filter(|architecture| *architecture != Architecture::host());
    let wanted = others.filter(|other| names.is_empty() || names.iter().any(|name| *name == other.linux()));
    let wanted: Vec<Architecture> = std::iter::once(Architecture::host()).chain(wanted).collect();
    let first = all(&Build::usual()?, &wanted)?;
    if !flags.is_empty() {
        let again = all(&Build::again()?, &wanted)?;
        if first != again {
            bail!("the second build gave other files:\n{again}after\n{first}");
        }
        println!("\nTwo builds gave the same files.");
    }
    Ok(())
}

/// Builds everything; its checksums.
fn all(build: &Build, wanted: &[Architecture]) -> anyhow::Result<String> {
    let directory = empty()?;
    for architecture in wanted {
        let program = build.program(*architecture, &directory)?;
        if *architecture == Architecture::host() {
            describe(&program, &directory)?;
        }
        deb(build, *architecture, &directory)?;
        rpm(build, *architecture, &directory)?;
        parts::write(build, *architecture, &directory)?;
        wheel(build, *architecture, &directory)?;
        image::write(&program, *architecture, &directory)?;
    }
    fs::copy(command::root().join("packaging").join(SCRIPT), directory.join(SCRIPT))
        .with_context(|| format!("packaging/{SCRIPT} is not there"))?;
    println!("\nPackages in target/dist:");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.is_file());
    files.sort();
    let mut checksums = String::new();
    for path in files {
        let (content, name) = (fs::read(&path)?, path.file_name().unwrap_or_default().to_string_lossy());
        println!("  {:5.2} MB  {name}", content.len() as f64 / 1e6);
        checksums.push_str(&format!("{:x}  {name}\n", Sha256::digest(&content)));
    }
    fs::write(directory.join(CHECKSUMS), &checksums)?;
    println!("Their checksums are in target/dist/{CHECKSUMS}.");
    signature::sign(&directory.join(CHECKSUMS))?;
    Ok(checksums)
}

/// The directory, without what was in it.
fn empty() -> anyhow::Result<PathBuf> {
    let directory = directory();
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("{} cannot be emptied", directory.display()))?;
    }
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Builds this machine's program and its container image alone.
pub(crate) fn only_image() -> anyhow::Result<()> {
    let (directory, host) = (directory(), Architecture::host());
    fs::create_dir_all(&directory)?;
    let image = image::write(&Build::usual()?.program(host, &directory)?, host, &directory)?;
    println!("{}", image.display());
    Ok(())
}

/// The test program that installs packages.
pub(crate) const PROGRAMS: [&str; 1] = ["packages"];

/// Builds everything, installs what is this machine's and runs it.
pub(crate) fn test() -> anyhow::Result<()> {
    if Architecture::host() != Architecture::Arm64 {
        // Its program runs as well, in emulation of user space.
        packages::need(&[("qemu-aarch64-static", "qemu-user-static")])?;
    }
    packages::need(&[("rpm", "rpm"), ("rpm2cpio", "rpm2cpio"), ("cpio", "cpio")])?;
    run(&[])?;
    let mut tests = command::cargo(&command::TEST);
    tests.args(PROGRAMS.iter().flat_map(|program| ["--test", program]));
    command::run(tests.args(["--", "--include-ignored", "--test-threads", "1"]))
}

/// Manual pages and completions, by the program itself.
fn describe(program: &Path, directory: &Path) -> anyhow::Result<()> {
    let pages = directory.join("man");
    fs::create_dir(&pages)?;
    command::run(Command::new(program).args(["man", "--directory"]).arg(&pages))?;
    let completions = directory.join("completions");
    fs::create_dir(&completions)?;
    for (shell, name) in SHELLS {
        fs::write(
            completions.join(name),
            command::output(Command::new(program).args(["completions", shell]))?,
        )?;
    }
    Ok(())
}

fn wheel(build: &Build, architecture: Architecture, directory: &Path) -> anyhow::Result<()> {
    let root = command::root();
    let manifest = root.join("packaging/wheel/pyproject.toml");
    let text = fs::read_to_string(&manifest)?;
    let wanted = text
        .split('"')
        .find(|word| word.starts_with("maturin=="))
        .context("pyproject.toml pins no maturin")?;
    let environment = root.join(".tools/venvdist");
    let stamp = environment.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        eprintln!("[dist] {wanted} is there");
    } else {
        command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted];
        command::run(Command::new(environment.join("bin/python")).args(install))?;
        fs::write(&stamp, wanted)?;
    }
    let mut maturin = Command::new(environment.join("bin/maturin"));
    maturin.current_dir(root.join("packaging/wheel"));
    maturin.args(["build", "--quiet", "--target", architecture.target()]);
    // A static program runs with any C library.
    maturin.args(["--compatibility", "manylinux2014", "musllinux_1_1", "--out"]);
    command::run(build.with(maturin.arg(directory)))
}

fn deb(build: &Build, architecture: Architecture, directory: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo_deb = Command::new(pins::tool("cargo-deb")?);
    cargo_deb.current_dir(command::root()).args([
        "--package",
        "wsgi-trace",
        "--profile",
        PROFILE,
        "--target",
        architecture.target(),
    ]);
    // The program is built, without symbols; cargo-deb finds it where cargo left it.
    cargo_deb.args(["--no-build", "--no-strip", "--quiet", "--locked", "--output"]).arg(directory);
    command::run(build.with(&mut cargo_deb))?;
    let mut files = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    let ending = format!("_{}.deb", architecture.debian());
    files.find(|path| path.to_string_lossy().ends_with(&ending)).context("cargo-deb wrote no package")
}

fn rpm(build: &Build, architecture: Architecture, directory: &Path) -> anyhow::Result<()> {
    let mut rpm = Command::new(pins::tool("cargo-generate-rpm")?);
    rpm.current_dir(command::root().join("profiler"));
    // The program is built, without symbols.
    rpm.args(["generate-rpm", "--profile", PROFILE, "--target", architecture.target()]);
    // Compressed by this program alone: another version of a library would give other bytes.
    rpm.args(["--payload-compress", "gzip", "--output"]).arg(directory);
    command::run(build.with(&mut rpm))
}
