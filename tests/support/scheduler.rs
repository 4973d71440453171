//! Raw scheduler events, as the kernel's own tracer records them: the witness of who was woken. It knows nothing of
//! wsgi-trace.
//!
//! In: threads. Out: how often the network woke them between marks that a test sets: inside the network's softirq, wherever
//! that ran, or by the test's own thread (a UNIX socket's other end). An instance of tracefs of its own, removed when dropped.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const TRACEFS: &str = "/sys/kernel/tracing";
/// Room for the events of each CPU.
const BUFFER_KIB: &str = "8192";

/// An instance of the tracer that records each wake-up of some threads.
#[derive(Debug)]
pub struct Scheduler {
    instance: PathBuf,
    /// Thread of the test, which is the only client.
    client: String,
}

impl Scheduler {
    /// Records wake-ups of all threads of these processes from now on; `None` where this machine has no tracefs.
    ///
    /// # Errors
    ///
    /// Where the tracer refuses.
    pub fn start(pids: &[u32]) -> anyhow::Result<Option<Self>> {
        let instances = Path::new(TRACEFS).join("instances");
        if !instances.is_dir() {
            return Ok(None);
        }
        let threads = threads_of(pids);
        let number = std::thread::current().id();
        let instance = instances.join(format!("wsgi-trace-{}-{number:?}", std::process::id()));
        fs::create_dir(&instance).context("an instance of the tracer")?;
        // SAFETY: no preconditions.
        let client = format!("-{}", unsafe { libc::gettid() });
        let made = Self { instance, client };
        let filter = threads.iter().map(|tid| format!("pid == {tid}")).collect::<Vec<_>>().join(" || ");
        made.set("buffer_size_kb", BUFFER_KIB)?;
        made.set("events/sched/sched_waking/filter", &filter)?;
        // Vector 3: what arrives from the network, loopback included.
        for name in ["softirq_entry", "softirq_exit"] {
            made.set(&format!("events/irq/{name}/filter"), "vec == 3")?;
            made.set(&format!("events/irq/{name}/enable"), "1")?;
        }
        made.set("events/sched/sched_waking/enable", "1")?;
        made.set("tracing_on", "1")?;
        Ok(Some(made))
    }

    /// From here on wake-ups count.
    ///
    /// # Errors
    ///
    /// Where the mark cannot be written.
    pub fn begin(&self) -> anyhow::Result<()> {
        self.mark("begin")
    }

    /// From here on they do not.
    ///
    /// # Errors
    ///
    /// Where the mark cannot be written.
    pub fn end(&self) -> anyhow::Result<()> {
        self.mark("end")
    }

    /// Wake-ups between marks by what the network did, on whatever CPU it was at it. `None`: events were lost.
    ///
    /// # Errors
    ///
    /// Where the events cannot be read.
    pub fn woken(&self) -> anyhow::Result<Option<u64>> {
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
        let text = fs::read_to_string(self.instance.join("trace"))?;
        let mut counts = false;
        let mut at_the_network: BTreeSet<&str> = BTreeSet::new();
        let mut woken = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let event = Event::of(line)?;
            match event.name {
                "tracing_mark_write" => counts = event.text == "begin",
                "softirq_entry" => drop(at_the_network.insert(event.cpu)),
                "softirq_exit" => drop(at_the_network.remove(event.cpu)),
                "sched_waking" if counts => {
                    woken += u64::from(match event.context {
                        's' => at_the_network.contains(event.cpu),
                        // No interrupt.
                        '.' | 'b' => event.task.ends_with(&self.client),
                        _ => false,
                    });
                }
                _ => {}
            }
        }
        Ok(Some(woken))
    }

    fn mark(&self, text: &str) -> anyhow::Result<()> {
        let mut marker = fs::OpenOptions::new().write(true).open(self.instance.join("trace_marker"))?;
        marker.write_all(text.as_bytes()).context("a mark")
    }

    fn set(&self, file: &str, value: &str) -> anyhow::Result<()> {
        fs::write(self.instance.join(file), value).with_context(|| format!("{file} of the tracer"))
    }
}

/// `COMM-PID [CPU] FLAGS TIME: NAME: TEXT`, of which COMM may hold anything but ` [`.
struct Event<'a> {
    task: &'a str,
    cpu: &'a str,
    /// The third flag: what the CPU was at.
    context: char,
    name: &'a str,
    text: &'a str,
}

impl<'a> Event<'a> {
    fn of(line: &'a str) -> anyhow::Result<Self> {
        let parse = || {
            let (task, rest) = line.split_once(" [")?;
            let (cpu, rest) = rest.split_once("] ")?;
            let (flags, rest) = rest.trim_start().split_once(' ')?;
            let (_, rest) = rest.split_once(": ")?;
            let (name, text) = rest.split_once(": ")?;
            let context = flags.chars().nth(2)?;
            Some(Self { task: task.trim_end(), cpu, context, name: name.trim(), text: text.trim() })
        };
        parse().with_context(|| format!("not an event: {line}"))
    }
}

fn threads_of(pids: &[u32]) -> BTreeSet<u32> {
    let tasks = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    pids.iter()
        .flat_map(tasks)
        .filter_map(|task| task.file_name().to_str().and_then(|tid| tid.parse().ok()))
        .collect()
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.set("tracing_on", "0");
        let _ = self.set("events/enable", "0");
        let _ = fs::remove_dir(&self.instance);
    }
}
