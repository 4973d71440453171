//! Raw scheduler events, as the kernel's own tracer records them: the witness of who was woken. It knows
//! nothing of wsgi-trace.
//!
//! In: threads. Out: how often the network woke them between marks that a test sets: inside the network's
//! softirq, wherever that ran, or by the test's own thread (a UNIX socket's other end). An instance of
//! tracefs of its own, removed when dropped.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;

use crate::tracer::Tracer;

/// Room for the events of each CPU.
const BUFFER_KIB: &str = "8192";

/// How often threads were woken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// By what the network did.
    pub by_network: u64,
    /// By an interrupt: a timeout of their own. Who is awake then is not woken by a connection that comes
    /// meanwhile.
    pub by_timers: u64,
    /// The tracer's lines of each stretch between marks in which the network woke one thread more than once.
    pub more_than_once: Vec<String>,
}

/// An instance of the tracer that records each wakeup of some threads.
#[derive(Debug)]
pub struct Scheduler {
    tracer: Tracer,
    /// Thread of the test, which is the only client.
    client: String,
}

impl Scheduler {
    /// Records wakeups of all threads of these processes from now on.
    ///
    /// # Errors
    ///
    /// Where the tracer refuses.
    pub fn start(pids: &[u32]) -> anyhow::Result<Self> {
        let tracer = Tracer::make("wakeups")?;
        // SAFETY: no preconditions.
        let client = format!("-{}", unsafe { libc::gettid() });
        let made = Self { tracer, client };
        let filter =
            threads_of(pids).iter().map(|tid| format!("pid == {tid}")).collect::<Vec<_>>().join(" || ");
        made.tracer.set("buffer_size_kb", BUFFER_KIB)?;
        made.tracer.set("events/sched/sched_waking/filter", &filter)?;
        // Vector 3: what arrives from the network, loopback included.
        for name in ["softirq_entry", "softirq_exit"] {
            made.tracer.set(&format!("events/irq/{name}/filter"), "vec == 3")?;
            made.tracer.set(&format!("events/irq/{name}/enable"), "1")?;
        }
        made.tracer.set("events/sched/sched_waking/enable", "1")?;
        made.tracer.set("tracing_on", "1")?;
        Ok(made)
    }

    /// From here on wakeups count.
    ///
    /// # Errors
    ///
    /// Where the mark cannot be written.
    pub fn begin(&self) -> anyhow::Result<()> {
        self.tracer.mark("begin")
    }

    /// From here on they do not.
    ///
    /// # Errors
    ///
    /// Where the mark cannot be written.
    pub fn end(&self) -> anyhow::Result<()> {
        self.tracer.mark("end")
    }

    /// Wakeups between marks, on whatever CPU.
    ///
    /// # Errors
    ///
    /// Where events were lost or cannot be read.
    pub fn woken(&self) -> anyhow::Result<Woken> {
        let text = self.tracer.end()?.context("the tracer lost events")?;
        let mut counts = false;
        let mut at_the_network: BTreeSet<&str> = BTreeSet::new();
        let mut woken = Woken::default();
        let mut stretch = Stretch::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let event = Event::of(line)?;
            if counts {
                stretch.lines.push(line.to_owned());
            }
            match event.name {
                "tracing_mark_write" => {
                    counts = event.text == "begin";
                    woken.more_than_once.extend(std::mem::take(&mut stretch).more_than_once());
                }
                "softirq_entry" => drop(at_the_network.insert(event.cpu)),
                "softirq_exit" => drop(at_the_network.remove(event.cpu)),
                "sched_waking" if counts => {
                    let (by_network, by_timers) = match event.context {
                        's' => (at_the_network.contains(event.cpu), false),
                        // No interrupt.
                        '.' | 'b' => (event.task.ends_with(&self.client), false),
                        'h' | 'H' => (false, true),
                        _ => (false, false),
                    };
                    woken.by_network += u64::from(by_network);
                    woken.by_timers += u64::from(by_timers);
                    if by_network {
                        stretch.woken.push(event.woken().to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(woken)
    }
}

/// What happened between two marks.
#[derive(Debug, Default)]
struct Stretch {
    /// Threads that the network woke.
    woken: Vec<String>,
    lines: Vec<String>,
}

impl Stretch {
    /// Its lines, where a thread was woken more than once.
    fn more_than_once(self) -> Vec<String> {
        let distinct: BTreeSet<&String> = self.woken.iter().collect();
        if distinct.len() == self.woken.len() { Vec::new() } else { self.lines }
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

    /// Thread that is woken: `comm=NAME pid=TID prio=…`, of which NAME may hold anything.
    fn woken(&self) -> &'a str {
        let tid = self.text.rsplit_once(" pid=").and_then(|(_, rest)| rest.split_ascii_whitespace().next());
        tid.unwrap_or(self.text)
    }
}

/// Every thread that these processes have now.
pub fn threads_of(pids: &[u32]) -> BTreeSet<u32> {
    let tasks = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    pids.iter()
        .flat_map(tasks)
        .filter_map(|task| task.file_name().to_str().and_then(|tid| tid.parse().ok()))
        .collect()
}
