//! The machine that figures come from, and the versions of what was run on it.
//!
//! In: `/proc`, `/sys`, programs asked for their version. Out: [`Machine`], one line a program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// What a reader must know to compare.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// As the CPU calls itself.
    pub(crate) cpu: String,
    /// CPUs online.
    pub(crate) cpus: usize,
    /// Under a hypervisor.
    pub(crate) virtual_machine: bool,
    /// Release of the kernel, without what its builder appended.
    pub(crate) kernel: String,
    /// Size of its memory, GiB.
    pub(crate) memory_gib: u64,
    /// Of the distribution.
    pub(crate) system: String,
    /// CPU time that others used before the part began, of one core.
    pub(crate) disturbed_share: f64,
}

impl Machine {
    pub(crate) fn describe() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| -> String {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once([':', '=']).map_or("", |(_, value)| value).trim().trim_matches('"').to_owned()
        };
        let memory_kib: u64 = field(&read("/proc/meminfo"), "MemTotal")
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            cpu: field(&cpuinfo, "model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_machine: field(&cpuinfo, "flags").split_whitespace().any(|flag| flag == "hypervisor"),
            kernel: release.trim().split('-').next().unwrap_or_default().to_owned(),
            memory_gib: memory_kib.div_ceil(1024 * 1024),
            system: field(&read("/etc/os-release"), "PRETTY_NAME"),
            disturbed_share: crate::account::disturbance(),
        }
    }

    /// In a sentence.
    pub(crate) fn about(&self) -> String {
        let kind = if self.virtual_machine { "virtual machine" } else { "bare metal" };
        format!(
            "{kind}, {}, {} CPUs, {} GiB, Linux {}, {}",
            self.cpu, self.cpus, self.memory_gib, self.kernel, self.system
        )
    }
}

/// The commit of this tree, with a word where the tree is not it; empty where git does not know.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let root = wsgi_trace_test_support::root();
        output(Command::new("git").arg("-C").arg(root).args(arguments), "git")
    };
    let Ok(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return String::new() };
    // What an earlier part published is no change of what is measured.
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs", ":!lab/results"]);
    let is_changed = changed.map_or(true, |text| !text.trim().is_empty());
    format!("{}{}", commit.trim(), if is_changed { " with changes" } else { "" })
}

/// A program that is ended if it takes longer than `limit`.
pub(crate) fn bounded(program: &str, limit: Duration) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", &limit.as_secs().to_string(), program]);
    command
}

/// What it writes to its standard output.
pub(crate) fn output(command: &mut Command, what: &str) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{what} does not start"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{what} ended, {}: {}", output.status, text.lines().last().unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first line that says a version, or `None` where the program does not start.
pub(crate) fn version(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.chars().any(|c| c.is_ascii_digit()))?;
    let word = line.split_whitespace().find(|word| {
        word.trim_start_matches(['v', '=']).starts_with(|c: char| c.is_ascii_digit())
            || word.starts_with("v=")
    })?;
    Some(word.trim_start_matches(['v', '=']).trim_end_matches(',').to_owned())
}
