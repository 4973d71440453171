//! The host and the clock at the start of a session.
//!
//! In: `/proc`, `/sys`, the clocks. Out: [`SessionStarted`], and what the kernel leaves out of its tasks' CPU
//! time ([`NotCounted`]).

use std::path::Path;
use std::sync::OnceLock;

use procfs::{CpuTime, CurrentSI as _, KernelStats};
use profiler_core::fact::SessionStarted;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::{Proc, read};

/// Share of busy time since boot above which steal and interrupts are worth a word about the host.
const NOTABLE_RATIO: f64 = 0.005;
/// Where the kernel's type information is.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Who watches what, where and since when.
pub fn session_started(proc: &Proc, target_pid: u32) -> SessionStarted {
    let line = |name: &str| line(&proc.path(name)).unwrap_or_default();
    let stats = KernelStats::current().ok();
    let cpus = stats.as_ref().map_or(1, |stats| stats.cpu_time.len());
    SessionStarted {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        host_name: host_name(proc),
        kernel_release: line("sys/kernel/osrelease"),
        cpu_count: u32::try_from(cpus).unwrap_or(u32::MAX),
        target_pid,
        wall_clock_offset_ns: wall_clock_offset_ns(),
        cpu_time_comparable: stats
            .is_none_or(|stats| counts_as_a_clock_does(&stats.total, interrupts_are_accounted())),
    }
}

/// Name of the host, as it is now.
pub fn host_name(proc: &Proc) -> String {
    line(&proc.path("sys/kernel/hostname")).unwrap_or_default()
}

/// What systemd calls the machine, whatever its name is; `None`: it calls it nothing, as in most containers.
pub fn machine_id() -> Option<String> {
    line(Path::new("/etc/machine-id")).filter(|id| !id.is_empty())
}

fn line(path: &Path) -> Option<String> {
    read::text(path, 1024).ok().map(|text| text.trim().to_owned())
}

/// Time since boot that passed while a task was on a CPU and that the kernel does not count as the task's,
/// all CPUs, in ns. `/proc/stat` has it in ticks of 10 ms: each difference of two readings may be short of
/// almost one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotCounted {
    /// What a hypervisor took; 0 where it does not say.
    pub stolen_ns: u64,
    /// Interrupts, where the kernel takes their time out of its tasks' (`CONFIG_IRQ_TIME_ACCOUNTING`); 0
    /// elsewhere.
    pub interrupt_ns: u64,
}

impl NotCounted {
    /// As `/proc/stat` has it now; nothing where that cannot be read.
    pub fn read() -> Self {
        let total = KernelStats::current().ok().map(|stats| stats.total);
        total.map_or_else(Self::default, |total| Self::of(&total, interrupts_are_accounted()))
    }

    fn of(total: &CpuTime, interrupts_are_accounted: bool) -> Self {
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
        let interrupts = total.irq.unwrap_or(0).saturating_add(total.softirq.unwrap_or(0));
        Self {
            stolen_ns: total.steal.unwrap_or(0).saturating_mul(tick_ns),
            interrupt_ns: if interrupts_are_accounted { interrupts.saturating_mul(tick_ns) } else { 0 },
        }
    }

    /// What was added since an earlier reading.
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            stolen_ns: self.stolen_ns.saturating_sub(earlier.stolen_ns),
            interrupt_ns: self.interrupt_ns.saturating_sub(earlier.interrupt_ns),
        }
    }
}

/// What to add to `CLOCK_MONOTONIC` for nanoseconds since 1970, as the wall clock stands now: by the pair of
/// readings that lie closest together, of several.
pub fn wall_clock_offset_ns() -> i64 {
    let nanoseconds = |time: Timespec| time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    let attempt = |_| {
        let before = nanoseconds(clock_gettime(ClockId::Monotonic));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Monotonic));
        let gap = after.saturating_sub(before);
        (gap, wall.saturating_sub(before.saturating_add(gap / 2)))
    };
    (0..8).map(attempt).min_by_key(|(gap, _)| *gap).map_or(0, |(_, offset)| offset)
}

/// Whether the kernel takes interrupt time out of a task's CPU time (`CONFIG_IRQ_TIME_ACCOUNTING`): its type
/// information then names the function that does it. `true` when that cannot be known.
fn interrupts_are_accounted() -> bool {
    const FUNCTION: &[u8] = b"\0irqtime_account_irq\0";
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| read::contains(KERNEL_TYPES.as_ref(), 64 * 1024 * 1024, FUNCTION).unwrap_or(true))
}

/// Whether `schedstat` has counted CPU time since boot nearly as a clock does.
#[expect(clippy::cast_precision_loss, reason = "a ratio of tick counts")]
fn counts_as_a_clock_does(total: &CpuTime, interrupts_are_accounted: bool) -> bool {
    let steal = total.steal.unwrap_or(0);
    let interrupts = total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
    let busy = total.user + total.nice + total.system + interrupts + steal;
    let missing = if interrupts_are_accounted { steal + interrupts } else { steal };
    busy == 0 || missing as f64 / (busy as f64) < NOTABLE_RATIO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(user: u64, softirq: u64, steal: u64) -> CpuTime {
        let mut stats = KernelStats::current().expect("/proc/stat");
        stats.total.user = user;
        stats.total.nice = 0;
        stats.total.system = 0;
        stats.total.irq = Some(0);
        stats.total.softirq = Some(softirq);
        stats.total.steal = Some(steal);
        stats.total
    }

    #[test]
    fn steal_and_accounted_interrupts_are_notable_and_others_are_not() {
        assert!(counts_as_a_clock_does(&total(100_000, 5_000, 100), false));
        assert!(!counts_as_a_clock_does(&total(100_000, 5_000, 100), true));
        assert!(!counts_as_a_clock_does(&total(100_000, 0, 1_000), false));
        assert!(counts_as_a_clock_does(&total(0, 0, 0), true));
    }

    #[test]
    fn what_is_not_counted_is_what_was_added_between_two_readings() {
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
        let earlier = NotCounted::of(&total(9, 5, 100), true);
        let later = NotCounted::of(&total(9, 8, 101), true);
        let expected = NotCounted { stolen_ns: tick_ns, interrupt_ns: 3 * tick_ns };
        assert_eq!(later.since(earlier), expected);
        assert_eq!(NotCounted::of(&total(9, 8, 101), false).interrupt_ns, 0);
        assert_eq!(earlier.since(later), NotCounted::default());
    }

    #[test]
    fn a_session_names_its_host_and_its_clock() {
        let session = session_started(&Proc::default(), 42);
        assert_eq!(session.target_pid, 42);
        assert!(
            session.cpu_count >= 1 && !session.kernel_release.is_empty() && !session.host_name.is_empty()
        );
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let monotonic = clock_gettime(ClockId::Monotonic).tv_sec;
        let wall_seconds = i64::try_from(wall.as_secs()).expect("seconds") - monotonic;
        assert!((session.wall_clock_offset_ns / 1_000_000_000 - wall_seconds).abs() <= 2);
    }
}
