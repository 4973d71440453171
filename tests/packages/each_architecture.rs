//! What can be known of each architecture's packages without a machine of it: what they say of themselves, what installs them, what is in them.
//! The program of arm64 runs in emulation of user space, which has no BPF.
//!
//! In: `target/dist`, pip, dpkg, QEMU. Out: verdicts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_tests::{gate, require_bpf, root};

use crate::clean_machine::CleanMachine;
use crate::installed::succeed;
use crate::package;

/// Linux's and Debian's names.
const ARCHITECTURES: [(&str, &str); 2] = [("x86_64", "amd64"), ("aarch64", "arm64")];
/// QEMU's emulation of a user space of arm64, where Debian has it.
const EMULATOR: &str = "/usr/bin/qemu-aarch64-static";

fn program(linux: &str) -> PathBuf {
    root().join("target/dist").join(format!("wsgi-trace-{linux}"))
}

#[test]
#[ignore = "make dist-test"]
fn each_program_is_static() -> anyhow::Result<()> {
    for (linux, _) in ARCHITECTURES {
        let headers = succeed(
            Command::new("readelf")
                .args(["--program-headers", "--dynamic", "--wide"])
                .arg(program(linux))
                .env("LC_ALL", "C"),
        )?;
        assert!(headers.contains("LOAD"), "{headers}");
        assert!(!headers.contains("INTERP") && !headers.contains("(NEEDED)"), "{linux}: {headers}");
    }
    Ok(())
}

#[test]
#[ignore = "make dist-test"]
fn pip_takes_each_wheel_for_the_platforms_of_its_architecture_and_for_no_other() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let environment = place.path().join("venv");
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let install = |wheel: &Path, platform: &str, to: &Path| {
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-index",
            "--no-deps",
        ]);
        pip.args(["--only-binary=:all:", "--platform", platform, "--target"]).arg(to).arg(wheel);
        pip
    };
    for (linux, _) in ARCHITECTURES {
        let wheel = package(&format!("_{linux}.whl"))?;
        for (of, _) in ARCHITECTURES {
            for libc in ["manylinux2014", "musllinux_1_1"] {
                let to = place.path().join(format!("{linux}-{of}-{libc}"));
                let mut pip = install(&wheel, &format!("{libc}_{of}"), &to);
                if of == linux {
                    succeed(&mut pip)?;
                    let installed = fs::read(to.join("bin/wsgi-trace"))?;
                    assert!(installed == fs::read(program(linux))?, "{linux}: another program");
                } else {
                    let refused = pip.output()?;
                    let said = String::from_utf8_lossy(&refused.stderr);
                    assert!(said.contains("not a supported wheel"), "{linux} on {of}: {refused:?}");
                }
            }
        }
    }
    Ok(())
}

/// The files of a .deb, as `dpkg-deb` lists them.
fn files(deb: &Path) -> anyhow::Result<BTreeSet<String>> {
    let listed = succeed(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    // Mode, owner, bytes, date, time, name.
    Ok(listed.lines().filter_map(|line| line.split_whitespace().nth(5)).map(str::to_owned).collect())
}

#[test]
#[ignore = "make dist-test"]
fn dpkg_installs_each_deb_under_its_architecture_with_the_same_files_and_removes_it_whole()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let machine = CleanMachine::start()?;
    let run = |words: &[&str]| succeed(machine.command(words).env("DEBIAN_FRONTEND", "noninteractive"));
    let mut lists = Vec::new();
    for (_, debian) in ARCHITECTURES {
        let deb = package(&format!("_{debian}.deb"))?;
        assert_eq!(
            succeed(Command::new("dpkg-deb").arg("--field").arg(&deb).arg("Depends"))?,
            "",
            "{debian}"
        );
        lists.push(files(&deb)?);
        let copy = machine.shared().join(format!("wsgi-trace_0_{debian}.deb"));
        fs::copy(&deb, &copy)?;
        run(&["dpkg", "--add-architecture", debian])?;
        run(&["dpkg", "--install", &copy.display().to_string()])?;
        let name = format!("wsgi-trace:{debian}");
        let state = run(&["dpkg-query", "--show", "--showformat=${Architecture} ${Status}", &name])?;
        assert_eq!(state, format!("{debian} install ok installed"));
        assert_eq!(run(&["dpkg", "--verify", &name])?, "", "what is installed is not what the package has");
        run(&["dpkg", "--purge", &name])?;
        assert!(!machine.command(&["test", "-e", "/usr/bin/wsgi-trace"]).status()?.success(), "{debian}");
    }
    assert!(lists.iter().all(|list| list.contains("./usr/bin/wsgi-trace")), "{lists:?}");
    assert!(lists.windows(2).all(|two| two.first() == two.last()), "{lists:?}");
    Ok(())
}

#[test]
#[ignore = "make dist-test"]
fn each_image_names_its_architecture_and_holds_its_program() -> anyhow::Result<()> {
    for (linux, debian) in ARCHITECTURES {
        let place = tempfile::tempdir()?;
        let image = package(&format!("-{debian}.oci.tar"))?;
        succeed(Command::new("tar").arg("--extract").arg("--file").arg(&image).arg("-C").arg(place.path()))?;
        let read = |path: PathBuf| -> anyhow::Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
        let blob = |named: &Value| -> anyhow::Result<PathBuf> {
            let digest = named["digest"].as_str().context("no digest")?.replace(':', "/");
            Ok(place.path().join("blobs").join(digest))
        };
        let index = read(place.path().join("index.json"))?;
        let manifest = read(blob(&index["manifests"][0])?)?;
        let config = read(blob(&manifest["config"])?)?;
        assert_eq!((&config["architecture"], &config["os"]), (&debian.into(), &"linux".into()), "{config}");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"], "{config}");
        let files = place.path().join("files");
        fs::create_dir(&files)?;
        let layer = blob(&manifest["layers"][0])?;
        succeed(Command::new("tar").arg("--extract").arg("--file").arg(layer).arg("-C").arg(&files))?;
        assert!(fs::read(files.join("usr/bin/wsgi-trace"))? == fs::read(program(linux))?, "{linux}");
    }
    Ok(())
}

/// The same words by the program of arm64 as by this machine's, for whatever needs no kernel program.
#[test]
#[ignore = "make dist-test"]
fn program_of_arm64_says_in_emulation_what_this_machine_s_says() -> anyhow::Result<()> {
    if !Path::new(EMULATOR).exists() {
        gate::note_skip(&format!("{EMULATOR} is missing (qemu-user-static)"));
        return Ok(());
    }
    let said = |command: &mut Command, arguments: &[&str]| {
        succeed(command.args(arguments).env("LC_ALL", "C.UTF-8").env("COLUMNS", "100"))
    };
    let same = |arguments: &[&str]| -> anyhow::Result<()> {
        let theirs = said(Command::new(EMULATOR).arg(program("aarch64")), arguments)?;
        let ours = said(&mut Command::new(program(crate::MACHINE.0)), arguments)?;
        assert!(!ours.is_empty() && theirs == ours, "{arguments:?}: {theirs}\nand not\n{ours}");
        Ok(())
    };
    for arguments in
        [&["--version"][..], &["--help"], &["explain", "herd"], &["man"], &["completions", "bash"]]
    {
        same(arguments)?;
    }
    let mut compared = 0;
    for entry in fs::read_dir(root().join("tests/recordings"))?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "wtrace") {
            for form in ["text", "json"] {
                same(&["report", &entry.path().display().to_string(), "--format", form])?;
            }
            compared += 1;
        }
    }
    assert!(compared > 10, "only {compared} recordings");
    Ok(())
}
