//! Our account of every thread against the kernel's own.
//!
//! In: accounts, `/proc/PID/task/TID/schedstat`. Out: [`ThreadTotals`] over the same stretch of time.

use std::collections::HashMap;

use profiler_common::account::{RUNNABLE, ThreadAccount};
use profiler_core::fact::{Account, ThreadTotals};

use super::Processes;
use super::accounts::{self, AccountTable};
use crate::source::live::clock::monotonic_ns;

/// Where both accounts of the threads stood at the start.
#[derive(Default)]
pub struct Totals {
    start_ns: u64,
    /// By thread and the generation of its account.
    threads: HashMap<(u32, u32), Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    at_ns: u64,
    ours: Account,
    kernel_cpu_ns: u64,
    kernel_run_queue_ns: u64,
}

impl Totals {
    /// Takes the first sample of every thread.
    pub(super) fn start(table: &AccountTable, of: Processes<'_>) -> Self {
        let start_ns = monotonic_ns();
        // A wait for a CPU that began before the account counts whole in the kernel's: such a thread is left
        // out.
        let waits_since_before = |account: &ThreadAccount| {
            account.state == RUNNABLE && account.state_since_ns == account.adopted_ns
        };
        let threads = table
            .each_at_rest(|account| sample(account, of))
            .filter(|(account, _)| !waits_since_before(account))
            .map(|(account, sample)| ((account.tid, account.generation), sample))
            .collect();
        Self { start_ns, threads }
    }

    /// Samples again and subtracts. A thread born since began with nothing on either side.
    pub(super) fn compare(&self, table: &AccountTable, of: Processes<'_>) -> Vec<ThreadTotals> {
        table
            .each_at_rest(|account| sample(account, of))
            .filter_map(|(account, end)| {
                let start = match self.threads.get(&(account.tid, account.generation)) {
                    Some(start) => *start,
                    None if account.adopted_ns >= self.start_ns => Sample {
                        at_ns: account.adopted_ns,
                        ours: Account::default(),
                        kernel_cpu_ns: 0,
                        kernel_run_queue_ns: 0,
                    },
                    None => return None,
                };
                Some(ThreadTotals {
                    tgid: account.tgid,
                    tid: account.tid,
                    since_ns: start.at_ns,
                    until_ns: end.at_ns,
                    ours: Account {
                        cpu_ns: end.ours.cpu_ns.saturating_sub(start.ours.cpu_ns),
                        run_queue_ns: end.ours.run_queue_ns.saturating_sub(start.ours.run_queue_ns),
                        blocked_ns: end.ours.blocked_ns.saturating_sub(start.ours.blocked_ns),
                    },
                    kernel_cpu_ns: end.kernel_cpu_ns.saturating_sub(start.kernel_cpu_ns),
                    kernel_run_queue_ns: end.kernel_run_queue_ns.saturating_sub(start.kernel_run_queue_ns),
                })
            })
            .collect()
    }
}

/// The accounts of a thread by us and by the kernel at one moment; `None` if the thread is gone, or not of
/// these processes.
fn sample(account: &ThreadAccount, of: Processes<'_>) -> Option<Sample> {
    if !of(account.tgid) {
        return None;
    }
    let path = format!("/proc/{}/task/{}/schedstat", account.tgid, account.tid);
    let (kernel_cpu_ns, kernel_run_queue_ns) = parse_schedstat(&std::fs::read_to_string(path).ok()?)?;
    let at_ns = monotonic_ns();
    let mut ours = accounts::totals(account, at_ns);
    // The kernel counts a wait for a CPU when it is over.
    ours.run_queue_ns = account.total_run_queue_ns;
    Some(Sample { at_ns, ours, kernel_cpu_ns, kernel_run_queue_ns })
}

/// On-CPU and run-queue nanoseconds.
fn parse_schedstat(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_has_cpu_first_and_run_queue_second() {
        assert_eq!(parse_schedstat("1834 27 5\n"), Some((1834, 27)));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_schedstat("1 x 3"), None);
    }
}
