//! The virtual environments that `make setup` makes.
//!
//! In: the name of one, and of a program. Out: the program's path.

use std::path::PathBuf;

use anyhow::Context as _;

/// A program of the environment that has this name under `.tools`.
pub fn program(environment: &str, name: &str) -> PathBuf {
    crate::root().join(".tools").join(environment).join("bin").join(name)
}

/// The directory of packages of an environment.
///
/// # Errors
///
/// Where the environment is not there.
pub fn packages(environment: &str) -> anyhow::Result<PathBuf> {
    let library = crate::root().join(".tools").join(environment).join("lib");
    let entries = std::fs::read_dir(&library)
        .with_context(|| format!("{} is not there: `make setup` makes it", library.display()))?;
    let mut found = entries.flatten().map(|entry| entry.path().join("site-packages"));
    found.find(|path| path.is_dir()).with_context(|| format!("{} has no packages", library.display()))
}
