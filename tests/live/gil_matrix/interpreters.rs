//! The interpreters of this machine: installed, under pyenv, and those that `xtask/interpreters.sh` unpacked.
//!
//! In: directories. Out: how each is run, and its name.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One interpreter.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    /// Version, and where it is from.
    pub(crate) name: String,
    /// Program and first arguments.
    words: Vec<PathBuf>,
}

impl Interpreter {
    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or(Path::new("python3"), PathBuf::as_path));
        command.args(words);
        command
    }

    /// Whether it is of this version, or kind.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        self.name.starts_with(&format!("{wanted}.")) || self.name.contains(wanted)
    }
}

/// All of them, by version.
pub(crate) fn found() -> Vec<Interpreter> {
    let mut found = Vec::new();
    for minor in 8..=15 {
        look(&mut found, "Debian", vec![PathBuf::from(format!("/usr/bin/python3.{minor}"))]);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    for version in entries(&home.join(".pyenv/versions")) {
        look(&mut found, "pyenv", vec![version.join("bin/python3")]);
    }
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    for place in entries(&tree.join(".tools/interpreters")) {
        let libraries = place.join("usr/lib/x86_64-linux-gnu");
        for program in entries(&place.join("usr/bin")) {
            // With its own C library, by that library's loader.
            let loader = libraries.join("ld-linux-x86-64.so.2");
            look(
                &mut found,
                "Debian, unpacked",
                vec![loader, "--library-path".into(), libraries.clone(), program],
            );
        }
    }
    found.sort_by_key(|interpreter| {
        let minor = interpreter.name.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        (minor, interpreter.name.clone())
    });
    found
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Adds it if it runs, and is none that is not told from 3.8 on.
fn look(found: &mut Vec<Interpreter>, from: &str, words: Vec<PathBuf>) {
    let ask = "import sys, sysconfig; print('%d.%d.%d' % sys.version_info[:3], \
               'free-threaded' if sysconfig.get_config_var('Py_GIL_DISABLED') else '')";
    let mut interpreter = Interpreter { name: String::new(), words };
    let Ok(output) = interpreter.command().args(["-c", ask]).output() else { return };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let minor = said.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if output.status.success() && said.starts_with("3.") && minor >= Some(8) {
        interpreter.name = format!("{said} ({from})");
        found.push(interpreter);
    }
}
