//! Builds the kernel programs for `bpfel-unknown-none` and hands the object to `attach`.
//!
//! In: `profiler-ebpf`; `bpf-linker` in `.tools/bin` or on the PATH; the architecture of the machine that the
//! program is for. Out: `OUT_DIR/probe`. The inner build has its own target directory, `target/bpf`
//! (`target/bpf-aarch64`), shared by all profiles, so that BPF `core` is compiled once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, bail};

/// What to do where the one tool is missing that Rust does not bring.
const NO_LINKER: &str = "\
bpf-linker links the kernel programs and is neither in .tools/bin nor on the PATH.
In this tree, `make setup` installs the right one, linked to the LLVM of the pinned Rust toolchain.
Elsewhere: install bpf-linker as https://github.com/aya-rs/bpf-linker says, at the version in xtask/pins.toml.";

fn main() -> anyhow::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .parent()
        .context("the crate has no parent directory")?
        .to_path_buf();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for input in ["profiler-common", "profiler-ebpf", ".tools/bin/bpf-linker", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    // A directory for each variant, so that none hands its object to another.
    let logs = env::var_os("CARGO_FEATURE_BPF_LOG").is_some();
    let is_empty = env::var_os("CARGO_FEATURE_EMPTY_PROGRAMS").is_some();
    let (directory, features) = match (logs, is_empty) {
        (false, false) => ("target/bpf", &[][..]),
        (true, false) => ("target/bpf-log", &["--features", "log"][..]),
        (false, true) => ("target/bpf-empty", &["--features", "empty"][..]),
        (true, true) => bail!("programs without bodies have nothing to log: choose one of the two features"),
    };
    // The machine's own registers and memory order are built in.
    let machine = env::var("CARGO_CFG_TARGET_ARCH")?;
    let target_directory = match machine.as_str() {
        "x86_64" => root.join(directory),
        "aarch64" => root.join(format!("{directory}-{machine}")),
        other => bail!("the kernel programs are written for x86_64 and aarch64, not for {other}"),
    };
    let tools = root.join(".tools/bin");
    let before = env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::iter::once(tools).chain(env::split_paths(&before)).collect();
    if !places.iter().any(|place| place.join("bpf-linker").is_file()) {
        bail!("{NO_LINKER}");
    }
    let path = env::join_paths(places)?;
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{machine}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    // Types come with names of files: those of any machine's are the same.
    flags.extend(
        source_places(&root).iter().map(|(place, name)| format!("--remap-path-prefix={place}={name}")),
    );
    let mut command = Command::new(env::var_os("CARGO").context("CARGO is not set")?);
    command
        .current_dir(&root)
        .args(["build", "--package", "profiler-ebpf", "--bins", "--release", "--locked"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(&target_directory)
        .args(features)
        .env("PATH", path)
        // -Z build-std on the pinned stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // Their linker puts them together.
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER");
    let output = command.output().context("cargo for the BPF programs could not be started")?;
    if !output.status.success() {
        bail!("the BPF programs do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let object = target_directory.join("bpfel-unknown-none/release/probe");
    fs::copy(&object, out.join("probe")).with_context(|| format!("no object at {}", object.display()))?;
    Ok(())
}

/// Directories of this machine that sources are in, and what to call them.
fn source_places(root: &Path) -> Vec<(String, &'static str)> {
    let mut places = vec![(root.display().to_string(), "wsgi-trace")];
    let home = env::var("CARGO_HOME").ok().or_else(|| Some(format!("{}/.cargo", env::var("HOME").ok()?)));
    places.extend(home.map(|home| (home, "cargo")));
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(compiler).args(["--print", "sysroot"]).output().ok();
    let sysroot = sysroot.and_then(|said| String::from_utf8(said.stdout).ok());
    places.extend(sysroot.map(|sysroot| (sysroot.trim().to_owned(), "rust")));
    places
}
