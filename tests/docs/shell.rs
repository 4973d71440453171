//! The place in which commands of the guide run: an empty directory with a recording, and the programs they
//! name.
//!
//! In: a script. Out: what it printed and how it ended. `sudo` runs what follows it, as whoever runs the
//! test.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::program::{Outcome, wsgi_trace_binary};
use wsgi_trace_test_support::root;

/// Long enough for a busy machine; nothing waits that long when all is well.
const LIMIT: Duration = Duration::from_secs(60);

/// One place; what a block leaves in it, the next one finds.
pub(crate) struct Shell {
    directory: TempDir,
    path: OsString,
}

impl Shell {
    /// A new place, with these recordings of `tests/recordings` under the names that a page has for them.
    pub(crate) fn new(recordings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        for (name, recording) in recordings {
            let recording = root().join("tests/recordings").join(recording).with_extension("wtrace");
            std::fs::copy(&recording, directory.path().join(name))
                .with_context(|| recording.display().to_string())?;
        }
        let programs = directory.path().join(".bin");
        std::fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(wsgi_trace_binary()?, programs.join("wsgi-trace"))?;
        shim(&programs.join("sudo"), "\"$@\"")?;
        // By its module: the command in there names the directory in which it was installed, which may have
        // moved.
        let python = root().join(".tools/venvdocs/bin/python");
        if python.exists() {
            shim(&programs.join("duckdb"), &format!("'{}' -m duckdb_cli \"$@\"", python.display()))?;
        }
        let before = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&before)))?;
        Ok(Self { directory, path })
    }

    /// Which of the programs that a script names is not there, of those that a machine may lack.
    pub(crate) fn missing(&self, script: &str) -> Option<&'static str> {
        let named = |program: &str| {
            script.split(|c: char| !(c.is_alphanumeric() || "-_./".contains(c))).any(|word| word == program)
        };
        let there =
            |program: &str| std::env::split_paths(&self.path).any(|path| path.join(program).is_file());
        ["jq", "duckdb", "curl", "nstat"].into_iter().find(|program| named(program) && !there(program))
    }

    /// Runs a script to its end.
    pub(crate) fn run(&self, script: &str) -> anyhow::Result<Outcome> {
        self.finish(self.start(&["-euo", "pipefail", "-c", script], Stdio::null())?)
    }

    /// Runs one command line as a person does: one that watches until Ctrl-C gets its Ctrl-C.
    pub(crate) fn type_in(&self, line: &str) -> anyhow::Result<Outcome> {
        let mut child = self.start(&["-c", line], Stdio::null())?;
        if watches_until_interrupted(line) {
            until(&format!("`{line}` to watch"), LIMIT, || {
                Ok((self.read(".stderr").contains("watching") || child.ended()?.is_some()).then_some(()))
            })?;
            child.signal(libc::SIGINT);
        }
        self.finish(child)
    }

    /// Runs one command line that has a screen: waits until it is drawn, and leaves it by its key.
    pub(crate) fn type_at_a_terminal(&self, line: &str) -> anyhow::Result<Outcome> {
        let (keys, mut keyboard) = std::io::pipe()?;
        let at_a_terminal = format!("stty rows 24 cols 80; TERM=xterm {line}");
        let script =
            ["-c", "exec script --quiet --flush --return --command \"$0\" /dev/null", &at_a_terminal];
        let mut child = self.start(&script, keys.into())?;
        until(&format!("the screen of `{line}`"), LIMIT, || {
            Ok((self.read(".stdout").contains("quit") || child.ended()?.is_some()).then_some(()))
        })?;
        keyboard.write_all(b"q")?;
        let status = child.wait(LIMIT)?;
        Ok(Outcome { status, stdout: String::new(), stderr: self.read(".stdout") })
    }

    /// The directory.
    pub(crate) fn place(&self) -> &Path {
        self.directory.path()
    }

    fn start(&self, arguments: &[&str], stdin: Stdio) -> anyhow::Result<Child> {
        let place = self.place();
        let mut command = Command::new("bash");
        command
            .args(arguments)
            .current_dir(place)
            .env("PATH", &self.path)
            .env("HOME", place)
            .env("LC_ALL", "C.UTF-8")
            .stdin(stdin)
            .stdout(std::fs::File::create(place.join(".stdout"))?)
            .stderr(std::fs::File::create(place.join(".stderr"))?);
        Child::start(&mut command, "bash")
    }

    fn finish(&self, mut child: Child) -> anyhow::Result<Outcome> {
        let status = child.wait(LIMIT)?;
        Ok(Outcome { status, stdout: self.read(".stdout"), stderr: self.read(".stderr") })
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(Path::join(self.directory.path(), name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A program that is another one.
fn shim(path: &Path, command: &str) -> anyhow::Result<()> {
    std::fs::write(path, format!("#!/bin/sh\nexec {command}\n"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Whether a line starts a trace or a recording without an end.
fn watches_until_interrupted(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    has("wsgi-trace")
        && !has("--duration")
        && !["list", "doctor", "report", "explain"].into_iter().any(has)
        && ["--pid", "--port", "--name"].into_iter().any(has)
}
