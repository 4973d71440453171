//! Which server a program of one's own has started, read off the frames of its threads.
//!
//! In: a process that listens, its threads. Out: [`ServedBy`]. A thread's frames count only if it slept all
//! the while: it sleeps before and after, and was not switched in between. One that is awake is asked a few
//! times; what cannot be read is not known.

use std::time::{Duration, Instant};

use profiler_core::fact::{ProcessSeen, ServedBy};
use profiler_core::server::program;

use super::process::distribution_version;
use super::python::place::PlaceReader;
use super::{Proc, read};

/// Threads that are looked at: the main thread and the first of the others.
const MAX_THREADS: usize = 256;
/// How long it may take for all processes together.
const MAX_TIME: Duration = Duration::from_millis(40);
/// A thread that is awake is asked again after so long.
const AGAIN: Duration = Duration::from_millis(1);
/// How often.
const MAX_ROUNDS: usize = 8;
/// Bytes of `/proc/PID/task/TID/status`.
const MAX_STATUS_BYTES: u64 = 16 * 1024;

/// Notes which server each of these processes runs; `listens`: whether it holds a listening socket.
pub(super) fn note(proc: &Proc, processes: &mut [ProcessSeen], listens: impl Fn(u32) -> bool) {
    let until = Instant::now() + MAX_TIME;
    let mut places = PlaceReader::default();
    for process in processes.iter_mut().filter(|one| one.python_version.is_some() && listens(one.tgid)) {
        process.served_by = served_by(proc, process, &mut places, until);
        if let Some(served) = &process.served_by {
            let distribution = program::distribution(&served.server);
            process.server_version =
                distribution.and_then(|name| distribution_version(proc, process.tgid, name));
        }
    }
}

fn served_by(
    proc: &Proc,
    process: &ProcessSeen,
    places: &mut PlaceReader,
    until: Instant,
) -> Option<ServedBy> {
    let all: Vec<u32> = process.threads.iter().map(|(tid, _)| *tid).collect();
    let mut left: Vec<u32> = all.iter().copied().take(MAX_THREADS).collect();
    let mut stacks = Vec::new();
    for round in 0..MAX_ROUNDS {
        if round > 0 {
            std::thread::sleep(AGAIN);
        }
        left.retain(|tid| {
            if Instant::now() > until {
                return true;
            }
            let Some(before) = asleep(proc, process.tgid, *tid) else { return true };
            let stack = places.functions(proc, process.tgid, *tid);
            if asleep(proc, process.tgid, *tid) != Some(before) {
                return true;
            }
            stacks.extend(stack);
            false
        });
        if left.is_empty() || Instant::now() > until {
            break;
        }
    }
    program::told(&stacks, left.is_empty() && all.len() <= MAX_THREADS)
}

/// How often a thread that sleeps was switched out so far; `None`: it does not sleep, or is gone.
fn asleep(proc: &Proc, tgid: u32, tid: u32) -> Option<(u64, u64)> {
    let status = read::text(&proc.of(tgid, &format!("task/{tid}/status")), MAX_STATUS_BYTES).ok()?;
    let value = |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim());
    let sleeps = value("State:")?.starts_with(['S', 'D', 'T', 't']);
    let count = |name: &str| value(name)?.parse().ok();
    let counts = (count("voluntary_ctxt_switches:")?, count("nonvoluntary_ctxt_switches:")?);
    sleeps.then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_that_sleeps_has_counts_and_one_that_runs_or_is_gone_has_none() {
        let pid = std::process::id();
        let (send, sleeps) = std::sync::mpsc::channel::<()>();
        let (told, tid) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            told.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).expect("told");
            let _ = sleeps.recv();
        });
        let tid = tid.recv().expect("its number");
        let proc = Proc::default();
        let asleep = || asleep(&proc, pid, tid);
        let begun = Instant::now();
        while asleep().is_none() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(AGAIN);
        }
        assert!(asleep().is_some() && asleep() == asleep());
        let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        assert_eq!(super::asleep(&proc, pid, own), None, "it runs: it asks");
        drop(send);
        thread.join().expect("ends");
        assert_eq!(asleep(), None);
    }
}
