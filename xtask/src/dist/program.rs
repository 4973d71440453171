//! How what is in packages is built: the same bytes wherever and whenever that is.
//!
//! In: the tree, an architecture. Out: the static program; the environment that other builders of packages
//! need to find that very program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::architecture::Architecture;
use crate::command;

/// The profile of `Cargo.toml`.
pub(super) const PROFILE: &str = "packaged";

/// One build of everything.
pub(super) struct Build {
    /// Where cargo leaves what it makes.
    target: PathBuf,
    /// Seconds since 1970 that packages give as the time of their files: that of the last commit.
    made_s: String,
}

impl Build {
    /// Where all builds are, with what earlier ones left.
    pub(super) fn usual() -> anyhow::Result<Self> {
        let mut git = Command::new("git");
        git.current_dir(command::root()).args(["log", "-1", "--format=%ct"]);
        // The source may come without its history.
        let made_s = command::output(&mut git).map_or_else(|_| "0".to_owned(), |said| said.trim().to_owned());
        Ok(Self { target: command::root().join("target"), made_s })
    }

    /// From nothing: kernel programs too.
    pub(super) fn again() -> anyhow::Result<Self> {
        let usual = Self::usual()?;
        let target = usual.target.join("again");
        for left in [target.clone(), usual.target.join("bpf"), usual.target.join("bpf-aarch64")] {
            if left.exists() {
                fs::remove_dir_all(&left).with_context(|| format!("{} cannot be removed", left.display()))?;
            }
        }
        Ok(Self { target, ..usual })
    }

    /// A builder of packages in this environment.
    pub(super) fn with<'a>(&self, builder: &'a mut Command) -> &'a mut Command {
        builder
            .env("CARGO_TARGET_DIR", &self.target)
            .env("SOURCE_DATE_EPOCH", &self.made_s)
            .env("CARGO_ENCODED_RUSTFLAGS", without_places())
    }

    /// The static program, as `wsgi-trace-ARCHITECTURE`.
    pub(super) fn program(&self, architecture: Architecture, directory: &Path) -> anyhow::Result<PathBuf> {
        let target = architecture.target();
        let arguments =
            ["build", "--locked", "--package", "wsgi-trace", "--profile", PROFILE, "--target", target];
        command::run(self.with(&mut command::cargo(&arguments)))?;
        let program = directory.join(format!("wsgi-trace-{}", architecture.linux()));
        let built = self.target.join(target).join(PROFILE).join("wsgi-trace");
        fs::copy(&built, &program).with_context(|| format!("{} is not there", built.display()))?;
        Ok(program)
    }
}

/// What makes messages of panics name no directory of this machine.
fn without_places() -> String {
    let mut places = vec![(command::root(), "wsgi-trace")];
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    places.extend(home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).map(|home| (home, "cargo")));
    let flags = places.iter().map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()));
    // As cargo separates them.
    flags.collect::<Vec<_>>().join("\u{1f}")
}
