//! Coroutines that note when their sleeps were due (`apps/late_timers.py`), and what the kernel side told of
//! timers that came due while their loop was busy.
//!
//! In: an interpreter. Out: how many of them were told, and right.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use profiler_common::record::timer::TimerRecord;
use serde::Deserialize;
use wsgi_trace::attach::Settings;
use wsgi_trace::fact::Proc;
use wsgi_trace::fact::python::{Interpreters, timers};
use wsgi_trace::source::live::FollowedLocks;

use crate::child::{Child, until};
use crate::kernel_trace::KernelTrace;

/// Coroutines, and how often each sleeps.
const SLEEPERS: usize = 5;
const ROUNDS: usize = 30;
/// A sleep was surely due while the loop was busy if it was so long before that was over.
const SURELY_NS: u64 = 5_000_000;

#[derive(Debug, Deserialize)]
struct Notes {
    sleeps: Vec<Sleep>,
    busy: Vec<(u64, u64)>,
}

#[derive(Debug, Deserialize)]
struct Sleep {
    task: u64,
    due_ns: u64,
    resumed_ns: u64,
}

impl Sleep {
    /// Whether a record may be of this sleep.
    const fn may_be(&self, record: &TimerRecord) -> bool {
        record.task == self.task && self.due_ns <= record.due_ns && record.due_ns <= self.resumed_ns
    }

    /// Whether it surely came due while the loop was busy.
    fn is_late(&self, busy: &[(u64, u64)]) -> bool {
        busy.iter().any(|(begin_ns, end_ns)| *begin_ns <= self.due_ns && self.due_ns + SURELY_NS < *end_ns)
    }
}

/// What was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Timers that were told, each of a sleep that its task noted.
    pub right: usize,
    /// Those that no task noted.
    pub wrong: usize,
    /// Sleeps that came due while the loop was busy.
    pub late: usize,
    /// Those of them that were not told.
    pub missed: usize,
}

/// Has the coroutines run under the program that `command` starts, and compares.
///
/// # Errors
///
/// Where it does not run, nothing can be attached, or the loop is not found.
pub fn compare(mut command: Command) -> anyhow::Result<Told> {
    command.arg(crate::root().join("tests/apps/late_timers.py"));
    command.args([SLEEPERS, ROUNDS].map(|number| number.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Child::start(&mut command, "the program with timers")?;
    let mut output = BufReader::new(child.take_stdout().context("no output")?).lines();
    let mut input = child.take_stdin().context("no input")?;
    ensure!(output.next().context("it did not come up")?? == "ready");

    let mut trace = KernelTrace::start(child.pid(), &Settings::default())?;
    let proc = Proc::default();
    let looked = Interpreters::default().look(&proc, child.pid())?;
    let followed = FollowedLocks::of(&looked, false).context("no interpreter")?;
    trace.source.follow_locks(child.pid(), &followed);
    let way = until("the loop", Duration::from_secs(5), || {
        Ok(timers::find(&proc, child.pid(), &looked.seen, None))
    })?;
    ensure!(timers::find(&proc, child.pid(), &looked.seen, Some(way)) == Some(way), "it is there no more");
    trace.source.follow_timers(child.pid(), way);
    writeln!(input)?;
    let notes: Notes = serde_json::from_str(&output.next().context("no notes")??)?;
    trace.collect()?;
    let told = &trace.records.timers;
    let is_right = |record: &&TimerRecord| notes.sleeps.iter().any(|sleep| sleep.may_be(record));
    let right = told.iter().filter(is_right).count();
    let late: Vec<&Sleep> = notes.sleeps.iter().filter(|sleep| sleep.is_late(&notes.busy)).collect();
    let missed = late.iter().filter(|sleep| !told.iter().any(|record| sleep.may_be(record))).count();
    Ok(Told { right, wrong: told.len() - right, late: late.len(), missed })
}
