//! The interpreters of this machine: installed, under pyenv, and those that `xtask/interpreters.sh` unpacked
//! or built.
//!
//! In: directories. Out: how each is run, and its name.

use std::path::{Path, PathBuf};
use std::process::Command;

use wsgi_trace_test_support::root;

/// Where the one is from that has another C library, whose threads wait for the lock on their own stacks.
const MUSL: &str = "built, musl";

/// One interpreter.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    /// Version, and where it is from.
    pub(crate) name: String,
    /// Program and first arguments.
    words: Vec<PathBuf>,
    /// Where its library is, if not where it would look for it.
    libraries: Option<PathBuf>,
}

impl Interpreter {
    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or(Path::new("python3"), PathBuf::as_path));
        command.args(words);
        self.set_library(&mut command);
        command
    }

    /// How long its function takes where nobody else wants the lock, in nanoseconds: what a call of C costs
    /// more that gives the lock up for its time than one that keeps it. 0: it cannot tell, and whoever
    /// subtracts this subtracts too much.
    pub(crate) fn bare_ns(&self) -> u64 {
        let program = root().join("tests/apps/gil_bare.py");
        let output = self.command().arg(program).output();
        output
            .ok()
            .and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok())
            .unwrap_or(0)
    }

    /// Whether it has `ctypes`, by which some of the applications here keep the lock in C, or look at their
    /// own state. Says so where it has not.
    pub(crate) fn has_ctypes(&self) -> bool {
        if self.is_musl() {
            eprintln!("{}: left out, as it has no ctypes: libffi has no headers for musl here", self.name);
        }
        !self.is_musl()
    }

    /// Whether its C library is musl. It lacks modules that need other libraries then (`ssl`, which gunicorn
    /// imports).
    pub(crate) fn is_musl(&self) -> bool {
        self.is(MUSL)
    }

    /// Has a program that is linked to this interpreter's library find the one that is used here.
    pub(crate) fn set_library(&self, command: &mut Command) {
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
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
        look(&mut found, "Debian", vec![PathBuf::from(format!("/usr/bin/python3.{minor}"))], None);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let tree = root();
    for version in entries(&home.join(".pyenv/versions")) {
        let copies = tree.join("target/gil-matrix").join(version.file_name().unwrap_or_default());
        let libraries = stripped(&version.join("lib"), &copies);
        look(&mut found, "pyenv", vec![version.join("bin/python3")], libraries);
    }
    for place in entries(&tree.join(".tools/interpreters")) {
        let libraries = place.join("usr/lib/x86_64-linux-gnu");
        // A debug build has a second name, which is a link.
        for program in entries(&place.join("usr/bin")).into_iter().filter(|program| !program.is_symlink()) {
            // With its own C library, by that library's loader.
            let loader = libraries.join("ld-linux-x86-64.so.2");
            look(
                &mut found,
                "Debian, unpacked",
                vec![loader, "--library-path".into(), libraries.clone(), program],
                None,
            );
        }
    }
    look(&mut found, "laid out like conda", vec![tree.join(".tools/conda-like/bin/python")], None);
    look(&mut found, "built like uv's", vec![tree.join(".tools/like-uv/bin/python3.13")], None);
    look(&mut found, MUSL, vec![tree.join(".tools/musl/bin/python3.13")], None);
    // Without the word it has no lock, and nobody waits.
    let is_it = |program: &PathBuf| {
        program.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("python3.") && name.ends_with('t')
        })
    };
    for program in entries(&tree.join(".tools/free-threaded/bin")).into_iter().filter(is_it) {
        let words = vec!["/usr/bin/env".into(), "PYTHON_GIL=1".into(), program];
        look(&mut found, "built, lock switched on", words, None);
    }
    found.sort_by_key(|interpreter| {
        let minor = interpreter.name.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        (minor, interpreter.name.clone())
    });
    found
}

/// Copies of the interpreter's libraries without symbols: bpftrace puts no probe at an address that lies
/// within a symbol, unless it was built with a disassembler. The machine code is the same. `None`: there are
/// none, or nothing strips here.
fn stripped(from: &Path, to: &Path) -> Option<PathBuf> {
    std::fs::create_dir_all(to).ok()?;
    let is_library = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("libpython3.") && name.ends_with(".so.1.0")
    };
    let library = entries(from).into_iter().find(|path| is_library(path))?;
    let copy = to.join(library.file_name()?);
    let done = Command::new("strip").arg("--strip-all").arg("-o").arg(&copy).arg(&library).status();
    done.is_ok_and(|status| status.success()).then(|| to.to_path_buf())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Adds it if it runs, and is 3.8 or newer.
fn look(found: &mut Vec<Interpreter>, from: &str, words: Vec<PathBuf>, libraries: Option<PathBuf>) {
    let ask = "import sys, sysconfig; print('%d.%d.%d' % sys.version_info[:3], \
               'free-threaded' if sysconfig.get_config_var('Py_GIL_DISABLED') else \
               'debug' if hasattr(sys, 'gettotalrefcount') else '')";
    let mut interpreter = Interpreter { name: String::new(), words, libraries };
    let Ok(output) = interpreter.command().args(["-c", ask]).output() else { return };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let minor = said.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if output.status.success() && said.starts_with("3.") && minor >= Some(8) {
        interpreter.name = format!("{said} ({from})");
        found.push(interpreter);
    }
}
