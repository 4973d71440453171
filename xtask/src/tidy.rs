//! `tidy`: tests of the tree itself, on text alone.
//!
//! In: the files that git tracks or would track. Out: success, or every offence with file and line.

mod arrows;
mod catalogue;
mod chores;
mod circles;
mod guide;
mod length;
mod pictures;
mod places;
mod quotes;
mod samples;
mod sentences;
mod shape;
mod siblings;
mod source;
mod types;
mod whole_state;
mod width;
mod words;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command;

/// One file of the tree.
pub(crate) struct File {
    /// Path from the root, with slashes.
    pub(crate) path: String,
    /// Its text; empty if it is not UTF-8 (pictures, recordings).
    pub(crate) text: String,
}

impl File {
    /// The tests of the module beside it, in a file of their own because they are long.
    pub(crate) fn is_unit_tests(&self) -> bool {
        self.path.ends_with("/tests.rs")
    }
}

/// One offence, as `path:line: what`.
pub(crate) type Offence = String;

/// One test of the whole tree.
type Test = fn(&[File]) -> Vec<Offence>;

/// Runs every test on the whole tree.
pub(crate) fn run() -> anyhow::Result<()> {
    let files = read_tree(&command::root())?;
    let warnings = shape::warnings(&files);
    for warning in &warnings {
        eprintln!("tidy: warning: {warning}");
    }
    let tests: [Test; 17] = [
        shape::offences,
        arrows::offences,
        circles::offences,
        siblings::offences,
        types::offences,
        whole_state::offences,
        places::offences,
        quotes::offences,
        catalogue::offences,
        chores::offences,
        guide::offences,
        samples::offences,
        pictures::offences,
        words::offences,
        width::offences,
        length::offences,
        sentences::offences,
    ];
    let offences: Vec<Offence> = tests.iter().flat_map(|test| test(&files)).collect();
    for offence in &offences {
        eprintln!("{offence}");
    }
    if !offences.is_empty() {
        bail!("{} offence(s)", offences.len());
    }
    eprintln!("tidy: {} files, all good", files.len());
    Ok(())
}

fn read_tree(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = command::output(&mut git)?;
    let mut files = Vec::new();
    for name in names.split_terminator('\0') {
        let path = root.join(name);
        // Deleted but still in the index, or a link.
        if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| format!("{name} is not readable"))?;
        files.push(File { path: name.to_owned(), text: String::from_utf8(bytes).unwrap_or_default() });
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}
