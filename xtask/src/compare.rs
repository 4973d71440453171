//! `compare`: what replays of the recordings give now, beside what they gave at another commit, in full.
//!
//! In: a commit, or none for the last one. Out: the difference of every report in text and JSON and of every
//! entry of every timeline; both sides under `target/compare`.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::command;

/// What git's diff says where there is one.
const DIFFERENT: i32 = 1;

/// Compares with another commit, which stands in a work tree of its own meanwhile, and shares this one's
/// target directory.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let commit = arguments.first().map_or("HEAD", String::as_str);
    let root = command::root();
    let place = root.join("target/compare");
    let tree = place.join("tree");
    for name in ["before", "now"] {
        if place.join(name).exists() {
            std::fs::remove_dir_all(place.join(name))?;
        }
    }
    if tree.exists() {
        remove(&root, &tree)?;
    }
    let add = ["worktree", "add", "--quiet", "--detach"];
    command::run(Command::new("git").current_dir(&root).args(add).arg(&tree).arg(commit))?;
    let outcome = tools(&root, &tree).and_then(|()| write(&root, &tree, &place.join("before")));
    remove(&root, &tree)?;
    outcome?;
    write(&root, &root, &place.join("now"))?;
    let mut diff = Command::new("git");
    diff.current_dir(&place).args(["diff", "--no-index", "--stat", "--patch", "before", "now"]);
    match diff.status()?.code() {
        Some(0) => println!("no difference"),
        Some(DIFFERENT) => {}
        _ => bail!("git diff failed"),
    }
    Ok(())
}

/// The kernel programs need their linker.
fn tools(root: &Path, tree: &Path) -> anyhow::Result<()> {
    Ok(std::os::unix::fs::symlink(root.join(".tools"), tree.join(".tools"))?)
}

fn write(root: &Path, tree: &Path, to: &Path) -> anyhow::Result<()> {
    let mut run =
        command::cargo(&["run", "--quiet", "--package", command::TESTS, "--bin", "record-scenarios"]);
    command::run(
        run.current_dir(tree).env("CARGO_TARGET_DIR", root.join("target")).arg("--").arg("--full").arg(to),
    )
}

fn remove(root: &Path, tree: &Path) -> anyhow::Result<()> {
    command::run(Command::new("git").current_dir(root).args(["worktree", "remove", "--force"]).arg(tree))
}
