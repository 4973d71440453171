//! Tasks on one loop that note what tells them from one another (`apps/task_names.py`), and what the kernel
//! side told of whose each call is.
//!
//! In: an interpreter, a kind of tasks. Out: how many of their calls were told right.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use profiler_common::system_call::{EPOLL_PWAIT, EPOLL_PWAIT2, EPOLL_WAIT, RECVFROM, SENDTO};
use profiler_core::fact::TaskKind;
use serde::Deserialize;
use wsgi_trace::attach::Settings;
use wsgi_trace::fact::Proc;
use wsgi_trace::fact::python::Interpreters;
use wsgi_trace::source::live::FollowedLocks;

use crate::child::Child;
use crate::kernel_trace::{KernelTrace, Records};

/// What runs.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// `asyncio`, `asyncio-greenlet` (greenlets are loaded), `uvloop`, `gevent` or `eventlet`; `threads`: no
    /// greenlets, but threads, which have stacks of frames of their own as well.
    pub kind: &'static str,
    /// Tasks.
    pub tasks: usize,
    /// How often each writes and reads.
    pub rounds: usize,
    /// Other threads, which compute meanwhile and so take the lock from the loop's.
    pub threads: usize,
}

/// What one task noted of itself.
#[derive(Debug, Deserialize)]
struct Note {
    fds: [u64; 2],
    task: u64,
}

/// How the calls were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Calls of tasks that were told to be the task's that made them.
    pub right: usize,
    /// Those told to be another's.
    pub wrong: usize,
    /// Those before anything was told of the thread. It had not waited yet, or another thread took the lock
    /// each time between its giving it up and its call. So its own state was not found yet.
    pub before: usize,
    /// Waits of the loop itself that were told to be a task's.
    pub waits_wrong: usize,
    /// Records of tasks.
    pub records: usize,
}

/// Has the tasks of `work` run under the program that `command` starts, and compares.
///
/// # Errors
///
/// Where it does not run, nothing can be attached, or its tasks cannot be read.
pub fn compare(mut command: Command, work: Work) -> anyhow::Result<Told> {
    let Work { kind, tasks, rounds, threads } = work;
    command.arg(crate::root().join("tests/apps/task_names.py")).arg(kind);
    command.args([tasks, rounds, threads].map(|number| number.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Child::start(&mut command, "the program with tasks")?;
    let mut output = BufReader::new(child.take_stdout().context("no output")?).lines();
    let mut input = child.take_stdin().context("no input")?;
    ensure!(output.next().context("it did not come up")?? == "ready");

    let mut trace = KernelTrace::start(child.pid(), &Settings::default())?;
    let mut looked = Interpreters::default().look(&Proc::default(), child.pid())?;
    if kind == "threads" {
        looked.seen.tasks = Some(TaskKind::Greenlets);
    }
    let followed = FollowedLocks::of(&looked, false).context("no interpreter")?;
    ensure!(followed.tasks.is_some(), "tasks are not read: {:?}", looked.seen);
    trace.source.follow_locks(child.pid(), &followed);
    writeln!(input)?;
    let notes: Vec<Note> = serde_json::from_str(&output.next().context("no notes")??)?;
    ensure!(notes.len() == tasks);
    let calls = tasks * rounds;
    trace.until("the calls of all tasks", |records| {
        (records.calls(SENDTO).count() >= calls && records.calls(RECVFROM).count() >= calls).then_some(())
    })?;
    let lost = trace.source.counters().lost;
    // A wakeup that was not seen is no record that was lost.
    ensure!(lost.iter().all(|(name, _)| name == "wake_missed"), "lost: {lost:?}");
    Ok(judge(&trace.records, &notes, kind != "threads"))
}

fn judge(records: &Records, notes: &[Note], has_one_loop: bool) -> Told {
    let at = |tid: u32, time_ns: u64| (tid, time_ns);
    let told: BTreeMap<(u32, u64), u64> = records
        .tasks
        .iter()
        .map(|record| (at(record.header.tid, record.header.time_ns), record.task))
        .collect();
    let is_wait = |call: u32| matches!(call, EPOLL_WAIT | EPOLL_PWAIT | EPOLL_PWAIT2);
    let mut result = Told { records: records.tasks.len(), ..Told::default() };
    for slice in &records.slices {
        let tid = slice.header.tid;
        let of = told.range(at(tid, 0)..=at(tid, slice.enter_ns)).next_back().map(|(_, task)| *task);
        match u32::from(slice.system_call) {
            SENDTO | RECVFROM => {
                let [fd, ..] = slice.detail;
                let Some(note) = notes.iter().find(|note| note.fds.contains(&fd)) else { continue };
                match of {
                    Some(task) if task == note.task => result.right += 1,
                    Some(_) => result.wrong += 1,
                    None => result.before += 1,
                }
            }
            call if is_wait(call) && has_one_loop => {
                result.waits_wrong += usize::from(notes.iter().any(|note| Some(note.task) == of));
            }
            _ => {}
        }
    }
    result
}
