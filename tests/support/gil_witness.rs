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
            if let [tid, start_ns, end_ns, slept] = *numbers {
                attempts.push(Attempt { tid: u32::try_from(tid)?, start_ns, end_ns, slept: slept > 0 });
            }
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

/// An attempt had to wait if it called the wait, or slept for the mutex before it.
fn script(file: &Path, functions: &[TakeGil], pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(|pid| format!("pid == {pid}")).collect();
    let traced = format!("({})", pids.join(" || "));
    let file = file.display();
    let mut text = String::from("BEGIN { printf(\"attached\\n\"); }\n");
    for function in functions {
        if let Some(entry) = function.entry {
            let _ = writeln!(
                text,
                "uprobe:{file}:{:#x} /{traced}/ {{ @in[tid] = nsecs; @waits[tid] = 0; @slept[tid] = 0; }}",
                entry.offset
            );
        }
        for wait in &function.waits {
            let _ = writeln!(text, "uprobe:{file}:{:#x} /@in[tid]/ {{ @waits[tid] = 1; }}", wait.offset);
        }
        for exit in &function.exits {
            let _ = writeln!(
                text,
                "uprobe:{file}:{:#x} /@in[tid]/ {{ if (@waits[tid] || @slept[tid]) {{ \
                 printf(\"%d %lu %lu %d\\n\", tid, @in[tid], nsecs, @slept[tid]); }} @in[tid] = 0; }}",
                exit.offset
            );
        }
    }
    text.push_str(
        "tracepoint:sched:sched_switch /@in[args->prev_pid] && args->prev_state != 0 && args->prev_state != 256/ \
         { @slept[args->prev_pid] = 1; }\nEND { clear(@in); clear(@waits); clear(@slept); }\n",
    );
    text
}
