//! The kernel's own tracer, which knows nothing of wsgi-trace.
//!
//! In: what to record. Out: its text, where nothing was lost. Each is an instance of tracefs of its own, removed when dropped.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const TRACEFS: &str = "/sys/kernel/tracing";

/// An instance of the tracer; nothing is recorded until `tracing_on` is set.
#[derive(Debug)]
pub struct Tracer {
    instance: PathBuf,
}

impl Tracer {
    /// Makes an instance; `None` where this machine has no tracefs.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn make(what: &str) -> anyhow::Result<Option<Self>> {
        let instances = Path::new(TRACEFS).join("instances");
        if !instances.is_dir() {
            return Ok(None);
        }
        let number = std::thread::current().id();
        let instance = instances.join(format!("wsgi-trace-{what}-{}-{number:?}", std::process::id()));
        fs::create_dir(&instance).context("an instance of the tracer")?;
        let made = Self { instance };
        made.set("tracing_on", "0")?;
        Ok(Some(made))
    }

    /// Writes one of its files.
    ///
    /// # Errors
    ///
    /// Where that cannot be done.
    pub fn set(&self, file: &str, value: &str) -> anyhow::Result<()> {
        fs::write(self.instance.join(file), value).with_context(|| format!("{file} of the tracer"))
    }

    /// Puts a line of its own into the record (`tracing_mark_write`).
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn mark(&self, text: &str) -> anyhow::Result<()> {
        let mut marker = fs::OpenOptions::new().write(true).open(self.instance.join("trace_marker"))?;
        marker.write_all(text.as_bytes()).context("a mark")
    }

    /// Ends recording: what was recorded, oldest first. `None`: events were lost.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn end(&self) -> anyhow::Result<Option<String>> {
        self.set("tracing_on", "0")?;
        for cpu in fs::read_dir(self.instance.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            let lost = |name: &str| {
                stats.lines().filter_map(|line| line.strip_prefix(name)).any(|count| count.trim() != "0")
            };
            if lost("overrun:") || lost("dropped events:") {
                return Ok(None);
            }
        }
        fs::read_to_string(self.instance.join("trace")).map(Some).context("what the tracer recorded")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.set("tracing_on", "0");
        let _ = self.set("events/enable", "0");
        let _ = fs::remove_dir(&self.instance);
    }
}
