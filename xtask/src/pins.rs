//! Tools that only some chores need, installed when first asked for, at the version of `xtask/pins.toml`.
//!
//! In: a crate's name. Out: its program under `.tools/bin`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::command;

/// The program of this crate.
pub(crate) fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let root = command::root();
    let version = version(&std::fs::read_to_string(root.join("xtask/pins.toml"))?, name)?;
    let tools = root.join(".tools");
    let program = tools.join("bin").join(name);
    // What cargo has installed there.
    let installed = std::fs::read_to_string(tools.join(".crates.toml")).unwrap_or_default();
    if program.exists() && installed.contains(&format!("\"{name} {version} (")) {
        return Ok(program);
    }
    eprintln!("installing {name} {version} (once, some minutes)");
    let wanted = format!("{name}@{version}");
    command::run(command::cargo(&["install", &wanted, "--locked", "--force", "--root"]).arg(&tools))?;
    Ok(program)
}

fn version(pins: &str, name: &str) -> anyhow::Result<String> {
    let line = pins.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
    let version = line.with_context(|| format!("xtask/pins.toml has no version of {name}"))?;
    Ok(version.trim().trim_matches('"').to_owned())
}

#[test]
fn a_pin_is_found_by_its_whole_name() {
    let pins = "# a\nmdbook-x = \"9\"\nmdbook = \"0.5.4\"\n";
    assert_eq!(version(pins, "mdbook").ok().as_deref(), Some("0.5.4"));
    assert!(version(pins, "cargo-deb").is_err());
}
