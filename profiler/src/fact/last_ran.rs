//! For how long threads have not run, also those that stopped before anybody looked.
//!
//! In: `/proc/PID/task/TID/sched`. Out: nanoseconds by thread, at least: `se.exec_start` is when a thread
//! ran last, by the clock of its CPU. That one stands while a hypervisor has the CPU, and on some kernels in
//! interrupts. So it is held against the same clock now: a thread of ours goes to that CPU and reads its own.

use std::collections::BTreeMap;

use procfs::FromRead as _;
use procfs::process::Stat;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use super::{Proc, read};

/// Bytes of `sched` that are read: `se.exec_start` stands in the first lines.
const MAX_BYTES: u64 = 4096;
/// Threads that are looked at.
const MAX_THREADS: usize = 4096;

/// For how long these threads have not run, at least; those of which it is not known are missing. That they
/// sleep is for the caller to check.
pub fn not_run_ns(proc: &Proc, threads: &[(u32, u32)]) -> BTreeMap<u32, u64> {
    let proc = proc.clone();
    let threads: Vec<(u32, u32)> = threads.iter().copied().take(MAX_THREADS).collect();
    // Where a thread may run is its own: nobody else's changes.
    let thread = std::thread::Builder::new().name("last-ran".to_owned());
    let asked = thread.spawn(move || ask(&proc, &threads));
    asked.ok().and_then(|asked| asked.join().ok()).unwrap_or_default()
}

fn ask(proc: &Proc, threads: &[(u32, u32)]) -> BTreeMap<u32, u64> {
    let mut by_cpu: BTreeMap<usize, Vec<(u32, u64)>> = BTreeMap::new();
    for (tgid, tid) in threads {
        if let (Some(cpu), Some(ran_ns)) = (cpu(proc, *tgid, *tid), ran_ns(proc, *tgid, *tid)) {
            by_cpu.entry(cpu).or_default().push((*tid, ran_ns));
        }
    }
    let mut result = BTreeMap::new();
    for (cpu, ran) in by_cpu {
        let Some(now_ns) = clock_ns(proc, cpu) else { continue };
        result.extend(ran.into_iter().map(|(tid, ran_ns)| (tid, now_ns.saturating_sub(ran_ns))));
    }
    result
}

/// The clock of a CPU, by when this thread ran there last: just now.
fn clock_ns(proc: &Proc, cpu: usize) -> Option<u64> {
    if cpu >= CpuSet::MAX_CPU {
        return None;
    }
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).ok()?;
    let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    let now_ns = ran_ns(proc, std::process::id(), own)?;
    (sched_getcpu() == cpu).then_some(now_ns)
}

/// The CPU on which a thread ran last.
fn cpu(proc: &Proc, tgid: u32, tid: u32) -> Option<usize> {
    let bytes = read::bytes(&proc.of(tgid, &format!("task/{tid}/stat")), MAX_BYTES).ok()?;
    usize::try_from(Stat::from_read(bytes.as_slice()).ok()?.processor?).ok()
}

/// When a thread ran last, by the clock of its CPU.
fn ran_ns(proc: &Proc, tgid: u32, tid: u32) -> Option<u64> {
    exec_start_ns(&read::text(&proc.of(tgid, &format!("task/{tid}/sched")), MAX_BYTES).ok()?)
}

/// `se.exec_start` in milliseconds with six digits behind the point. The name of the thread, in the first
/// line, is hostile.
fn exec_start_ns(sched: &str) -> Option<u64> {
    let line = sched.lines().skip(1).find_map(|line| line.strip_prefix("se.exec_start"))?;
    let (ms, fraction) = line.trim_start().strip_prefix(':')?.trim().split_once('.')?;
    let fraction: u64 = if fraction.len() == 6 { fraction.parse().ok()? } else { return None };
    ms.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moment_is_read_in_milliseconds_with_six_digits() {
        let of =
            |line: &str| exec_start_ns(&format!("python (7, #threads: 1)\n---\n{line}\nse.vruntime : 1.0\n"));
        assert_eq!(
            of("se.exec_start                                :      84609666.777548"),
            Some(84_609_666_777_548)
        );
        assert_eq!(of("se.exec_start : 1.5"), None);
        assert_eq!(of("se.exec_start : -1.000000"), None);
        assert_eq!(of("se.vruntime : 1.000000"), None);
        assert_eq!(exec_start_ns("se.exec_start : 1.000000 (7, #threads: 1)\n"), None, "a name");
    }

    #[test]
    fn thread_that_sleeps_has_not_run_for_as_long_at_least_and_no_longer() {
        let (send, wait) = std::sync::mpsc::channel::<()>();
        let (told, tid) = std::sync::mpsc::channel();
        let began = std::time::Instant::now();
        let thread = std::thread::spawn(move || {
            told.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).expect("told");
            let _ = wait.recv();
        });
        let tid = tid.recv().expect("its number");
        std::thread::sleep(Duration::from_millis(200));
        let pid = std::process::id();
        let found = not_run_ns(&Proc::default(), &[(pid, tid), (pid, u32::MAX)]);
        let most_ns = u64::try_from(began.elapsed().as_nanos()).expect("short");
        // Not every kernel has that file.
        if let Some(slept_ns) = found.get(&tid) {
            assert!((1..=most_ns).contains(slept_ns), "{slept_ns} of {most_ns}");
        }
        assert!(!found.contains_key(&u32::MAX));
        drop(send);
        thread.join().expect("ends");
    }
}
