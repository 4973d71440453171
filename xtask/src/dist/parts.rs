//! The list of parts (CycloneDX): every crate that is in the program, with its version, licence and checksum.
//!
//! In: the tree, an architecture. Out: `wsgi-trace-ARCHITECTURE.cdx.json`. It names no directory of this
//! machine, and its time is that of the last commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::program::Build;
use crate::architecture::Architecture;
use crate::{command, pins};

/// The crate whose parts they are.
const OF: &str = "profiler";

/// Writes it.
pub(super) fn write(build: &Build, architecture: Architecture, directory: &Path) -> anyhow::Result<()> {
    let name = format!("wsgi-trace-{}.cdx", architecture.linux());
    let mut list = Command::new(pins::tool("cargo-cyclonedx")?);
    list.current_dir(command::root()).args(["cyclonedx", "--quiet", "--format", "json"]);
    list.args(["--spec-version", "1.5", "--target", architecture.target(), "--override-filename", &name]);
    command::run(build.with(list.arg("--manifest-path").arg(Path::new(OF).join("Cargo.toml"))))?;
    let name = format!("{name}.json");
    let written = command::root().join(OF).join(&name);
    let text = fs::read_to_string(&written).with_context(|| format!("{} is not there", written.display()))?;
    fs::write(directory.join(&name), text.replace(&command::root().display().to_string(), "/wsgi-trace"))?;
    // It writes one beside each manifest of the workspace.
    for member in members()? {
        let beside = member.with_file_name(&name);
        if beside.exists() {
            fs::remove_file(&beside)?;
        }
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
