//! The virtual environments that `make setup` makes.
//!
//! In: the name of one, and of a program. Out: the program's path.

use std::path::PathBuf;

/// A program of the environment that has this name under `.tools`.
#[must_use]
pub fn program(environment: &str, name: &str) -> PathBuf {
    crate::root().join(".tools").join(environment).join("bin").join(name)
}
