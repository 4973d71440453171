//! bpftrace as a witness: a script that keeps what it sees in maps until its end.
//!
//! In: a script whose first word is printed by its `BEGIN` ([`ATTACHED`]), and whose `END` begins with
//! [`ENDING`]. Out: the elements of its maps. Nothing is printed meanwhile: a reader that is woken takes the
//! cores of what it looks at.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use wsgi_trace_test_support::child::{Child, until_each};

/// What a script does first.
pub const ATTACHED: &str = "BEGIN { printf(\"attached\\n\"); }\n";
/// What its `END` does first, so that it is not told again to end.
pub const ENDING: &str = "printf(\"ending\\n\");";

/// How long bpftrace may take to begin to end before it is told again.
const TELL_AGAIN: Duration = Duration::from_secs(2);
/// How long it may take to attach, and to end.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Room of each of its maps.
const MAP_ELEMENTS: usize = 1 << 18;

/// bpftrace, attached.
#[derive(Debug)]
pub struct Bpftrace {
    child: Child,
    output: PathBuf,
    messages: PathBuf,
    _directory: tempfile::TempDir,
}

/// An element of one of its maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The map's name, without `@`.
    pub name: String,
    /// Its keys.
    pub keys: Vec<u64>,
    /// Its value.
    pub value: u64,
}

impl Bpftrace {
    /// Attaches.
    ///
    /// # Errors
    ///
    /// Where bpftrace is not there or cannot attach.
    pub fn start(script: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let (output, messages) = (directory.path().join("out"), directory.path().join("messages"));
        // bpftrace looks for tracepoints under /sys/kernel. In a mount namespace of its own they are there,
        // whether somebody has mounted them or not.
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "sh",
                "-c",
                r#"[ -e /sys/kernel/tracing/events ] || mount -t tracefs nodev /sys/kernel/tracing && exec bpftrace "$@""#,
                "sh",
            ])
            .args(["--unsafe", "-q", "-e", script])
            .env("BPFTRACE_MAP_KEYS_MAX", MAP_ELEMENTS.to_string())
            .stdout(File::create(&output)?)
            .stderr(File::create(&messages)?)
            .stdin(Stdio::null());
        let child = Child::start(&mut command, "bpftrace")?;
        let mut bpftrace = Self { child, output, messages, _directory: directory };
        let attached = until_each("bpftrace to attach", (LIMIT, LOOK_EVERY), || {
            if bpftrace.has_line("attached")? {
                return Ok(Some(()));
            }
            ensure!(bpftrace.child.ended()?.is_none(), "bpftrace ended");
            Ok(None)
        });
        attached.with_context(|| bpftrace.said())?;
        Ok(bpftrace)
    }

    fn has_line(&self, wanted: &str) -> anyhow::Result<bool> {
        let lines = BufReader::new(File::open(&self.output)?).lines();
        Ok(lines.map_while(Result::ok).any(|line| line == wanted))
    }

    fn said(&self) -> String {
        format!("bpftrace said: {}", std::fs::read_to_string(&self.messages).unwrap_or_default())
    }

    /// Ends it, and gives what its maps hold.
    ///
    /// # Errors
    ///
    /// Where it lost something.
    pub fn finish(mut self) -> anyhow::Result<Vec<Element>> {
        let mut told: Option<Instant> = None;
        let mut is_ending = false;
        let ended = until_each("bpftrace to end", (LIMIT, LOOK_EVERY), || {
            if self.child.ended()?.is_some() {
                return Ok(Some(()));
            }
            is_ending = is_ending || self.has_line("ending")?;
            // bpftrace looks for the signal only where that interrupts its sleep, and can miss it.
            if !is_ending && told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
                self.child.signal(libc::SIGINT);
                told = Some(Instant::now());
            }
            Ok(None)
        });
        ended.with_context(|| self.said())?;
        let messages = self.said();
        if messages.contains("Lost") {
            bail!("bpftrace lost events: {messages}");
        }
        let mut elements = Vec::new();
        let mut of_map: HashMap<String, usize> = HashMap::new();
        for line in BufReader::new(File::open(&self.output)?).lines() {
            let Some(element) = element(&line?) else { continue };
            let count = of_map.entry(element.name.clone()).or_default();
            *count += 1;
            ensure!(*count < MAP_ELEMENTS, "bpftrace has no more room for what {}", element.name);
            elements.push(element);
        }
        Ok(elements)
    }
}

/// An element as bpftrace prints it at its end.
fn element(line: &str) -> Option<Element> {
    let (key, value) = line.strip_prefix('@')?.split_once(": ")?;
    let (name, keys) = key.strip_suffix(']').and_then(|key| key.split_once('[')).unwrap_or((key, ""));
    let keys: Option<Vec<u64>> =
        keys.split(", ").filter(|key| !key.is_empty()).map(|key| key.parse().ok()).collect();
    Some(Element { name: name.to_owned(), keys: keys?, value: value.parse().ok()? })
}

const TIMER: &str = "irq_vectors:local_timer";

/// Interrupts of which the kernel says when they begin and end, NAME_entry and NAME_exit; no
/// program may watch that which serves the tracers themselves (`irq_work`).
pub const INTERRUPTS: [&str; 6] = [
    TIMER,
    "irq_vectors:reschedule",
    "irq_vectors:call_function",
    "irq_vectors:call_function_single",
    "irq:irq_handler",
    "irq:softirq",
];

/// What has a thread's CPU while the thread could run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Another thread.
    #[default]
    Thread,
    /// The timer of the CPU: a virtual machine has it from its host by another way than the rest.
    Timer,
    /// Another interrupt, or what the kernel does after one.
    Interrupt,
}

impl Cause {
    /// The map that a script keeps the stretches of an interrupt in.
    pub fn map_of_stretches(interrupt: &str) -> &'static str {
        if interrupt == TIMER { "timed" } else { "interrupted" }
    }

    /// What the elements of a map are stretches of.
    pub fn of_map(map: &str) -> Option<Self> {
        match map {
            "timed" => Some(Self::Timer),
            "interrupted" => Some(Self::Interrupt),
            _ => None,
        }
    }
}

/// The map for interrupts that are going on.
pub fn map_of(interrupt: &str) -> &str {
    interrupt.split_once(':').map_or(interrupt, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_with_any_number_of_keys_and_other_lines_are_none() {
        let of =
            |name: &str, keys: &[u64], value| Element { name: name.to_owned(), keys: keys.to_vec(), value };
        assert_eq!(element("@took[17, 123456]: 99"), Some(of("took", &[17, 123_456], 99)));
        assert_eq!(element("@all: 3"), Some(of("all", &[], 3)));
        assert_eq!(element("attached"), None);
        assert_eq!(element("@took[17, x]: 99"), None);
    }
}
