//! How busy the machine is, and by whom: the choice of hooks rests on it.
//!
//! In: `/proc/stat`, the targets' `/proc/PID/stat`. Out: [`Load`] over a short sample.

use std::time::Duration;

use super::plan::Load;

/// Length of the sample; the clock ticks in `/proc` are ten milliseconds long.
const SAMPLE: Duration = Duration::from_millis(200);

/// Ticks of CPU time so far.
#[derive(Clone, Copy, Default)]
struct Ticks {
    busy: u64,
    total: u64,
    target: u64,
}

/// Samples the machine's load.
pub(super) fn sample(targets: &[u32]) -> Load {
    let before = read(targets);
    std::thread::sleep(SAMPLE);
    compare(before, read(targets), cpu_count())
}

fn compare(before: Ticks, after: Ticks, cpu_count: u32) -> Load {
    let total = after.total.saturating_sub(before.total);
    let target = after.target.saturating_sub(before.target);
    let others = after.busy.saturating_sub(before.busy).saturating_sub(target);
    let percent = |ticks: u64| {
        let share = (ticks * 100).checked_div(total).unwrap_or(0);
        u32::try_from(share.min(100)).unwrap_or(100)
    };
    Load { cpu_count, target_percent: percent(target), others_percent: percent(others) }
}

/// CPUs online.
pub(super) fn cpu_count() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

fn read(targets: &[u32]) -> Ticks {
    let mut ticks =
        std::fs::read_to_string("/proc/stat").ok().and_then(|text| machine(&text)).unwrap_or_default();
    ticks.target = targets
        .iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter_map(|text| process(&text))
        .sum();
    ticks
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn machine(text: &str) -> Option<Ticks> {
    let numbers: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|word| word.parse().ok())
        .take(8)
        .collect();
    let total: u64 = numbers.iter().sum();
    let idle: u64 = numbers.iter().skip(3).take(2).sum();
    Some(Ticks { busy: total - idle, total, target: 0 })
}

/// utime + stime of `/proc/PID/stat`; the name before them may hold anything.
fn process(text: &str) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    Some(
        after_name
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|word| word.parse::<u64>().ok())
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_time_is_not_busy() {
        let ticks = machine("cpu  10 1 5 100 20 2 3 4 0 0\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!((ticks.busy, ticks.total), (25, 145));
        assert!(machine("intr 1").is_none());
    }

    #[test]
    fn name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a ) (b) S 1 1 1 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0";
        assert_eq!(process(text), Some(42));
    }

    #[test]
    fn shares_are_of_the_whole_machine() {
        let after = Ticks { busy: 70, total: 100, target: 10 };
        let load = compare(Ticks::default(), after, 16);
        assert_eq!((load.target_percent, load.others_percent), (10, 60));
        assert_eq!(compare(after, after, 16).others_percent, 0, "an empty sample");
    }
}
