//! A collector for OpenTelemetry that writes down what it gets.
//!
//! In: nothing. Out: its URL, and what came, as OpenTelemetry's own library reads it; it ends when dropped.
//! Before it may stand rotel, a collector that others wrote, which takes messages and passes them on.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::address::free;
use crate::child::{Child, until};
use crate::environment;
use crate::whole_lines::whole_lines;

/// A running `apps/collector.py`.
#[derive(Debug)]
pub struct Collector {
    children: Vec<Child>,
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
        let mut command = Command::new(environment::program("venvdocs", "python"));
        command.arg(crate::root().join("tests/apps/collector.py"));
        command.arg("--file").arg(directory.path().join("lines")).args(["--busy", &busy.to_string()]);
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = Child::start(&mut command, "the collector")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        let port = line.trim().strip_prefix("listening ").context("the collector did not say its port")?;
        Ok(Self { children: vec![child], directory, url: format!("http://127.0.0.1:{port}") })
    }

    /// One to which rotel passes on what it gets; the URL is rotel's.
    ///
    /// # Errors
    ///
    /// Where one of them does not come up.
    pub fn behind_rotel() -> anyhow::Result<Self> {
        let mut collector = Self::start(0)?;
        let [http, grpc] = [free("127.0.0.1")?.to_string(), free("127.0.0.1")?.to_string()];
        let mut command = Command::new(rotel()?);
        command.args(["start", "--otlp-http-endpoint", &http, "--otlp-grpc-endpoint", &grpc]);
        command.args(["--exporter", "otlp", "--otlp-exporter-endpoint", &collector.url]);
        command.args(["--otlp-exporter-protocol", "http"]);
        for (option, name) in [("--pid-file", "rotel.pid"), ("--log-file", "rotel.log")] {
            command.arg(option).arg(collector.directory.path().join(name));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        collector.children.insert(0, Child::start(&mut command, "rotel")?);
        until("rotel to listen", Duration::from_secs(30), || Ok(TcpStream::connect(&http).ok()))?;
        collector.url = format!("http://{http}");
        Ok(collector)
    }

    /// What came under `key`, once there are so many.
    ///
    /// # Errors
    ///
    /// Where there are not within ten seconds, or a line cannot be read.
    pub fn wait(&self, key: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        until(&format!("{count} of {key}"), Duration::from_secs(10), || {
            let got = self.got(key)?;
            Ok((got.len() >= count).then_some(got))
        })
    }

    /// What was written down so far under `key`: `span` or `metric`.
    ///
    /// # Errors
    ///
    /// Where a line cannot be read.
    pub fn got(&self, key: &str) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.directory.path().join("lines")).unwrap_or_default();
        let lines: Vec<Value> = whole_lines(&text).map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter_map(|mut line| line.get_mut(key).map(Value::take)).collect())
    }
}

/// rotel's program, in its package.
fn rotel() -> anyhow::Result<PathBuf> {
    let libraries = crate::root().join(".tools/venv-collector/lib");
    let versions = std::fs::read_dir(&libraries).context("`make setup` installs rotel")?;
    let programs = versions.flatten().map(|version| version.path().join("site-packages/rotel/rotel-agent"));
    programs.into_iter().find(|program| program.exists()).context("`make setup` installs rotel")
}
