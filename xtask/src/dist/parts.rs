//! The lists of parts (CycloneDX): the crates that are in the program, and in its kernel programs, each with
//! its version, licence and checksum. Of Rust's own library and musl they say nothing.
//!
//! In: the tree, an architecture. Out: `wsgi-trace-ARCHITECTURE.cdx.json` and `…-kernel.cdx.json`. They name
//! no directory of this machine, and their time is that of the last commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::program::Build;
use crate::architecture::Architecture;
use crate::{command, pins};

/// The crates whose parts they are, each by its directory, and what their lists are called.
const OF: [(&str, &str); 2] = [("profiler", ""), ("profiler-ebpf", "-kernel")];

/// Writes them.
pub(super) fn write(build: &Build, architecture: Architecture, directory: &Path) -> anyhow::Result<()> {
    let name = format!("wsgi-trace-{}", architecture.linux());
    let mut list = Command::new(pins::tool("cargo-cyclonedx")?);
    list.current_dir(command::root()).args(["cyclonedx", "--quiet", "--format", "json", "--no-build-deps"]);
    list.args(["--spec-version", "1.5", "--target", architecture.target(), "--override-filename", &name]);
    let listed = command::run(build.with(&mut list));
    // It writes one beside each manifest of the workspace: none of them stays, whatever comes of it.
    let mut written = Vec::new();
    for manifest in members()? {
        let beside = manifest.with_file_name(format!("{name}.json"));
        if let Ok(text) = fs::read_to_string(&beside) {
            fs::remove_file(&beside)?;
            written.push((beside, text.replace(&command::root().display().to_string(), "/wsgi-trace")));
        }
    }
    listed?;
    for (of, suffix) in OF {
        let beside = command::root().join(of).join(format!("{name}.json"));
        let (_, text) =
            written.iter().find(|(path, _)| *path == beside).with_context(|| format!("no list of {of}"))?;
        fs::write(directory.join(format!("{name}{suffix}.cdx.json")), text)?;
    }
    Ok(())
}

/// The manifests of the workspace.
fn members() -> anyhow::Result<Vec<PathBuf>> {
    let mut metadata = command::cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&command::output(&mut metadata)?)?;
    let packages = metadata.pointer("/packages").and_then(Value::as_array).context("no packages")?;
    let manifest = |package: &Value| Some(PathBuf::from(package.pointer("/manifest_path")?.as_str()?));
    Ok(packages.iter().filter_map(manifest).collect())
}
