//! The `wsgi-trace` program under test.
//!
//! In: arguments. Out: a child process with its output in files, and its result.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::child::{Child, until};

/// Path of the program, built from the tree as it is now, in the profile of the test that asks.
///
/// `WSGI_TRACE_BINARY` names another one. Cargo does not build the binary of a package that a test only
/// links, and one left from yesterday would be tested in its stead. So the first call in each test program
/// asks cargo for it.
///
/// # Errors
///
/// Where it does not build.
pub fn wsgi_trace_binary() -> anyhow::Result<PathBuf> {
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PATH.get_or_init(|| locate().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn locate() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("WSGI_TRACE_BINARY") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    // target/PROFILE/deps/test-HASH
    let profile = test.parent().and_then(|deps| deps.parent()).context("the test program stands alone")?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        // As `make test` builds it: of one package alone cargo would make another build, with other features.
        build.current_dir(crate::root()).args(["build", "--quiet", "--locked", "--bin", "wsgi-trace"]);
        build.args(["--workspace", "--exclude", "profiler-ebpf", "--exclude", "wsgi-trace-lab"]);
        if profile.file_name() == Some(OsStr::new("release")) {
            build.arg("--release");
        }
        if !build.status()?.success() {
            bail!("wsgi-trace does not build");
        }
    }
    let program = profile.join("wsgi-trace");
    if !program.exists() {
        bail!("{} is not there: build it first", program.display());
    }
    Ok(program)
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A running `wsgi-trace`.
#[derive(Debug)]
pub struct Program {
    child: Child,
    directory: TempDir,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Where it does not build or start.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_as(arguments, |_| {})
    }

    /// Starts the program, its command prepared in some way: under a limit, for one.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start_as(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let mut command = Command::new(wsgi_trace_binary()?);
        command.args(arguments);
        Self::spawn(command, prepare)
    }

    /// Starts the program by a command that becomes it: as another user, for one.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start_by(command: Command) -> anyhow::Result<Self> {
        Self::spawn(command, |_| {})
    }

    fn spawn(mut command: Command, prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        command
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(directory.path().join("stdout"))?)
            .stderr(std::fs::File::create(directory.path().join("stderr"))?);
        prepare(&mut command);
        Ok(Self { child: Child::start_as_session(&mut command, "wsgi-trace")?, directory })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// Where it does not start, or does not end within `limit`.
    pub fn run(arguments: &[&str], limit: Duration) -> anyhow::Result<Outcome> {
        Self::start(arguments)?.finish(limit)
    }

    /// PID.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.child.signal(signal);
    }

    /// Waits until standard error holds `text`.
    ///
    /// # Errors
    ///
    /// Where it ends without having said so, or says nothing within half a minute.
    pub fn wait_for_stderr(&mut self, text: &str) -> anyhow::Result<()> {
        self.wait_for_stderr_within(text, Duration::from_secs(30))
    }

    /// Waits until standard error holds `text`, for as long as is said: an emulated machine takes longer.
    ///
    /// # Errors
    ///
    /// Where it ends without having said so, or says nothing within `limit`.
    pub fn wait_for_stderr_within(&mut self, text: &str, limit: Duration) -> anyhow::Result<()> {
        until(&format!("wsgi-trace to say {text:?}"), limit, || {
            let ended = self.child.ended()?;
            let said = self.read("stderr");
            match (said.contains(text), ended) {
                (true, _) => Ok(Some(())),
                (false, Some(status)) => bail!("wsgi-trace ended, {status}: {said}"),
                (false, None) => Ok(None),
            }
        })
    }

    /// What it has written to standard error so far.
    pub fn said(&self) -> String {
        self.read("stderr")
    }

    /// Whether it is over.
    ///
    /// # Errors
    ///
    /// Where its state cannot be read.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.ended()?.is_some())
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Where it does not end within `limit`.
    pub fn finish(mut self, limit: Duration) -> anyhow::Result<Outcome> {
        let status = self.child.wait(limit)?;
        Ok(Outcome { status, stdout: self.read("stdout"), stderr: self.read("stderr") })
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.directory.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Numbers of the BPF programs that a process holds.
pub fn kernel_programs(pid: u32) -> BTreeSet<u32> {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return BTreeSet::new() };
    descriptors
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .filter(|text| text.starts_with("pos:") && text.contains("prog_type:"))
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok())
        .collect()
}
