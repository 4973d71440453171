//! CPU time used, exact to the nanosecond: of processes, and of the whole machine.
//!
//! In: the scheduler's clocks. Out: differences over a window.

use std::time::Instant;

/// Descendants of a process, itself first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut pids = vec![root];
    let mut next = 0;
    while let Some(pid) = pids.get(next).copied() {
        next += 1;
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    pids
}

/// CPU time of a process, threads that have ended included; 0 where it is gone.
pub(crate) fn process_ns(pid: u32) -> u64 {
    let Ok(pid) = i32::try_from(pid) else { return 0 };
    // What clock_getcpuclockid makes of a PID: its complement, and 2 for the scheduler's own nanoseconds.
    let clock: libc::clockid_t = (!pid << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a local value of the right type.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if status != 0 {
        return 0;
    }
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// CPU time of all processes of the machine: the root cgroup's where there is one, otherwise in ticks of 10
/// ms.
pub(crate) fn machine_ns() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if let Ok(ns) = read("/sys/fs/cgroup/cpuacct/cpuacct.usage").trim().parse() {
        return ns;
    }
    let busy = read("/proc/stat").lines().next().map_or(0, |line| {
        let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        ticks.iter().take(7).sum::<u64>().saturating_sub(idle)
    });
    busy * 10_000_000
}

/// CPU time that others than `ours` use of the machine now, as a share of one core, over a tenth of a second.
pub(crate) fn disturbance() -> f64 {
    let (start, before) = (Instant::now(), machine_ns());
    std::thread::sleep(std::time::Duration::from_millis(100));
    machine_ns().saturating_sub(before) as f64 / start.elapsed().as_nanos() as f64
}

/// Ticks of one CPU so far: idle ones, and all.
#[derive(Clone, Copy, Debug)]
struct Idle {
    idle: u64,
    all: u64,
}

impl Idle {
    /// Share of the idle ones since then; 1 where no tick has passed.
    fn since(&self, before: &Self) -> f64 {
        let [idle, all] = [self.idle - before.idle, self.all - before.all];
        if all == 0 { 1.0 } else { idle as f64 / all as f64 }
    }
}

/// Of each CPU. Waiting for a disk is idle too.
fn idle() -> Vec<Idle> {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let of_cpus = text.lines().skip(1).take_while(|line| line.starts_with("cpu"));
    let of_cpu = |line: &str| {
        let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
        // Time of guests is in that of users.
        Idle { idle: ticks.iter().skip(3).take(2).sum(), all: ticks.iter().take(8).sum() }
    };
    of_cpus.map(of_cpu).collect()
}

/// Accounts at the start of a window.
#[derive(Debug)]
pub(crate) struct Window {
    started: Instant,
    pids: Vec<u32>,
    server_ns: u64,
    machine_ns: u64,
    idle: Vec<Idle>,
}

/// What was used in a window.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) wall_ns: f64,
    pub(crate) server_ns: f64,
    pub(crate) machine_ns: f64,
    /// Share of the time in which each CPU was idle.
    pub(crate) idle_ratios: Vec<f64>,
}

impl Window {
    pub(crate) fn start(pids: &[u32]) -> Self {
        Self {
            started: Instant::now(),
            pids: pids.to_vec(),
            server_ns: pids.iter().copied().map(process_ns).sum(),
            machine_ns: machine_ns(),
            idle: idle(),
        }
    }

    pub(crate) fn finish(self) -> Used {
        let server_ns: u64 = self.pids.iter().copied().map(process_ns).sum();
        Used {
            wall_ns: self.started.elapsed().as_nanos() as f64,
            server_ns: server_ns.saturating_sub(self.server_ns) as f64,
            machine_ns: machine_ns().saturating_sub(self.machine_ns) as f64,
            idle_ratios: idle().iter().zip(&self.idle).map(|(now, before)| now.since(before)).collect(),
        }
    }
}
