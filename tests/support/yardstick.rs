//! How fast this machine is at a server's kind of work while a test runs: the unit of bounds on what servers
//! do between two clocks.
//!
//! In: nothing. Out: how long `clients/yardstick.py` took for pieces of that work, at the median of the run.

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

/// What pieces of a server's work took, at the median of a run, in ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    /// A head: parsing a request's and writing a response's, in pure Python.
    pub head_ns: u64,
    /// By how much the first head after a pause took longer.
    pub cold_ns: u64,
    /// Another process answered such a head, on a connection of its own: two wakeups, a dozen system calls.
    pub exchange_ns: u64,
}

impl Speed {
    /// So many times as slow: where more lies between two clocks than one server's work.
    pub const fn times(self, count: u64) -> Self {
        let Self { head_ns, cold_ns, exchange_ns } = self;
        Self { head_ns: head_ns * count, cold_ns: cold_ns * count, exchange_ns: exchange_ns * count }
    }
}

#[derive(Deserialize)]
struct Measured {
    heads_ns: Vec<u64>,
    first_ns: Vec<u64>,
    exchanges_ns: Vec<u64>,
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

    /// What it measured until now.
    ///
    /// # Errors
    ///
    /// Where it fails, or measured nothing.
    pub fn end(mut self) -> anyhow::Result<Speed> {
        drop(self.child.take_stdin());
        let status = self.child.wait(Duration::from_secs(10))?;
        anyhow::ensure!(status.success(), "the yardstick failed: {status}");
        let text = std::fs::read_to_string(self.output.path())?;
        let Measured { heads_ns, first_ns, exchanges_ns } =
            serde_json::from_str(&text).context("the yardstick's measurements")?;
        let median = |mut of: Vec<u64>| {
            of.sort_unstable();
            of.get(of.len() / 2).copied().context("the run was too short for the yardstick")
        };
        let head_ns = median(heads_ns)?;
        let cold_ns = median(first_ns)?.saturating_sub(head_ns);
        Ok(Speed { head_ns, cold_ns, exchange_ns: median(exchanges_ns)? })
    }
}
