//! `dist`: the packages, under `target/dist`. `dist-test`: each installed into a clean place and run.
//!
//! In: the tree; cargo-deb and maturin, at the versions of `xtask/pins.toml` and `packaging/wheel/pyproject.toml`. Out: the static
//! program, a wheel, a .deb and a container image that hold it, and their sizes.

mod image;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::command;
use crate::pins;

const TARGET: &str = "x86_64-unknown-linux-musl";
const PROFILE: &str = "packaged";
/// Shells and the names of their files.
const SHELLS: [(&str, &str); 3] =
    [("bash", "wsgi-trace.bash"), ("zsh", "_wsgi-trace"), ("fish", "wsgi-trace.fish")];

/// Where packages lie.
fn directory() -> PathBuf {
    command::root().join("target/dist")
}

/// Builds the program and the .deb, which it gives.
pub(crate) fn package() -> anyhow::Result<PathBuf> {
    let directory = directory();
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("{} cannot be emptied", directory.display()))?;
    }
    fs::create_dir_all(&directory)?;
    let program = program(&directory)?;
    describe(&program, &directory)?;
    deb(&directory)
}

/// Builds everything.
pub(crate) fn run() -> anyhow::Result<()> {
    package()?;
    let directory = directory();
    wheel(&directory)?;
    image::write(&directory.join("wsgi-trace"), &directory)?;
    println!("\nPackages in target/dist:");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.is_file());
    files.sort();
    for path in files {
        let megabytes = fs::metadata(&path)?.len() as f64 / 1e6;
        println!("  {megabytes:5.2} MB  {}", path.file_name().unwrap_or_default().to_string_lossy());
    }
    Ok(())
}

/// Builds the program and its container image alone.
pub(crate) fn only_image() -> anyhow::Result<()> {
    let directory = directory();
    fs::create_dir_all(&directory)?;
    let image = image::write(&program(&directory)?, &directory)?;
    println!("{}", image.display());
    Ok(())
}

/// The test program that installs packages.
pub(crate) const PROGRAMS: [&str; 1] = ["packages"];

/// Builds everything, installs it and runs it.
pub(crate) fn test() -> anyhow::Result<()> {
    run()?;
    let mut tests = command::cargo(&["test", "--locked", "--package", "wsgi-trace-tests"]);
    tests.args(PROGRAMS.iter().flat_map(|program| ["--test", program]));
    command::run(tests.args(["--", "--include-ignored", "--test-threads", "1"]))
}

/// The static program.
fn program(directory: &Path) -> anyhow::Result<PathBuf> {
    let arguments =
        ["build", "--locked", "--package", "wsgi-trace", "--profile", PROFILE, "--target", TARGET];
    command::run(&mut command::cargo(&arguments))?;
    let program = directory.join("wsgi-trace");
    let built = command::root().join("target").join(TARGET).join(PROFILE).join("wsgi-trace");
    fs::copy(&built, &program).with_context(|| format!("{} is not there", built.display()))?;
    Ok(program)
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

fn wheel(directory: &Path) -> anyhow::Result<()> {
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
    maturin.current_dir(root.join("packaging/wheel")).args(["build", "--quiet", "--target", TARGET]);
    // A static program runs with any C library.
    maturin.args(["--compatibility", "manylinux2014", "musllinux_1_1", "--out"]);
    command::run(maturin.arg(directory))
}

fn deb(directory: &Path) -> anyhow::Result<PathBuf> {
    let cargo_deb = pins::tool("cargo-deb")?;
    let mut build = Command::new(cargo_deb);
    build.current_dir(command::root()).args([
        "--package",
        "wsgi-trace",
        "--profile",
        PROFILE,
        "--target",
        TARGET,
    ]);
    // The program is built; cargo-deb finds it where cargo left it.
    build.args(["--no-build", "--quiet", "--locked", "--output"]).arg(directory);
    command::run(&mut build)?;
    let mut files = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|end| end == "deb")).context("cargo-deb wrote no package")
}
