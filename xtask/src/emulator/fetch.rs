//! Kernels and whole systems from Debian, by the mirror that this machine uses already.
//!
//! In: a release's name, an architecture, and names of packages. Out: `.kernels/vmlinuz-SUITE`,
//! `.kernels/linux-SUITE`, `.kernels/debian-SUITE`, `.kernels/files-SUITE`, with `arm64-` before the suite
//! where it is of that. apt's own state is not touched: each download has a private one, with Debian's
//! keyring.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::architecture::Architecture;
use crate::command;

use crate::packages::{is_root, need};

/// QEMU, kept out of `make setup`: only chores that emulate need it.
pub(crate) fn need_emulator(architecture: Architecture) -> anyhow::Result<()> {
    need(&[architecture.emulator()])
}

/// One of Debian's releases, for one architecture.
#[derive(Clone, Copy)]
pub(crate) struct Release {
    /// Its name.
    pub(crate) suite: &'static str,
    /// What it runs on.
    pub(crate) architecture: Architecture,
}

impl Release {
    /// For names of files.
    fn name(self) -> String {
        format!("{}{}", self.architecture.prefix(), self.suite)
    }
}

/// The kernel's file, downloaded once.
pub(crate) fn kernel(store: &Path, release: Release, pattern: &str) -> anyhow::Result<PathBuf> {
    let name = release.name();
    let file = store.join(format!("vmlinuz-{name}"));
    if file.exists() {
        return Ok(file);
    }
    let state = unpack(store, release, pattern)?;
    // In two steps, so that an interrupted copy is not taken for the kernel.
    let partial = store.join(format!("partial-{name}"));
    fs::copy(image(&state.join("content"))?, &partial)?;
    fs::rename(&partial, &file)?;
    fs::remove_dir_all(&state)?;
    Ok(file)
}

/// The directory of the kernel's whole package, as a tree whose modules can be loaded; made once.
pub(crate) fn linux(store: &Path, release: Release, pattern: &str) -> anyhow::Result<PathBuf> {
    let tree = store.join(format!("linux-{}", release.name()));
    if tree.exists() {
        return Ok(tree);
    }
    need(&[("depmod", "kmod")])?;
    let state = unpack(store, release, pattern)?;
    let content = state.join("content");
    // Where Debian has /lib now; older packages have it beside /usr.
    fs::create_dir_all(content.join("usr/lib"))?;
    if content.join("lib/modules").exists() {
        fs::rename(content.join("lib/modules"), content.join("usr/lib/modules"))?;
        fs::remove_dir_all(content.join("lib"))?;
    }
    std::os::unix::fs::symlink("usr/lib", content.join("lib"))?;
    let file = image(&content)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let version = name.strip_prefix("vmlinuz-").context("a kernel without a version")?;
    command::run(Command::new("depmod").arg("-b").arg(&content).arg(version))?;
    fs::rename(&content, &tree)?;
    fs::remove_dir_all(&state)?;
    Ok(tree)
}

/// The kernel's file in its package: in /boot, or (since 7.x) beside its modules.
pub(crate) fn image(tree: &Path) -> anyhow::Result<PathBuf> {
    if tree.join("boot").exists() {
        return only(&tree.join("boot"), |name| {
            name.starts_with("vmlinuz") && (name.ends_with("-amd64") || name.ends_with("-arm64"))
        });
    }
    Ok(only(&tree.join("usr/lib/modules"), |_| true)?.join("vmlinuz"))
}

/// Downloads a kernel's package; its files are in `content` of the directory that this gives.
fn unpack(store: &Path, release: Release, pattern: &str) -> anyhow::Result<PathBuf> {
    eprintln!("fetching the kernel of {}", release.name());
    let apt = Apt::new(store, release)?;
    let names = command::output(apt.command("apt-cache").args(["pkgnames", "linux-"]))?;
    apt.unpack(&[&newest(&names, pattern)?])?;
    Ok(apt.state)
}

/// The directory with the files of these packages, and of no others; made once. Nothing of theirs is run, so
/// it may be of any release.
pub(crate) fn files(store: &Path, release: Release, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let name = release.name();
    let tree = store.join(format!("files-{name}"));
    // Another list makes it again.
    let (stamp, wanted) = (store.join(format!("files-{name}.list")), packages.join("\n"));
    if tree.exists() && fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(tree);
    }
    eprintln!("fetching {} packages of {name}", packages.len());
    let apt = Apt::new(store, release)?;
    apt.unpack(packages)?;
    let content = apt.state.join("content");
    // Where Debian's programs look for these; the package of them does nothing else.
    for (name, to) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        if !content.join(name).exists() {
            std::os::unix::fs::symlink(to, content.join(name))?;
        }
    }
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::rename(&content, &tree)?;
    fs::write(&stamp, wanted)?;
    fs::remove_dir_all(&apt.state)?;
    Ok(tree)
}

/// apt with a state of its own.
struct Apt {
    /// Its directory.
    state: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// With the lists of this release.
    fn new(store: &Path, release: Release) -> anyhow::Result<Self> {
        need(&[("apt-get", "apt"), ("dpkg-deb", "dpkg")])?;
        let state = store.join(format!("apt-{}", release.name()));
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        for directory in ["etc", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.join(directory))?;
        }
        fs::write(state.join("status"), "")?;
        let sources = state.join("etc/packages.sources");
        let text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {}\n",
            mirror()?,
            release.suite,
            keyring()?.display()
        );
        fs::write(&sources, text)?;
        let options = vec![
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", state.join("lists").display()),
            format!("Dir::Cache={}", state.join("cache").display()),
            format!("Dir::State::status={}", state.join("status").display()),
            "APT::Sandbox::User=root".to_owned(),
            format!("APT::Architecture={}", release.architecture.debian()),
            format!("APT::Architectures={}", release.architecture.debian()),
            "Acquire::Languages=none".to_owned(),
        ];
        let apt = Self { state, options };
        command::run(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.state);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    /// Downloads packages and puts their files into `content`.
    fn unpack(&self, packages: &[&str]) -> anyhow::Result<()> {
        command::run(self.command("apt-get").args(["-qq", "download"]).args(packages))?;
        for entry in fs::read_dir(&self.state)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                command::run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(self.state.join("content")))?;
            }
        }
        Ok(())
    }
}

/// The directory of a small Debian with these packages, made once.
pub(crate) fn system(store: &Path, suite: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let tree = store.join(format!("debian-{suite}"));
    if tree.exists() {
        return Ok(tree);
    }
    if !is_root() {
        bail!("a Debian system is made as root: run this command as root, once");
    }
    need(&[("debootstrap", "debootstrap")])?;
    // In two steps, so that half a system is not taken for one.
    let partial = store.join(format!("partial-debian-{suite}"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    eprintln!("making a Debian {suite} with {} (once, some minutes)", packages.join(" "));
    let mut make = Command::new("unshare");
    // What it mounts is gone with it.
    make.args(["--mount", "debootstrap", "--variant=minbase"])
        .arg(format!("--include={}", packages.join(",")))
        .arg(format!("--keyring={}", keyring()?.display()))
        .arg(suite)
        .arg(&partial)
        .arg(mirror()?)
        .stdout(std::process::Stdio::null());
    command::run(&mut make)?;
    fs::rename(&partial, &tree)?;
    Ok(tree)
}

/// The Debian mirror in apt's configuration, or `DEBIAN_MIRROR`.
fn mirror() -> anyhow::Result<String> {
    if let Ok(mirror) = std::env::var("DEBIAN_MIRROR") {
        return Ok(mirror);
    }
    let sites = command::output(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]))?;
    let site = sites.lines().find(|site| site.trim_end_matches('/').ends_with("/debian"));
    Ok(site.context("apt knows no Debian mirror here: name one in DEBIAN_MIRROR")?.to_owned())
}

fn keyring() -> anyhow::Result<PathBuf> {
    let file = PathBuf::from("/usr/share/keyrings/debian-archive-keyring.gpg");
    if !file.exists() {
        bail!("missing: run  sudo apt-get install debian-archive-keyring  and then this command again");
    }
    Ok(file)
}

/// The package of the highest version; apt's own order of versions, by `sort -V`.
fn newest(names: &str, pattern: &str) -> anyhow::Result<String> {
    let mut select = Command::new("sh");
    select.args(["-c", "printf '%s' \"$1\" | grep -E \"$2\" | sort -V | tail -n 1", "sh", names, pattern]);
    let name = command::output(&mut select)?.trim().to_owned();
    if name.is_empty() {
        bail!("the release has no package {pattern}");
    }
    Ok(name)
}

/// The one entry of a directory that is wanted.
fn only(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("{} is missing", directory.display()))?;
    let mut wanted = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_wanted(&path.file_name().unwrap_or_default().to_string_lossy()));
    wanted.next().with_context(|| format!("not in {}", directory.display()))
}
