//! When threads had a CPU and when they waited for one, as the kernel's own tracer shows its switches: the witness of thread
//! accounts. It knows nothing of wsgi-trace.
//!
//! In: nothing. Out: times by thread, and how much more CPU time the kernel's account gives them than its switches show. The
//! kernel does not read its clock at a switch that a wake-up has asked for, but takes the clock of the wake-up
//! (`rq_clock_skip_update`, kernel/sched/core.c): from there on the time is the woken thread's, also while its CPU has yet to
//! be interrupted.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Context as _;

use crate::tracer::Tracer;

/// Room for the events of each CPU: every switch of the machine for a few seconds.
const BUFFER_KIB: &str = "32768";
const EVENTS: [&str; 6] = [
    "sched_switch",
    "sched_waking",
    "sched_wakeup",
    "sched_wakeup_new",
    "sched_stat_runtime",
    "sched_migrate_task",
];

/// A recording of every switch of the machine.
#[derive(Debug)]
pub struct Switches(Tracer);

/// One thread's times while the tracer ran, in ns (to 1 µs each stretch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Between a switch to it and the next one away.
    pub cpu_ns: u64,
    /// Between a wake-up, or a switch away while it could run on, and the next switch to it.
    pub run_queue_ns: u64,
    /// What the kernel's own account added to its CPU time within the stretches of `cpu_ns`.
    pub counted_cpu_ns: u64,
    /// Between the decision to wake it and the end of its wake-up: its waits by the kernel's account begin within.
    pub waking_ns: u64,
    /// Asleep, and moved to another CPU's queue by the balancing of load (from Linux 6.12 on a thread that falls asleep may stay in
    /// its queue for a while): `activate_task` begins a wait by the kernel's account then, which goes on until it is woken, and is
    /// added as a whole at that moment.
    pub moved_asleep_ns: u64,
    /// It ended.
    pub ended: bool,
}

impl Times {
    /// Sums of two threads.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            run_queue_ns: self.run_queue_ns + other.run_queue_ns,
            counted_cpu_ns: self.counted_cpu_ns + other.counted_cpu_ns,
            waking_ns: self.waking_ns + other.waking_ns,
            moved_asleep_ns: self.moved_asleep_ns + other.moved_asleep_ns,
            ended: self.ended && other.ended,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Thread {
    times: Times,
    /// It has a CPU since.
    runs_since_us: Option<u64>,
    /// It can run since.
    waits_since_us: Option<u64>,
    counted_ns: u64,
    /// Somebody is waking it since.
    woken_since_us: Option<u64>,
    /// It sleeps since.
    sleeps_since_us: Option<u64>,
    /// It was moved in its sleep.
    moved_us: Option<u64>,
}

impl Switches {
    /// Records from now on.
    ///
    /// # Errors
    ///
    /// Where this machine has no tracefs, or the tracer refuses.
    pub fn start() -> anyhow::Result<Self> {
        let tracer = Tracer::make("switches")?.context("no tracefs")?;
        tracer.set("buffer_size_kb", BUFFER_KIB)?;
        tracer.set("trace_clock", "mono")?;
        for event in EVENTS {
            tracer.set(&format!("events/sched/{event}/enable"), "1")?;
        }
        tracer.set("tracing_on", "1")?;
        Ok(Self(tracer))
    }

    /// What each thread of the machine did, by thread, from one moment to another (`CLOCK_MONOTONIC`). A stretch that reaches beyond
    /// either is left out. What came before tells who sleeps as that time begins, and who was moved in that sleep.
    ///
    /// # Errors
    ///
    /// Where events were lost or cannot be read.
    pub fn end(self, window_ns: Range<u64>) -> anyhow::Result<BTreeMap<u32, Times>> {
        let window_us = window_ns.start.div_ceil(1000)..window_ns.end / 1000;
        times(&self.0.end()?.context("the tracer lost events")?, &window_us)
    }
}

fn times(text: &str, window_us: &Range<u64>) -> anyhow::Result<BTreeMap<u32, Times>> {
    let mut threads: BTreeMap<u32, Thread> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        event(&mut threads, line, window_us).with_context(|| format!("not an event: {line}"))?;
    }
    Ok(threads.into_iter().map(|(tid, thread)| (tid, thread.times)).collect())
}

/// One line: `COMM-PID [CPU] FLAGS SECONDS.MICROSECONDS: NAME: TEXT`, in which names may hold anything.
fn event(threads: &mut BTreeMap<u32, Thread>, line: &str, window_us: &Range<u64>) -> Option<()> {
    let (name, (head, text)) =
        EVENTS.iter().find_map(|name| Some((*name, line.split_once(&format!(": {name}: "))?)))?;
    let (seconds, micros) = head.rsplit_once(' ')?.1.split_once('.')?;
    let now_us = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    if now_us >= window_us.end {
        return Some(());
    }
    let from_us = window_us.start;
    match name {
        "sched_switch" => {
            let (previous, next) = text.rsplit_once(" ==> ")?;
            let goes_on = previous.rsplit_once("prev_state=")?.1;
            let thread = threads.entry(after(previous, " prev_pid=")?).or_default();
            thread.leaves(now_us, goes_on.starts_with('R'), from_us);
            thread.times.ended |= goes_on.starts_with(['X', 'Z']);
            threads.entry(after(next, " next_pid=")?).or_default().comes(now_us, from_us);
        }
        "sched_stat_runtime" => {
            let (thread, runtime_ns) = (after(text, " pid=")?, after(text, " runtime=")?);
            threads.entry(thread).or_default().counted_ns += u64::from(runtime_ns);
        }
        "sched_migrate_task" => threads.entry(after(text, " pid=")?).or_default().is_moved(now_us),
        "sched_waking" => threads.entry(after(text, " pid=")?).or_default().woken_since_us = Some(now_us),
        "sched_wakeup_new" => {
            // Another thread may have had this number.
            let thread = threads.entry(after(text, " pid=")?).or_default();
            *thread = Thread::default();
            thread.is_woken(now_us, from_us);
        }
        _ => threads.entry(after(text, " pid=")?).or_default().is_woken(now_us, from_us),
    }
    Some(())
}

/// The number behind the last `key`.
fn after(text: &str, key: &str) -> Option<u32> {
    text.rsplit_once(key)?.1.split(' ').next()?.parse().ok()
}

impl Thread {
    fn comes(&mut self, now_us: u64, from_us: u64) {
        if let Some(since_us) = self.waits_since_us.take().filter(|since_us| *since_us >= from_us) {
            self.times.run_queue_ns += (now_us - since_us) * 1000;
        }
        self.runs_since_us = Some(now_us);
        (self.sleeps_since_us, self.moved_us) = (None, None);
        self.counted_ns = 0;
    }

    fn is_woken(&mut self, now_us: u64, from_us: u64) {
        let is_within = now_us >= from_us;
        if let Some(since_us) = self.woken_since_us.take().filter(|_| is_within) {
            self.times.waking_ns += (now_us - since_us) * 1000;
        }
        if let Some(moved_us) = self.moved_us.take().filter(|_| is_within) {
            self.times.moved_asleep_ns += (now_us - moved_us) * 1000;
        }
        self.sleeps_since_us = None;
        self.waits_since_us = Some(now_us);
    }

    /// Whoever wakes it may move it as well; else only the balancing of load does.
    fn is_moved(&mut self, now_us: u64) {
        if self.sleeps_since_us.is_some() && self.woken_since_us.is_none() {
            self.moved_us.get_or_insert(now_us);
        }
    }

    fn leaves(&mut self, now_us: u64, goes_on: bool, from_us: u64) {
        if let Some(since_us) = self.runs_since_us.take().filter(|since_us| *since_us >= from_us) {
            self.times.cpu_ns += (now_us - since_us) * 1000;
            self.times.counted_cpu_ns += self.counted_ns;
        }
        self.waits_since_us = goes_on.then_some(now_us);
        self.sleeps_since_us = (!goes_on).then_some(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_on_a_cpu_is_between_switches_and_its_wait_before_them() {
        let text = "# tracer: nop\n\
            a [x] -9 [000] d..2. 5.000094: sched_waking: comm=b ==> c pid=7 prio=120 target_cpu=001\n\
            a [x] -9 [000] d..2. 5.000100: sched_wakeup: comm=b ==> c pid=7 prio=120 target_cpu=001\n\
            a-9 [001] d..2. 5.000130: sched_switch: prev_comm=a prev_pid=9 prev_prio=120 prev_state=S ==> next_comm=b ==> c next_pid=7 next_prio=120\n\
            b ==> c-7 [001] d..2. 5.000190: sched_stat_runtime: comm=b ==> c pid=7 runtime=85000 [ns]\n\
            b ==> c-7 [001] d..2. 5.000200: sched_switch: prev_comm=b ==> c prev_pid=7 prev_prio=120 prev_state=R+ ==> next_comm=a next_pid=9 next_prio=120\n\
            a-9 [001] d..2. 5.000240: sched_switch: prev_comm=a prev_pid=9 prev_prio=120 prev_state=X ==> next_comm=b ==> c next_pid=7 next_prio=120\n";
        let times = times(text, &(0..u64::MAX)).expect("events");
        // Its waits from 100 to 130 and from 200 to 240 reach beyond these.
        let part = super::times(text, &(5_000_120..5_000_220)).expect("events");
        let part = part.get(&7).map(|times| (times.run_queue_ns, times.cpu_ns, times.waking_ns));
        assert_eq!(part, Some((0, 70_000, 0)));
        let seven = Times {
            cpu_ns: 70_000,
            run_queue_ns: 70_000,
            counted_cpu_ns: 85_000,
            waking_ns: 6_000,
            moved_asleep_ns: 0,
            ended: false,
        };
        assert_eq!(times.get(&7), Some(&seven));
        let moved_text = format!(
            "{text}            b-7 [001] d..2. 5.000300: sched_switch: prev_comm=b prev_pid=7 prev_prio=120 prev_state=S ==> next_comm=a next_pid=9 next_prio=120\n\
            a-9 [001] d..2. 5.000400: sched_migrate_task: comm=b pid=7 prio=120 orig_cpu=1 dest_cpu=0\n\
            a-9 [001] d..2. 5.000500: sched_migrate_task: comm=b pid=7 prio=120 orig_cpu=0 dest_cpu=1\n\
            a-9 [001] d..2. 5.000689: sched_waking: comm=b pid=7 prio=120 target_cpu=001\n\
            a-9 [001] d..2. 5.000690: sched_migrate_task: comm=b pid=7 prio=120 orig_cpu=1 dest_cpu=0\n\
            a-9 [001] d..2. 5.000700: sched_wakeup: comm=b pid=7 prio=120 target_cpu=000\n"
        );
        let moved = super::times(&moved_text, &(0..u64::MAX)).expect("events");
        assert_eq!(
            moved.get(&7).map(|times| (times.moved_asleep_ns, times.waking_ns)),
            Some((300_000, 17_000))
        );
        // It was moved before the time that is looked at, and woken in it.
        let later = super::times(&moved_text, &(5_000_600..u64::MAX)).expect("events");
        assert_eq!(later.get(&7).map(|times| (times.moved_asleep_ns, times.cpu_ns)), Some((300_000, 0)));
        let nine = Times { cpu_ns: 40_000, ended: true, ..Times::default() };
        assert_eq!(times.get(&9), Some(&nine));
    }
}
