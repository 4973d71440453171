//! The packages of `make dist`, each installed as README.md says into a clean place, and run there.
//!
//! In: `target/dist`, the blocks of `sh dist` in README.md. Out: verdicts. `make dist-test` builds the
//! packages and runs these. What the script that installs does with small stand-ins is tested everywhere
//! (`script`).

mod clean_machine;
mod each_architecture;
mod image;
mod installed;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clean_machine::CleanMachine;
use installed::{Installed, succeed};
use wsgi_trace_test_support::{require_bpf, root};

/// Linux's and Debian's name of this machine's architecture: `target/dist` has packages of others too.
const MACHINE: (&str, &str) =
    if cfg!(target_arch = "aarch64") { ("aarch64", "arm64") } else { ("x86_64", "amd64") };

/// The static program of this machine.
fn program() -> PathBuf {
    root().join("target/dist").join(format!("wsgi-trace-{}", MACHINE.0))
}

fn wheel() -> anyhow::Result<PathBuf> {
    package(&format!("_{}.whl", MACHINE.0))
}

fn deb() -> anyhow::Result<PathBuf> {
    package(&format!("_{}.deb", MACHINE.1))
}

/// The one file of `target/dist` that ends like this.
fn package(ending: &str) -> anyhow::Result<PathBuf> {
    let directory = root().join("target/dist");
    let files = fs::read_dir(&directory).with_context(|| format!("{}: make dist", directory.display()))?;
    let mut found =
        files.flatten().map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(ending));
    let package = found.next().with_context(|| format!("no {ending} in {}", directory.display()))?;
    assert!(found.next().is_none(), "more than one {ending}");
    Ok(package)
}

/// The block of `sh dist` in README.md that holds this word.
fn instructions(word: &str) -> anyhow::Result<String> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let mut blocks = readme.split("```sh dist\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains(word));
    Ok(block.with_context(|| format!("README.md does not say how to install with {word}"))?.to_owned())
}

/// A directory where `target/dist` is that of the tree, as it is for a reader of README.md.
fn place() -> anyhow::Result<tempfile::TempDir> {
    let place = tempfile::tempdir()?;
    fs::create_dir(place.path().join("target"))?;
    std::os::unix::fs::symlink(root().join("target/dist"), place.path().join("target/dist"))?;
    Ok(place)
}

fn bash(script: &str, directory: &Path, path: &[&Path]) -> Command {
    let mut command = Command::new("bash");
    let before = std::env::var_os("PATH").unwrap_or_default();
    let places = path.iter().map(|place| place.to_path_buf()).chain(std::env::split_paths(&before));
    command.args(["-euo", "pipefail", "-c", script]).current_dir(directory);
    command.env("PATH", std::env::join_paths(places).unwrap_or(before));
    command
}

#[test]
#[ignore = "make dist-test"]
fn the_program_needs_no_file_of_the_machine() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let empty = tempfile::tempdir()?;
    fs::copy(program(), empty.path().join("wsgi-trace"))?;
    fs::copy(root().join("tests/recordings/gthread-healthy.wtrace"), empty.path().join("r"))?;
    let run = |arguments: &[&str]| {
        succeed(Command::new("chroot").arg(empty.path()).arg("/wsgi-trace").args(arguments))
    };
    assert!(run(&["--version"])?.starts_with("wsgi-trace "));
    assert!(run(&["report", "/r"])?.contains("Findings"));
    Ok(())
}

#[test]
#[ignore = "make dist-test"]
fn the_wheel_installs_into_a_fresh_environment_and_works() -> anyhow::Result<()> {
    let place = place()?;
    let environment = place.path().join("venv");
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    succeed(&mut bash(&instructions("pip install")?, place.path(), &[&environment.join("bin")]))?;
    Installed::program(&environment.join("bin/wsgi-trace")).must_work()?;
    // Any C library will do, and nothing but the program comes with it.
    let name = wheel()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
    assert!(name.contains("py3-none-manylinux") && name.contains("musllinux"), "{name}");
    let packaged = fs::read(environment.join("bin/wsgi-trace"))?;
    assert!(packaged == fs::read(program())?, "another program than target/dist has");
    let pip = ["-m", "pip", "uninstall", "--quiet", "--yes", "wsgi-trace"];
    succeed(Command::new(environment.join("bin/python")).args(pip))?;
    assert!(!environment.join("bin/wsgi-trace").exists());
    Ok(())
}

#[test]
#[ignore = "make dist-test"]
fn each_architecture_has_its_packages_with_their_own_program_and_checksums() -> anyhow::Result<()> {
    let directory = root().join("target/dist");
    succeed(Command::new("sha256sum").current_dir(&directory).args(["--check", "--strict", "SHA256SUMS"]))?;
    let listed = fs::read_to_string(directory.join("SHA256SUMS"))?;
    assert!(listed.lines().any(|line| line.ends_with("  install.sh")), "{listed}");
    // `e_machine`: EM_X86_64, EM_AARCH64.
    for (linux, debian, machine) in [("x86_64", "amd64", 62), ("aarch64", "arm64", 183)] {
        let program = fs::read(directory.join(format!("wsgi-trace-{linux}")))?;
        assert_eq!(program.get(18), Some(&machine), "{linux}");
        let place = tempfile::tempdir()?;
        let (wheel, deb) = (package(&format!("_{linux}.whl"))?, package(&format!("_{debian}.deb"))?);
        let image = package(&format!("-{debian}.oci.tar"))?;
        for file in [&wheel, &deb, &image] {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assert!(listed.lines().any(|line| line.ends_with(&format!("  {name}"))), "no checksum of {name}");
        }
        succeed(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(place.path()))?;
        succeed(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(place.path().join("deb")))?;
        let architecture = succeed(Command::new("dpkg-deb").arg("-f").arg(&deb).arg("Architecture"))?;
        assert_eq!(architecture.trim(), debian);
        let scripts = format!("wsgi_trace-{}.data/scripts/wsgi-trace", env!("CARGO_PKG_VERSION"));
        for packaged in [place.path().join(scripts), place.path().join("deb/usr/bin/wsgi-trace")] {
            assert!(fs::read(&packaged)? == program, "{} is another program", packaged.display());
        }
    }
    Ok(())
}

#[test]
#[ignore = "make dist-test"]
fn the_deb_unpacks_to_a_program_that_works_with_its_pages_and_completions() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    succeed(Command::new("dpkg-deb").arg("-x").arg(deb()?).arg(place.path()))?;
    for file in [
        "usr/share/man/man1/wsgi-trace.1.gz",
        "usr/share/man/man1/wsgi-trace-record.1.gz",
        "usr/share/bash-completion/completions/wsgi-trace",
        "usr/share/zsh/vendor-completions/_wsgi-trace",
        "usr/share/fish/vendor_completions.d/wsgi-trace.fish",
        "usr/lib/systemd/system/wsgi-trace.service",
        "usr/lib/systemd/system/wsgi-trace.socket",
        "usr/share/wsgi-trace/queries/tables-duckdb.sql",
        "usr/share/wsgi-trace/queries/capacity.sql",
        "usr/share/doc/wsgi-trace/copyright",
    ] {
        assert!(place.path().join(file).is_file(), "{file}");
    }
    Installed::program(&place.path().join("usr/bin/wsgi-trace")).must_work()
}

#[test]
#[ignore = "make dist-test"]
fn the_deb_installs_with_dpkg_works_and_leaves_nothing_when_removed() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let machine = CleanMachine::start()?;
    fs::copy(deb()?, machine.shared().join(format!("wsgi-trace_0_{}.deb", MACHINE.1)))?;
    let script =
        instructions("dpkg -i")?.replace("target/dist/", &format!("{}/", machine.shared().display()));
    let script = script.replace("sudo ", "");
    succeed(
        machine
            .command(&["bash", "-euo", "pipefail", "-c", &script])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    Installed::on(&machine).must_work()?;
    let verified = succeed(&mut machine.command(&["dpkg", "--verify", "wsgi-trace"]))?;
    assert!(!verified.contains("/usr/bin"), "{verified}");
    let completed = machine.command(&["bash", "-c", COMPLETE]).output()?;
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "sleeping", "{completed:?}");
    let files = succeed(&mut machine.command(&["dpkg", "-L", "wsgi-trace"]))?;
    succeed(&mut machine.command(&["dpkg", "--purge", "wsgi-trace"]))?;
    for file in files.lines().filter(|file| file.contains("wsgi-trace")) {
        assert!(!machine.command(&["test", "-e", file]).status()?.success(), "{file} is still there");
    }
    Ok(())
}

/// What bash offers after `wsgi-trace report --fail-on sleep`.
const COMPLETE: &str = "source /usr/share/bash-completion/completions/wsgi-trace
COMP_WORDS=(wsgi-trace report --fail-on sleep); COMP_CWORD=3
$(complete -p wsgi-trace | sed 's/.*-F \\([^ ]*\\).*/\\1/') wsgi-trace sleep --fail-on; printf '%s\\n' \"${COMPREPLY[@]}\"";

#[test]
#[ignore = "make dist-test"]
fn cargo_install_works_from_a_clean_clone_and_says_what_is_missing() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let clone = place.path().join("clone");
    succeed(Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(root()).arg(&clone))?;
    let linker = root().join(".tools/bin");
    // Without bpf-linker: refused, with what to do.
    let here = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .find(|place| place.join("bpf-linker").exists());
    if let Some(here) = here {
        bail!("{} has a bpf-linker: the refusal cannot be tried", here.display());
    }
    let script = format!("{} --root '{}'", instructions("cargo install")?.trim(), place.path().display());
    let script = script.replace("make setup\n", "");
    let refused = bash(&script, &clone, &[]).output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("`make setup`"), "{said}");
    succeed(&mut bash(&script, &clone, &[&linker]))?;
    Installed::program(&place.path().join("bin/wsgi-trace")).must_work()
}
