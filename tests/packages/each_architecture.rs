//! What can be known of each architecture's packages without a machine of it: what they say of themselves,
//! what installs them, what is in them. The program of arm64 runs in emulation of user space, which has no
//! BPF.
//!
//! In: `target/dist`, pip, dpkg, QEMU. Out: verdicts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_test_support::{gate, require_bpf, root};

use crate::clean_machine::CleanMachine;
use crate::installed::succeed;
use crate::package;

/// Linux's and Debian's names.
const ARCHITECTURES: [(&str, &str); 2] = [("x86_64", "amd64"), ("aarch64", "arm64")];
/// QEMU's emulation of a user space of arm64, as Debian calls it (12; 13).
const EMULATORS: [&str; 2] = ["qemu-aarch64-static", "qemu-aarch64"];

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

/// What is the same wherever it was built names no place of its building.
#[test]
#[ignore = "make dist-test"]
fn nothing_in_a_package_names_the_directory_it_was_built_in() -> anyhow::Result<()> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no home")?;
    for (linux, debian) in ARCHITECTURES {
        let place = tempfile::tempdir()?;
        let (wheel, deb) = (package(&format!("_{linux}.whl"))?, package(&format!("_{debian}.deb"))?);
        succeed(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(place.path()))?;
        succeed(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(place.path().join("deb")))?;
        let image = package(&format!("-{debian}.oci.tar"))?;
        std::os::unix::fs::symlink(image, place.path().join("image"))?;
        for built_in in [&root(), &home] {
            let mut search = Command::new("grep");
            search.args(["--dereference-recursive", "--files-with-matches", "--fixed-strings"]);
            let found = search.arg(built_in).arg(place.path()).output()?;
            let named = String::from_utf8_lossy(&found.stdout);
            assert!(found.status.code() == Some(1), "{linux}: {} stands in {named}", built_in.display());
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
        let needs = succeed(Command::new("dpkg-deb").arg("--field").arg(&deb).arg("Depends"))?;
        assert_eq!(needs.trim(), "", "{debian}");
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
fn each_rpm_is_sound_needs_nothing_and_holds_its_program_and_the_same_files() -> anyhow::Result<()> {
    let mut lists = Vec::new();
    for (linux, _) in ARCHITECTURES {
        let (rpm, place) = (package(&format!(".{linux}.rpm"))?, tempfile::tempdir()?);
        let ask =
            |what: &[&str]| succeed(Command::new("rpm").args(["--query", "--package"]).args(what).arg(&rpm));
        succeed(Command::new("rpmkeys").args(["--checksig", "--nosignature"]).arg(&rpm))?;
        // What rpm itself can do.
        let needs = ask(&["--requires"])?;
        assert!(needs.lines().all(|line| line.starts_with("rpmlib(")), "{linux}: {needs}");
        assert_eq!(ask(&["--queryformat", "%{ARCH} %{NAME}"])?, format!("{linux} wsgi-trace"));
        lists.push(ask(&["--list"])?);
        let unpack = r#"rpm2cpio "$1" | cpio --quiet --extract --make-directories --directory "$2""#;
        succeed(
            Command::new("bash").args(["-euo", "pipefail", "-c", unpack, "bash"]).arg(&rpm).arg(place.path()),
        )?;
        let unpacked = place.path().join("usr/bin/wsgi-trace");
        assert!(fs::read(unpacked)? == fs::read(program(linux))?, "{linux}: another program");
    }
    for wanted in ["/usr/lib/systemd/system/wsgi-trace.service", "/usr/share/licenses/wsgi-trace/LICENSE-MIT"]
    {
        assert!(lists.iter().all(|list| list.contains(wanted)), "{wanted}: {lists:?}");
    }
    assert!(lists.windows(2).all(|two| two.first() == two.last()), "{lists:?}");
    Ok(())
}

/// Crates are those of the lock file, each with a licence; those of kernel programs have a list of their own.
#[test]
#[ignore = "make dist-test"]
fn each_list_of_parts_names_crates_of_the_lock_file_with_their_licences() -> anyhow::Result<()> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    for (linux, _) in ARCHITECTURES {
        let list = |name: String| -> anyhow::Result<Vec<Value>> {
            let list: Value = serde_json::from_slice(&fs::read(package(&name)?)?)?;
            assert_eq!(list["bomFormat"], "CycloneDX");
            Ok(list["components"].as_array().context("no parts")?.clone())
        };
        let parts = list(format!("-{linux}.cdx.json"))?;
        let kernel = list(format!("-{linux}-kernel.cdx.json"))?;
        let has = |parts: &[Value], name: &str| parts.iter().any(|part| part["name"] == name);
        assert!(parts.len() > 100 && has(&parts, "aya") && has(&parts, "profiler-core"), "{}", parts.len());
        assert!(!has(&parts, "insta") && !has(&parts, "proptest"), "{linux}: what only tests need");
        assert!(has(&kernel, "aya-ebpf") && has(&kernel, "profiler-common"), "{linux}: {kernel:?}");
        for part in parts.iter().chain(&kernel) {
            let (name, version) = (part["name"].as_str(), part["version"].as_str());
            let (name, version) = (name.context("no name")?, version.context("no version")?);
            let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(lock.contains(&locked), "{linux}: {name} {version}");
            assert!(part["licenses"].as_array().is_some_and(|of| !of.is_empty()), "{linux}: {name}");
        }
    }
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
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut emulators = EMULATORS.iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    let Some(emulator) = emulators.find(|emulator| emulator.is_file()) else {
        gate::note_skip("needs qemu-user-static, which `make dist-test` installs");
        return Ok(());
    };
    // Its help has the name by which it is called.
    let place = tempfile::tempdir()?;
    let named = |linux: &str| -> anyhow::Result<PathBuf> {
        let copy = place.path().join(linux).join("wsgi-trace");
        fs::create_dir_all(place.path().join(linux))?;
        fs::copy(program(linux), &copy)?;
        Ok(copy)
    };
    let (theirs, ours) = (named("aarch64")?, named(crate::MACHINE.0)?);
    let said = |command: &mut Command, arguments: &[&str]| {
        succeed(command.args(arguments).env("LC_ALL", "C.UTF-8").env("COLUMNS", "100"))
    };
    let same = |arguments: &[&str]| -> anyhow::Result<()> {
        let theirs = said(Command::new(&emulator).arg(&theirs), arguments)?;
        let ours = said(&mut Command::new(&ours), arguments)?;
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
