//! A collector for OpenTelemetry that writes down what it gets.
//!
//! In: nothing. Out: its URL, and what came, as OpenTelemetry's own library reads it; it ends when dropped.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::child::Child;

/// A running `apps/collector.py`.
#[derive(Debug)]
pub struct Collector {
    _child: Child,
    directory: TempDir,
    /// Its base URL.
    pub url: String,
}

impl Collector {
    /// Starts it on a free port of loopback; the first `busy` messages are answered 503.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn start(busy: u32) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(crate::root().join(".tools/venvdocs/bin/python"));
        command.arg(crate::root().join("tests/apps/collector.py"));
        command.arg("--file").arg(directory.path().join("lines")).args(["--busy", &busy.to_string()]);
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = Child::start(&mut command, "the collector")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        let port = line.trim().strip_prefix("listening ").context("the collector did not say its port")?;
        Ok(Self { _child: child, directory, url: format!("http://127.0.0.1:{port}") })
    }

    /// What came so far under `key`: `span` or `metric`.
    ///
    /// # Errors
    ///
    /// Where a line cannot be read.
    pub fn got(&self, key: &str) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.directory.path().join("lines")).unwrap_or_default();
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter_map(|mut line| line.get_mut(key).map(Value::take)).collect())
    }
}
