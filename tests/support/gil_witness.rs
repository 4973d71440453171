//! Who waited for an interpreter's lock, by probes of another program (bpftrace) at the entry and the return of the
//! function that takes it.
//!
//! In: an interpreter's file and the places of the function in it. Out: attempts that had to wait, to the nanosecond. The
//! probe at the return is single-stepped: it costs the server some 10 µs each time a thread takes the lock.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use wsgi_trace::fact::python::take_gil::TakeGil;

/// One attempt that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Thread.
    pub tid: u32,
    /// Entry of the function, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// Its return.
    pub end_ns: u64,
    /// Whether it slept: it may have found the lock free at the last moment.
    pub slept: bool,
    /// Entry of its first call that waits.
    pub first_call_ns: u64,
    /// Entry of the first call in which it left its CPU, and exit of its last call, whatever it does; zeroes where there is none.
    pub calls_ns: (u64, u64),
    /// It was made by the interpreter's loop, not by a function that takes back what a call had given up, or begins a thread.
    pub is_after_forced: bool,
    /// For how long it was kept off its CPU outside of calls: before the first of them, between them, after the last.
    pub off_cpu_ns: [u64; 3],
}

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
            .env("BPFTRACE_PERF_RB_PAGES", "1024")
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
    pub fn finish(mut self) -> anyhow::Result<Vec<Attempt>> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(pid, libc::SIGINT) };
        self.child.wait()?;
        let messages = self.said();
        if messages.contains("Lost") {
            bail!("bpftrace lost events: {messages}");
        }
        let mut attempts = Vec::new();
        for line in BufReader::new(File::open(&self.output)?).lines() {
            let line = line?;
            let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
            let [
                tid,
                start_ns,
                end_ns,
                slept,
                first_call_ns,
                asleep_ns,
                last_ns,
                before_ns,
                between_ns,
                after_ns,
                restores,
            ] = *numbers
            else {
                continue;
            };
            attempts.push(Attempt {
                tid: u32::try_from(tid)?,
                start_ns,
                end_ns,
                slept: slept > 0,
                first_call_ns,
                calls_ns: (asleep_ns, last_ns),
                is_after_forced: restores == 0,
                off_cpu_ns: [before_ns, between_ns, after_ns],
            });
        }
        Ok(attempts)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An attempt had to wait if it made a call that waits, or slept. What is noted of a thread is cleared as it leaves: where it
/// begins, nothing but the time is written, so that little of the witness's own work lies within what it measures.
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
                "uprobe:{file}:{:#x} /@in[tid]/ {{ $now = nsecs; if (@first[tid]) {{ \
                 printf(\"%d %lu %lu %d %lu %lu %lu %lu %lu %lu %d\\n\", tid, @in[tid], $now, @slept[tid], @first[tid], \
                 @asleep[tid], @last[tid], @before[tid], @between[tid], @after[tid], @restores[tid]); \
                 @slept[tid] = 0; @first[tid] = 0; @asleep[tid] = 0; @last[tid] = 0; @call[tid] = 0; \
                 @before[tid] = 0; @between[tid] = 0; @after[tid] = 0; }} \
                 @restores[tid] = 0; @in[tid] = 0; }}",
                exit.offset
            );
        }
    }
    for function in ["PyEval_RestoreThread", "PyEval_AcquireThread"] {
        let _ = writeln!(text, "uprobe:{file}:{function} /{traced}/ {{ @restores[tid] = 1; }}");
    }
    // Waits are 0 and 9 without their flags: who wakes somebody does not sleep.
    text.push_str(
        "tracepoint:syscalls:sys_enter_futex /@in[tid]/ { $now = nsecs; $op = args->op & 127; \
         if (@first[tid]) { @between[tid] = @between[tid] + @after[tid]; @after[tid] = 0; } \
         @call[tid] = $now; if (($op == 0 || $op == 9) && @first[tid] == 0) { @first[tid] = $now; } }\n\
         tracepoint:syscalls:sys_exit_futex /@call[tid]/ { @call[tid] = 0; @last[tid] = nsecs; }\n\
         tracepoint:sched:sched_switch { \
         if (@in[args->prev_pid]) { \
         if (args->prev_state != 0 && args->prev_state != 256) { @slept[args->prev_pid] = 1; } \
         if (@call[args->prev_pid]) { \
         if (@asleep[args->prev_pid] == 0) { @asleep[args->prev_pid] = @call[args->prev_pid]; } } \
         else { @gone[args->prev_pid] = nsecs; } } \
         if (@gone[args->next_pid]) { $away = nsecs - @gone[args->next_pid]; @gone[args->next_pid] = 0; \
         if (@first[args->next_pid]) { @after[args->next_pid] = @after[args->next_pid] + $away; } \
         else { @before[args->next_pid] = @before[args->next_pid] + $away; } } }\n\
         END { clear(@in); clear(@slept); clear(@first); clear(@asleep); clear(@last); clear(@call); \
         clear(@gone); clear(@before); clear(@between); clear(@after); clear(@restores); }\n",
    );
    text
}
