//! Who waited for an interpreter's lock, by probes of another program (bpftrace) at the entry and the return of the
//! function that takes it.
//!
//! In: an interpreter's file and the places of the function in it. Out: attempts that had to wait, to the nanosecond. The
//! probe at the return is single-stepped: it costs the server some 10 µs each time a thread takes the lock.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use wsgi_trace::fact::python::take_gil::TakeGil;

/// One attempt that had to wait: it slept in a futex call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Thread.
    pub tid: u32,
    /// Entry of the function, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// Its return.
    pub end_ns: u64,
    /// It was made by the interpreter's loop, not by a function that takes back what a call had given up, or begins a thread.
    pub is_after_forced: bool,
    /// Stretches of it in which the thread did not run though it could have.
    pub held_up: Vec<HeldUp>,
}

/// A thread was ready to go on and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// From when, `CLOCK_MONOTONIC`.
    pub from_ns: u64,
    /// Until when.
    pub until_ns: u64,
    /// By its saved registers it was inside a futex call. Not looked at of interrupts: one that comes in the rest of a call, behind the
    /// moment that the kernel tells as its end, is no part of a wait either.
    pub is_in_call: bool,
    /// An interrupt had its CPU; else another thread.
    pub is_interrupt: bool,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// In no order.
    pub attempts: Vec<Attempt>,
    /// Attempts that did not sleep.
    pub unhindered: u64,
    /// Median length of those, by the witness's own account: next to all of it is what its two probes add to every attempt.
    pub unhindered_ns: u64,
}

/// How long bpftrace may take to begin to end before it is told again.
const TELL_AGAIN: Duration = Duration::from_secs(2);

/// bpftrace, attached.
#[derive(Debug)]
pub struct Witness {
    child: Child,
    output: PathBuf,
    messages: PathBuf,
    _directory: tempfile::TempDir,
}

impl Witness {
    /// Attaches to the functions in `file` for these processes.
    ///
    /// # Errors
    ///
    /// Where bpftrace is not there or cannot attach.
    pub fn start(file: &Path, functions: &[TakeGil], pids: &[u32]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let (output, messages) = (directory.path().join("out"), directory.path().join("messages"));
        let child = Command::new("bpftrace")
            .args(["--unsafe", "-q", "-e", &script(file, functions, pids)])
            .env("BPFTRACE_MAP_KEYS_MAX", MAP_ELEMENTS.to_string())
            .stdout(File::create(&output)?)
            .stderr(File::create(&messages)?)
            .stdin(Stdio::null())
            .spawn()
            .context("bpftrace cannot be run")?;
        let mut witness = Self { child, output, messages, _directory: directory };
        let until = Instant::now() + Duration::from_secs(60);
        while !witness.has_line("attached")? {
            ensure!(witness.child.try_wait()?.is_none(), "bpftrace ended: {}", witness.said());
            ensure!(Instant::now() < until, "bpftrace does not attach: {}", witness.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(witness)
    }

    fn has_line(&self, wanted: &str) -> anyhow::Result<bool> {
        let lines = BufReader::new(File::open(&self.output)?).lines();
        Ok(lines.map_while(Result::ok).any(|line| line == wanted))
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.messages).unwrap_or_default()
    }

    /// Ends it, and gives what it saw.
    ///
    /// # Errors
    ///
    /// Where it lost something.
    pub fn finish(mut self) -> anyhow::Result<Seen> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        let until = Instant::now() + Duration::from_secs(60);
        let mut told = Instant::now() - TELL_AGAIN;
        let mut is_ending = false;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "bpftrace does not end");
            is_ending = is_ending || self.has_line("ending")?;
            // It looks for the signal only where that interrupts its sleep, and can miss it.
            if !is_ending && told.elapsed() >= TELL_AGAIN {
                // SAFETY: a signal to our own child.
                unsafe { libc::kill(pid, libc::SIGINT) };
                told = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let messages = self.said();
        if messages.contains("Lost") {
            bail!("bpftrace lost events: {messages}");
        }
        let mut seen = Seen::default();
        let mut held_up: HashMap<u32, Vec<HeldUp>> = HashMap::new();
        let mut unhindered: BTreeMap<u64, u64> = BTreeMap::new();
        let mut of_map: HashMap<String, usize> = HashMap::new();
        for line in BufReader::new(File::open(&self.output)?).lines() {
            let line = line?;
            let Some((name, keys, value)) = entry(&line) else { continue };
            let elements = of_map.entry(name.to_owned()).or_default();
            *elements += 1;
            ensure!(*elements < MAP_ELEMENTS, "bpftrace has no more room for what {name}");
            match (name, &*keys) {
                ("took", [tid, start_ns]) => seen.attempts.push(Attempt {
                    tid: u32::try_from(*tid)?,
                    start_ns: *start_ns,
                    end_ns: value >> 1,
                    is_after_forced: value & 1 == 0,
                    held_up: Vec::new(),
                }),
                ("preempted" | "preempted_in_call" | "interrupted", [tid, from_ns]) => {
                    held_up.entry(u32::try_from(*tid)?).or_default().push(HeldUp {
                        from_ns: *from_ns,
                        until_ns: value,
                        is_in_call: name == "preempted_in_call",
                        is_interrupt: name == "interrupted",
                    });
                }
                ("free", [bucket]) => {
                    unhindered.insert(*bucket, value);
                }
                _ => {}
            }
        }
        for attempt in &mut seen.attempts {
            let of_thread = held_up.get(&attempt.tid).into_iter().flatten();
            attempt.held_up = of_thread
                .filter(|of| of.from_ns >= attempt.start_ns && of.until_ns <= attempt.end_ns)
                .copied()
                .collect();
        }
        seen.unhindered = unhindered.values().sum();
        let mut before = 0;
        let median = unhindered.iter().find(|(_, count)| {
            before += **count;
            before * 2 >= seen.unhindered
        });
        seen.unhindered_ns = median.map_or(0, |(bucket, _)| bucket * BUCKET_NS);
        Ok(seen)
    }
}

/// An element of a map as bpftrace prints it at its end: name, keys, value.
fn entry(line: &str) -> Option<(&str, Vec<u64>, u64)> {
    let (key, value) = line.strip_prefix('@')?.split_once(": ")?;
    let (name, keys) = key.strip_suffix(']').and_then(|key| key.split_once('[')).unwrap_or((key, ""));
    let keys: Option<Vec<u64>> =
        keys.split(", ").filter(|key| !key.is_empty()).map(|key| key.parse().ok()).collect();
    Some((name, keys?, value.parse().ok()?))
}

/// The number of the call that a thread is in by its saved registers, at the end of its kernel stack: `THREAD_SIZE` less
/// `struct pt_regs`, and `orig_ax` in it (arch/x86/include/asm). Where it lay elsewhere, no attempt would have slept.
const CALL: &str = "*(int64 *)((uint64)((struct task_struct *)curtask)->stack + 16384 - 168 + 120)";

/// `__NR_futex` of `x86_64`.
const FUTEX: i64 = 202;

/// Room of each of its maps.
const MAP_ELEMENTS: usize = 1 << 18;

/// Width of a bucket of lengths, and how many there are.
const BUCKET_NS: u64 = 10;
const BUCKETS: u64 = 2000;

/// Interrupts of which the kernel says when they begin and end, NAME_entry and NAME_exit; no
/// program may watch that which serves the tracers themselves (`irq_work`).
const INTERRUPTS: [&str; 6] = [
    "irq_vectors:local_timer",
    "irq_vectors:reschedule",
    "irq_vectors:call_function",
    "irq_vectors:call_function_single",
    "irq:irq_handler",
    "irq:softirq",
];

/// An attempt had to wait if it slept in a futex call. Where it begins, nothing but the time is written, and nothing is attached
/// to calls, so that little of the witness's own work lies within what it measures and not within what the profiler does. All is
/// kept until the end: a reader that is woken while threads wait takes their cores, and who is told of that is woken again.
fn script(file: &Path, functions: &[TakeGil], pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(|pid| format!("pid == {pid}")).collect();
    let traced = format!("({})", pids.join(" || "));
    let file = file.display();
    let mut text = String::from("BEGIN { printf(\"attached\\n\"); }\n");
    for function in functions {
        if let Some(entry) = function.entry {
            let _ = writeln!(text, "uprobe:{file}:{:#x} /{traced}/ {{ @in[tid] = nsecs; }}", entry.offset);
        }
        for exit in &function.exits {
            let _ = writeln!(
                text,
                "uprobe:{file}:{:#x} /@in[tid]/ {{ $now = nsecs; if (@slept[tid]) {{ \
                 @took[tid, @in[tid]] = ($now << 1) | @restores[tid]; @slept[tid] = 0; }} \
                 else {{ $bucket = ($now - @in[tid]) / {BUCKET_NS}; if ($bucket < {BUCKETS}) {{ @free[$bucket] = count(); }} }} \
                 @restores[tid] = 0; @in[tid] = 0; }}",
                exit.offset
            );
        }
    }
    for function in ["PyEval_RestoreThread", "PyEval_AcquireThread"] {
        let _ = writeln!(text, "uprobe:{file}:{function} /{traced}/ {{ @restores[tid] = 1; }}");
    }
    // A state of 0 or 256: it was ready to go on.
    let _ = writeln!(
        text,
        "tracepoint:sched:sched_switch {{ \
         if (@in[args->prev_pid]) {{ $call = {CALL}; \
         if (args->prev_state == 0 || args->prev_state == 256) {{ \
         @gone[args->prev_pid] = nsecs; @called[args->prev_pid] = $call == {FUTEX} ? 1 : 0; }} \
         else if ($call == {FUTEX}) {{ @slept[args->prev_pid] = 1; }} }} \
         $gone = @gone[args->next_pid]; \
         if ($gone) {{ @gone[args->next_pid] = 0; \
         if (@called[args->next_pid]) {{ @preempted_in_call[args->next_pid, $gone] = nsecs; }} \
         else {{ @preempted[args->next_pid, $gone] = nsecs; }} }} }}"
    );
    for name in INTERRUPTS {
        let map = map_of(name);
        let _ = writeln!(
            text,
            "tracepoint:{name}_entry /@in[tid]/ {{ @{map}[tid] = nsecs; }}\n\
             tracepoint:{name}_exit /@{map}[tid]/ {{ @interrupted[tid, @{map}[tid]] = nsecs; @{map}[tid] = 0; }}"
        );
    }
    text.push_str("END { printf(\"ending\\n\"); clear(@in); clear(@slept); clear(@gone); clear(@called); clear(@restores);");
    for name in INTERRUPTS {
        let _ = write!(text, " clear(@{});", map_of(name));
    }
    text.push_str(" }\n");
    text
}

/// The map for interrupts that are going on.
fn map_of(interrupt: &str) -> &str {
    interrupt.split_once(':').map_or(interrupt, |(_, name)| name)
}
