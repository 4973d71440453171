//! When threads had a CPU and when they waited for one, as the kernel's own tracer shows its switches: the
//! witness of thread accounts. It knows nothing of wsgi-trace.
//!
//! In: nothing. Out: times by thread, and how much more CPU time the kernel's account gives them than its
//! switches show. The kernel does not read its clock at a switch that a wakeup has asked for, but takes the
//! clock of the wakeup (`rq_clock_skip_update`, kernel/sched/core.c). From there on the time is the woken
//! thread's, also while its CPU has yet to be interrupted. Where it does read it, that is as `__schedule`
//! begins, before the next thread is picked. That is about 1 µs before the switch that the tracer shows, and
//! `rcu_note_context_switch` comes just before it. What a hypervisor took (`steal`) is in no CPU time of the
//! kernel's: a stretch that lacks more than its clock can have shown lacks that.
//!
//! On some machines the tracer records nothing that the idle thread of a CPU does but in interrupts. (Seen on
//! Linux 6.18 in a virtual machine, on one CPU of two, for hours; programs at the same tracepoint do run.) A
//! switch from it is not shown then, but by its end. What the kernel counted until the next switch tells when
//! it was, and the thread's first event that it had been.

mod event;

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Context as _;

use crate::tracer::Tracer;
use event::{BEGINS, EVENTS, Event, RETURNS, What};

/// Room for the events of each CPU: every switch of the machine for a few seconds.
const BUFFER_KIB: &str = "65536";
/// What it says there; the same event tells of other things too.
const BEGINS_TEXT: &str = "End context switch";
/// Two moments are apart by up to this much more or less than the tracer's text says.
const ROUNDED_NS: u64 = 1000;

/// A recording of every switch of the machine.
#[derive(Debug)]
pub struct Switches(Tracer);

/// One thread's times while the tracer ran, in ns (to 1 µs each stretch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Between a switch to it and the next one away.
    pub cpu_ns: u64,
    /// Between a wakeup, or a switch away while it could run on, and the next switch to it.
    pub run_queue_ns: u64,
    /// Between a switch away where it could not run on, and its wakeup: the end of that, or where that is
    /// not shown its begin.
    pub asleep_ns: u64,
    /// What the kernel's own account added to its CPU time within the stretches of `cpu_ns`.
    pub counted_cpu_ns: u64,
    /// By how much this is more (or less) for the clock's sake: each stretch within what that can have shown
    /// at its ends.
    pub clock_ns: i64,
    /// Between the decision to wake it and the end of its wakeup: its waits by the kernel's account begin
    /// within. Waits that begin after a stretch whose beginning is not shown do between the clock that
    /// the kernel can have taken and the switch.
    pub waking_ns: u64,
    /// Between the clock that the kernel can have taken and the switch away, where it falls asleep: its CPU
    /// time by the kernel's account ends within, and the next thread's begins.
    pub falling_asleep_ns: u64,
    /// Between the clock that the kernel can have taken for a switch that is not shown and the first event
    /// after it. By the kernel's account its wait for a CPU may be shorter by so much.
    pub unseen_ns: u64,
    /// Asleep, and moved to another CPU's queue by the balancing of load (from Linux 6.12 on a thread that
    /// falls asleep may stay in its queue for a while). By the kernel's account `activate_task` begins a
    /// wait then. It goes on until the thread is woken, and is added as a whole at that moment.
    pub moved_asleep_ns: u64,
    /// The thread ended.
    pub ended: bool,
}

impl Times {
    /// Sums of two threads.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            run_queue_ns: self.run_queue_ns + other.run_queue_ns,
            asleep_ns: self.asleep_ns + other.asleep_ns,
            counted_cpu_ns: self.counted_cpu_ns + other.counted_cpu_ns,
            clock_ns: self.clock_ns + other.clock_ns,
            waking_ns: self.waking_ns + other.waking_ns,
            falling_asleep_ns: self.falling_asleep_ns + other.falling_asleep_ns,
            unseen_ns: self.unseen_ns + other.unseen_ns,
            moved_asleep_ns: self.moved_asleep_ns + other.moved_asleep_ns,
            ended: self.ended && other.ended,
        }
    }

    /// What the kernel's account has where the switches show `shown_ns` of CPU time.
    pub const fn kernel_cpu_ns(self, shown_ns: u64) -> u64 {
        shown_ns.saturating_add_signed(self.counted_cpu_ns.cast_signed() - self.cpu_ns.cast_signed())
    }

    /// The least and the most that the kernel's account has where the switches show `shown_ns` of waits for a
    /// CPU. Where its CPU time has more for its clock's sake, a wait has less. A wait begins there
    /// somewhat before the wakeup is told, after it was decided. Where the balancing of load moves the
    /// thread, it begins in its sleep. It ends before the switch is told, by as much as the CPU time of
    /// who fell asleep does.
    pub const fn kernel_run_queue_ns(self, shown_ns: u64) -> (u64, u64) {
        let by_clock_ns = shown_ns.saturating_add_signed(-self.clock_ns);
        let least_ns = by_clock_ns.saturating_sub(self.falling_asleep_ns + self.unseen_ns);
        (least_ns, by_clock_ns + self.waking_ns + self.moved_asleep_ns)
    }
}

#[derive(Clone, Default)]
struct Thread {
    times: Times,
    /// Each wait for a CPU, in µs.
    waits_us: Vec<Range<u64>>,
    /// Since when the thread has a CPU, and by how much less that CPU's clock may have shown.
    runs_since_us: Option<(u64, u64)>,
    /// Its first event since it had none.
    shown_since_us: Option<u64>,
    /// Since when the thread can run.
    waits_since_us: Option<u64>,
    counted_ns: u64,
    /// Since when somebody is waking the thread.
    woken_since_us: Option<u64>,
    /// Since when the thread sleeps.
    sleeps_since_us: Option<u64>,
    /// When the thread was moved in its sleep.
    moved_us: Option<u64>,
}

impl Switches {
    /// Records from now on.
    ///
    /// # Errors
    ///
    /// Where the tracer refuses.
    pub fn start() -> anyhow::Result<Self> {
        let tracer = Tracer::make("switches")?;
        tracer.set("buffer_size_kb", BUFFER_KIB)?;
        tracer.set("trace_clock", "mono")?;
        for event in EVENTS {
            tracer.set(&format!("events/sched/{event}/enable"), "1")?;
        }
        tracer.set(&format!("events/rcu/{BEGINS}/filter"), &format!("s == \"{BEGINS_TEXT}\""))?;
        tracer.set(&format!("events/rcu/{BEGINS}/enable"), "1")?;
        // Other architectures have no such event.
        let _ = tracer.set(&format!("events/x86_fpu/{RETURNS}/enable"), "1");
        tracer.set("tracing_on", "1")?;
        Ok(Self(tracer))
    }

    /// What each thread of the machine did, by thread, from one moment to another (`CLOCK_MONOTONIC`). A
    /// stretch that reaches beyond either is left out. What came before tells who sleeps as that time
    /// begins, and who was moved in that sleep.
    ///
    /// # Errors
    ///
    /// Where events were lost or cannot be read.
    pub fn end(self, window_ns: Range<u64>) -> anyhow::Result<BTreeMap<u32, Times>> {
        Ok(self.stop()?.within(window_ns))
    }

    /// Ends the recording, for more than one look at it.
    ///
    /// # Errors
    ///
    /// Where events were lost or cannot be read.
    pub fn stop(self) -> anyhow::Result<Shown> {
        Shown::of(&self.0.end()?.context("the tracer lost events")?)
    }
}

/// What was recorded, read once.
#[derive(Debug)]
pub struct Shown(Vec<Event>);

impl Shown {
    fn of(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let event = |line| Event::of(line).with_context(|| format!("not an event: {line}"));
        Ok(Self(lines.map(event).collect::<anyhow::Result<_>>()?))
    }

    /// As [`Switches::end`].
    pub fn within(&self, window_ns: Range<u64>) -> BTreeMap<u32, Times> {
        let threads = self.threads(&(window_ns.start.div_ceil(1000)..window_ns.end / 1000));
        threads.into_iter().map(|(tid, thread)| (tid, thread.times)).collect()
    }

    /// When each thread waited for a CPU, in order, in ns (`CLOCK_MONOTONIC`).
    pub fn waits(&self) -> Waits {
        let in_ns = |waits: Vec<Range<u64>>| {
            waits.into_iter().map(|wait| wait.start * 1000..wait.end * 1000).collect()
        };
        let threads = self.threads(&(0..u64::MAX)).into_iter();
        Waits(threads.map(|(tid, thread)| (tid, in_ns(thread.waits_us))).collect())
    }

    fn threads(&self, window_us: &Range<u64>) -> BTreeMap<u32, Thread> {
        let mut seen = Seen::default();
        for event in self.0.iter().filter(|event| event.now_us < window_us.end) {
            seen.take(event, window_us.start);
        }
        seen.threads
    }
}

/// When threads waited for a CPU.
#[derive(Debug, Default)]
pub struct Waits(BTreeMap<u32, Vec<Range<u64>>>);

impl Waits {
    /// For how long a thread waited for a CPU within some time, in ns.
    pub fn of(&self, tid: u32, within_ns: &Range<u64>) -> u64 {
        self.of_any(&[tid], within_ns)
    }

    /// For how long at least one of these threads did, in ns.
    pub fn of_any(&self, tids: &[u32], within_ns: &Range<u64>) -> u64 {
        let waits = tids.iter().filter_map(|tid| self.0.get(tid)).flatten();
        let part = |wait: &Range<u64>| wait.start.max(within_ns.start)..wait.end.min(within_ns.end);
        let mut parts: Vec<Range<u64>> = waits.map(part).filter(|part| !part.is_empty()).collect();
        parts.sort_unstable_by_key(|part| part.start);
        let (mut sum_ns, mut until_ns) = (0, 0);
        for part in parts {
            sum_ns += part.end.saturating_sub(part.start.max(until_ns));
            until_ns = until_ns.max(part.end);
        }
        sum_ns
    }
}

/// What events showed until now.
#[derive(Default)]
struct Seen {
    threads: BTreeMap<u32, Thread>,
    cpus: BTreeMap<u32, Cpu>,
}

/// What read a CPU's clock for its next switch, each last of its kind since the one before.
#[derive(Clone, Copy, Default)]
struct Cpu {
    /// The scheduler began.
    begun_us: Option<u64>,
    /// Somebody had asked for the switch before it did, which may have been a wakeup.
    is_asked_for: bool,
    /// A wakeup to it was decided.
    woken_us: Option<u64>,
}

impl Cpu {
    /// By how much a switch now may have an earlier clock.
    fn behind_us(self, now_us: u64) -> u64 {
        let woken_us = self.woken_us.filter(|_| self.is_asked_for);
        let read_us = self.begun_us.into_iter().chain(woken_us).min();
        now_us.saturating_sub(read_us.unwrap_or(now_us))
    }
}

impl Seen {
    fn take(&mut self, event: &Event, from_us: u64) {
        let Self { threads, cpus } = self;
        let Event { now_us, cpu, current, what } = *event;
        let thread = threads.entry(current).or_default();
        if thread.shown_since_us.is_none() {
            thread.shown_since_us = Some(now_us);
            thread.was_woken_before(now_us, from_us);
        }
        match what {
            What::Returns => {}
            What::Switch { previous, goes_on, ends, next } => {
                let behind_us = std::mem::take(cpus.entry(cpu).or_default()).behind_us(now_us);
                let thread = threads.entry(previous).or_default();
                thread.leaves(now_us, goes_on, from_us, behind_us);
                thread.times.ended |= ends;
                threads.entry(next).or_default().comes(now_us, from_us, behind_us);
            }
            What::SwitchBegins { is_asked_for } => {
                let cpu = cpus.entry(cpu).or_default();
                cpu.begun_us = Some(now_us);
                cpu.is_asked_for = is_asked_for;
            }
            What::Counted { thread, runtime_ns } => {
                threads.entry(thread).or_default().counted_ns += u64::from(runtime_ns);
            }
            What::Moved(thread) => threads.entry(thread).or_default().is_moved(now_us),
            What::IsBeingWoken(thread) => threads.entry(thread).or_default().is_being_woken(now_us, from_us),
            What::Begins(thread) => {
                // Another thread may have had this number.
                let thread = threads.entry(thread).or_default();
                *thread = Thread::default();
                thread.is_woken(now_us, from_us);
            }
            What::IsWoken { thread, on_cpu } => {
                let thread = threads.entry(thread).or_default();
                cpus.entry(on_cpu).or_default().woken_us = Some(thread.woken_since_us.unwrap_or(now_us));
                thread.is_woken(now_us, from_us);
            }
        }
    }
}

impl Thread {
    fn comes(&mut self, now_us: u64, from_us: u64, behind_us: u64) {
        if let Some(since_us) = self.waits_since_us.take().filter(|since_us| *since_us >= from_us) {
            self.times.run_queue_ns += (now_us - since_us) * 1000;
            self.waits_us.push(since_us..now_us);
        }
        self.runs_since_us = Some((now_us, behind_us));
        self.was_woken_before(now_us, from_us);
        self.moved_us = None;
    }

    /// The thread is awake by now. If it still slept, the end of its wakeup is not shown. Who decided to wake
    /// it before it had left its CPU waits for that (`ttwu_queue_wakelist`, `smp_cond_load_acquire` in
    /// kernel/sched/core.c): then it did not sleep at all.
    fn was_woken_before(&mut self, now_us: u64, from_us: u64) {
        if let Some(sleeps_us) = self.sleeps_since_us {
            let woken_us = self.woken_since_us.take();
            self.slept_until(woken_us.map_or(now_us, |woken_us| woken_us.max(sleeps_us)), from_us);
        }
    }

    fn slept_until(&mut self, until_us: u64, from_us: u64) {
        if let Some(since_us) = self.sleeps_since_us.take().filter(|since_us| *since_us >= from_us) {
            self.times.asleep_ns += until_us.saturating_sub(since_us) * 1000;
        }
    }

    /// Nobody wakes a thread twice in one sleep (`ttwu_state_match`, kernel/sched/core.c): whoever is being
    /// woken again has been awake.
    fn is_being_woken(&mut self, now_us: u64, from_us: u64) {
        if self.woken_since_us.is_some() {
            self.was_woken_before(now_us, from_us);
        }
        self.woken_since_us = Some(now_us);
    }

    fn is_woken(&mut self, now_us: u64, from_us: u64) {
        let is_within = now_us >= from_us;
        if let Some(since_us) = self.woken_since_us.take().filter(|_| is_within) {
            self.times.waking_ns += (now_us - since_us) * 1000;
        }
        if let Some(moved_us) = self.moved_us.take().filter(|_| is_within) {
            self.times.moved_asleep_ns += (now_us - moved_us) * 1000;
        }
        self.slept_until(now_us, from_us);
        self.waits_since_us = Some(now_us);
    }

    /// Whoever wakes it may move it as well; else only the balancing of load does.
    fn is_moved(&mut self, now_us: u64) {
        if self.sleeps_since_us.is_some() && self.woken_since_us.is_none() {
            self.moved_us.get_or_insert(now_us);
        }
    }

    fn leaves(&mut self, now_us: u64, goes_on: bool, from_us: u64, behind_us: u64) {
        let counted_ns = std::mem::take(&mut self.counted_ns);
        let shown_us = self.shown_since_us.take().unwrap_or(now_us);
        self.was_woken_before(shown_us, from_us);
        match self.runs_since_us.take() {
            Some((since_us, was_behind_us)) if since_us >= from_us => {
                let cpu_ns = (now_us - since_us) * 1000;
                self.times.cpu_ns += cpu_ns;
                self.times.counted_cpu_ns += counted_ns;
                let most_ns = |us: u64| (us * 1000 + ROUNDED_NS).cast_signed();
                self.times.clock_ns += (counted_ns.cast_signed() - cpu_ns.cast_signed())
                    .clamp(-most_ns(behind_us), most_ns(was_behind_us));
                if !goes_on {
                    self.times.falling_asleep_ns += behind_us * 1000;
                }
            }
            None if now_us * 1000 >= from_us * 1000 + counted_ns => {
                let came_ns = ((now_us - behind_us) * 1000).saturating_sub(counted_ns);
                self.times.unseen_ns += (shown_us * 1000).saturating_sub(came_ns);
                self.times.waking_ns += if goes_on { behind_us * 1000 } else { 0 };
            }
            _ => {}
        }
        self.waits_since_us = goes_on.then_some(now_us);
        self.sleeps_since_us = (!goes_on).then_some(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str, window_us: &Range<u64>) -> BTreeMap<u32, Times> {
        let shown = Shown::of(text).expect("events");
        shown.within(window_us.start.saturating_mul(1000)..window_us.end.saturating_mul(1000))
    }

    #[test]
    fn a_stretch_on_a_cpu_is_between_switches_and_its_wait_before_them() {
        let text = "# tracer: nop\n\
            a [x] -9 [000] d..2. 5.000094: sched_waking: comm=b ==> c pid=7 prio=120 target_cpu=001\n\
            a [x] -9 [000] d..2. 5.000100: sched_wakeup: comm=b ==> c pid=7 prio=120 target_cpu=001\n\
            a-9 [001] dN.2. 5.000129: rcu_utilization: End context switch\n\
            a-9 [001] d..2. 5.000130: sched_switch: prev_comm=a prev_pid=9 prev_prio=120 prev_state=S ==> next_comm=b ==> c next_pid=7 next_prio=120\n\
            b ==> c-7 [001] d..2. 5.000190: sched_stat_runtime: comm=b ==> c pid=7 runtime=85000 [ns]\n\
            b ==> c-7 [001] dN.2. 5.000198: rcu_utilization: End context switch\n\
            b ==> c-7 [001] d..2. 5.000200: sched_switch: prev_comm=b ==> c prev_pid=7 prev_prio=120 prev_state=R+ ==> next_comm=a next_pid=9 next_prio=120\n\
            b-8 [000] d..2. 5.000210: rcu_utilization: End context switch\n\
            a-9 [001] d..2. 5.000238: rcu_utilization: End context switch\n\
            a-9 [001] d..2. 5.000240: sched_switch: prev_comm=a prev_pid=9 prev_prio=120 prev_state=X ==> next_comm=b ==> c next_pid=7 next_prio=120\n";
        let times = times(text, &(0..u64::MAX));
        // Its waits from 100 to 130 and from 200 to 240 reach beyond these.
        let part = self::times(text, &(5_000_120..5_000_220));
        let part = part.get(&7).map(|times| (times.run_queue_ns, times.cpu_ns, times.waking_ns));
        assert_eq!(part, Some((0, 70_000, 0)));
        let waits = Shown::of(text).expect("events").waits();
        assert_eq!(waits.of(7, &(0..u64::MAX)), 70_000);
        assert_eq!(waits.of(7, &(5_000_120_000..5_000_220_000)), 30_000);
        assert_eq!(waits.of(9, &(0..u64::MAX)), 0);
        let both = Waits(BTreeMap::from([(1, vec![10..20, 40..50]), (2, vec![15..30, 45..46])]));
        assert_eq!(both.of_any(&[1, 2], &(0..100)), 30, "what both wait counts once");
        assert_eq!(both.of_any(&[1, 2], &(12..18)), 6);
        let seven = Times {
            cpu_ns: 70_000,
            run_queue_ns: 70_000,
            counted_cpu_ns: 85_000,
            // Its wakeup was decided 36 µs before.
            clock_ns: 15_000,
            waking_ns: 6_000,
            asleep_ns: 0,
            falling_asleep_ns: 0,
            unseen_ns: 0,
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
        let moved = self::times(&moved_text, &(0..u64::MAX));
        assert_eq!(
            moved.get(&7).map(|times| (times.moved_asleep_ns, times.waking_ns, times.asleep_ns)),
            Some((300_000, 17_000, 400_000))
        );
        // A thread moved before the time that is looked at, and woken in it.
        let later = self::times(&moved_text, &(5_000_600..u64::MAX));
        assert_eq!(later.get(&7).map(|times| (times.moved_asleep_ns, times.cpu_ns)), Some((300_000, 0)));
        let nine = Times {
            cpu_ns: 40_000,
            // Its wakeup is not shown.
            asleep_ns: 70_000,
            // Nothing was counted: more than the clock's, so a hypervisor took it.
            clock_ns: -3_000,
            falling_asleep_ns: 2_000,
            ended: true,
            ..Times::default()
        };
        assert_eq!(times.get(&9), Some(&nine));
    }

    #[test]
    fn a_switch_that_is_not_shown_was_when_the_kernel_s_count_began_and_before_the_first_event_after_it() {
        let text = "\
            <idle>-0 [002] d.h3. 5.000095: sched_waking: comm=e pid=5 prio=120 target_cpu=002\n\
            <idle>-0 [002] dNh3. 5.000100: sched_wakeup: comm=e pid=5 prio=120 target_cpu=002\n\
            e-5 [002] d.... 5.000130: x86_fpu_regs_activated: x86/fpu: 000000000ba54ab9 load: 1 xfeatures: 2e7 xcomp_bv: 0\n\
            e-5 [002] d..1. 5.000169: rcu_utilization: End context switch\n\
            e-5 [002] d..2. 5.000170: sched_stat_runtime: comm=e pid=5 runtime=60000 [ns]\n\
            e-5 [002] d..2. 5.000170: sched_switch: prev_comm=e prev_pid=5 prev_prio=120 prev_state=S ==> next_comm=swapper/2 next_pid=0 next_prio=120\n";
        let times = times(text, &(0..u64::MAX));
        let five = Times { waking_ns: 5_000, unseen_ns: 21_000, ..Times::default() };
        assert_eq!(times.get(&5), Some(&five));
    }

    #[test]
    fn who_is_woken_while_it_leaves_its_cpu_does_not_sleep_until_its_next_event() {
        // The end of its wakeup is not shown, nor the switch to it: the idle thread of its CPU did both. It
        // computed for 10 ms.
        let text = "\
            e-5 [000] d..1. 5.000090: rcu_utilization: End context switch\n\
            f-6 [001] d..2. 5.000098: sched_waking: comm=e pid=5 prio=120 target_cpu=000\n\
            e-5 [000] d..2. 5.000100: sched_switch: prev_comm=e prev_pid=5 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120\n\
            f-6 [001] d..2. 5.010050: sched_waking: comm=e pid=5 prio=120 target_cpu=000\n\
            f-6 [001] d..2. 5.010052: sched_wakeup: comm=e pid=5 prio=120 target_cpu=000\n\
            e-5 [000] d..1. 5.010098: rcu_utilization: End context switch\n\
            e-5 [000] d..2. 5.010099: sched_stat_runtime: comm=e pid=5 runtime=9990000 [ns]\n\
            e-5 [000] d..2. 5.010100: sched_switch: prev_comm=e prev_pid=5 prev_prio=120 prev_state=R ==> next_comm=swapper/0 next_pid=0 next_prio=120\n";
        let times = times(text, &(0..u64::MAX));
        assert_eq!(times.get(&5).map(|times| times.asleep_ns), Some(0));
    }
}
