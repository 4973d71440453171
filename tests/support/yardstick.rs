//! How fast this machine is at a server's kind of work while a test runs: the unit of bounds on what servers do between two clocks.
//!
//! In: nothing. Out: how long `clients/yardstick.py` took for a piece of that work, at the median of the run.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::child::Child;
use crate::gunicorn::Version;

/// A measurement under way: a process that works for a hundredth of the time.
#[derive(Debug)]
pub struct Yardstick {
    child: Child,
    output: NamedTempFile,
}

#[derive(Deserialize)]
struct Measured {
    heads_ns: Vec<u64>,
    first_ns: Vec<u64>,
}

impl Yardstick {
    /// Measures from now on.
    ///
    /// # Errors
    ///
    /// Where Python cannot be started.
    pub fn start() -> anyhow::Result<Self> {
        let output = NamedTempFile::new()?;
        let mut command = Command::new(Version::V27.python());
        command.arg(crate::root().join("tests/clients/yardstick.py"));
        command.stdin(Stdio::piped()).stdout(File::create(output.path())?);
        Ok(Self { child: Child::start(&mut command, "the yardstick")?, output })
    }

    /// What one head took at the median until now, in ns: parsing a request's and writing a response's, in pure Python.
    ///
    /// # Errors
    ///
    /// Where it fails, or measured nothing.
    pub fn head_ns(self) -> anyhow::Result<u64> {
        self.head_and_wake_ns().map(|(head_ns, _)| head_ns)
    }

    /// The same, and by how much the first head after a pause took longer, at the median.
    ///
    /// # Errors
    ///
    /// As [`Self::head_ns`].
    pub fn head_and_wake_ns(mut self) -> anyhow::Result<(u64, u64)> {
        drop(self.child.take_stdin());
        let status = self.child.wait(Duration::from_secs(10))?;
        anyhow::ensure!(status.success(), "the yardstick failed: {status}");
        let text = std::fs::read_to_string(self.output.path())?;
        let Measured { heads_ns, first_ns } =
            serde_json::from_str(&text).context("the yardstick's measurements")?;
        let median = |mut of: Vec<u64>| {
            of.sort_unstable();
            of.get(of.len() / 2).copied().context("the run was too short for the yardstick")
        };
        let (head_ns, first_ns) = (median(heads_ns)?, median(first_ns)?);
        Ok((head_ns, first_ns.saturating_sub(head_ns)))
    }
}
