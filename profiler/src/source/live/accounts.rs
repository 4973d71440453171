//! The threads' live records, read from shared memory without a system call.
//!
//! In: the map `ACCOUNTS`. Out: consistent copies of [`ThreadAccount`]s, and what they say of the open slice.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use aya::Ebpf;
use profiler_common::account::{BLOCKED, ENTRY_UNKNOWN, FREE, NOT_IN_CALL, RUNNABLE, ThreadAccount};
use profiler_common::record::slice::PAGE_FAULT;
use profiler_core::fact::{Account, OpenSlice};
use profiler_core::model::now::Scheduled;
use rustc_hash::FxHashMap;

use super::LiveError;
use super::mapping::Mapping;

/// Attempts to look at a thread's account and at something else between two of its changes.
const MAX_LOOKS: u32 = 16;
/// Attempts to read an element that is being written before the writer is waited for; a program writes for
/// well under a microsecond.
const SPINS: u32 = 1000;
/// Unless it is held up while it writes: by an interrupt, or by a hypervisor that has taken its CPU. Then
/// there are so many more attempts, with a pause each.
const MAX_PAUSES: u32 = 1000;
/// Between two of them.
const PAUSE: Duration = Duration::from_micros(100);

/// Unused elements after which no used one follows: as many CPUs may give one out at the same moment.
const MAX_UNUSED: usize = 256;

impl Mapping<ThreadAccount> {
    /// The elements that have or had a thread. They are given out in their order, so those behind them need
    /// no look: most machines use few of them.
    pub(super) fn used(&self) -> impl Iterator<Item = usize> + '_ {
        let is_used = |index: usize| {
            // SAFETY: the element is inside the mapping.
            self.element(index)
                .is_some_and(|element| unsafe { (&raw const (*element).generation).read_volatile() } != 0)
        };
        let mut unused = 0;
        let some_follow = move |index: &usize| {
            unused = if is_used(*index) { 0 } else { unused + 1 };
            unused <= MAX_UNUSED
        };
        (0..self.count()).take_while(some_follow)
    }
}

/// The mapped array.
pub(super) struct AccountTable(Mapping<ThreadAccount>);

impl AccountTable {
    /// Maps the array read-only.
    pub(super) fn map(ebpf: &Ebpf) -> Result<Self, LiveError> {
        Mapping::of(ebpf, "ACCOUNTS").map(Self)
    }

    /// A consistent copy of every account that belongs to a thread.
    pub(super) fn threads(&self) -> impl Iterator<Item = ThreadAccount> + '_ {
        self.0.used().filter_map(|index| self.read(index))
    }

    /// A copy of every account that belongs to a thread, and what `look` finds while it stays as it is; of a
    /// thread that changes all the time, the last look. Threads of which `look` finds nothing are left
    /// out.
    pub(super) fn each_at_rest<T>(
        &self,
        look: impl Fn(&ThreadAccount) -> Option<T>,
    ) -> impl Iterator<Item = (ThreadAccount, T)> {
        self.0.used().filter_map(move |index| {
            let mut account = self.read(index)?;
            for _ in 1..MAX_LOOKS {
                let found = look(&account)?;
                // What was looked at is older than the next look at the account.
                fence(Ordering::Acquire);
                let now = self.read(index)?;
                if now.lock_sequence == account.lock_sequence {
                    return Some((account, found));
                }
                account = now;
            }
            look(&account).map(|found| (account, found))
        })
    }

    /// A consistent copy of one element; `None` if it is free (or, which does not happen, not at rest for a
    /// tenth of a second).
    fn read(&self, index: usize) -> Option<ThreadAccount> {
        let element = self.0.element(index)?;
        for attempt in 0..SPINS + MAX_PAUSES {
            // SAFETY: `element` is inside the mapping; a torn copy is detected below and dropped.
            let (before, copy, after) = unsafe {
                let sequence = &raw const (*element).lock_sequence;
                let before = sequence.read_volatile();
                fence(Ordering::Acquire);
                let copy = element.read_volatile();
                fence(Ordering::Acquire);
                (before, copy, sequence.read_volatile())
            };
            if before == after && before.is_multiple_of(2) {
                return (copy.state != FREE).then_some(copy);
            }
            if attempt < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(PAUSE);
            }
        }
        None
    }
}

/// What is charged to the current state between its last change and `now_ns`.
fn pending(account: &ThreadAccount, now_ns: u64) -> Account {
    let elapsed = now_ns.saturating_sub(account.state_since_ns);
    match account.state {
        BLOCKED => Account { blocked_ns: elapsed, ..Account::default() },
        RUNNABLE => Account { run_queue_ns: elapsed, ..Account::default() },
        _ => Account { cpu_ns: elapsed, ..Account::default() },
    }
}

fn plus(one: Account, other: Account) -> Account {
    Account {
        cpu_ns: one.cpu_ns.saturating_add(other.cpu_ns),
        run_queue_ns: one.run_queue_ns.saturating_add(other.run_queue_ns),
        blocked_ns: one.blocked_ns.saturating_add(other.blocked_ns),
    }
}

/// The thread's totals since it was adopted, up to `now_ns`.
pub(super) fn totals(account: &ThreadAccount, now_ns: u64) -> Account {
    let settled = Account {
        cpu_ns: account.total_cpu_ns,
        run_queue_ns: account.total_run_queue_ns,
        blocked_ns: account.total_blocked_ns,
    };
    plus(settled, pending(account, now_ns))
}

/// Where the scheduler has the thread.
pub(super) const fn scheduled(account: &ThreadAccount) -> Scheduled {
    match account.state {
        BLOCKED => Scheduled::Asleep,
        RUNNABLE => Scheduled::Runnable,
        _ => Scheduled::Running,
    }
}

/// What the thread is in the middle of at `now_ns`.
pub(super) fn open_slice(account: &ThreadAccount, now_ns: u64) -> OpenSlice {
    let segment = Account {
        cpu_ns: account.cpu_ns,
        run_queue_ns: account.run_queue_ns,
        blocked_ns: account.blocked_ns,
    };
    let current = plus(segment, pending(account, now_ns));
    let in_call = account.system_call != NOT_IN_CALL;
    let entry_known = in_call && account.enter_ns != ENTRY_UNKNOWN;
    let (call, gap) = if entry_known {
        let gap = Account {
            cpu_ns: account.gap_cpu_ns,
            run_queue_ns: account.gap_run_queue_ns,
            blocked_ns: account.gap_blocked_ns,
        };
        (current, gap)
    } else if in_call {
        (current, Account::default())
    } else {
        (Account::default(), current)
    };
    let gap_start_ns =
        if entry_known { account.enter_ns.saturating_sub(gap.total_ns()) } else { account.segment_start_ns };
    let in_fault = !in_call && account.state == BLOCKED && account.blocked_in_call == PAGE_FAULT;
    let open_fault_ns = if in_fault { pending(account, now_ns).blocked_ns } else { 0 };
    OpenSlice {
        tgid: account.tgid,
        tid: account.tid,
        sequence: account.sequence,
        system_call: u32::try_from(account.system_call).ok(),
        gap_start_ns,
        enter_ns: account.enter_ns,
        detail: account.detail,
        call,
        gap,
        gap_fault_ns: account.gap_fault_ns.saturating_add(open_fault_ns),
        gap_blocked_call: account.gap_blocked_call,
        call_undecided_ns: account.call_undecided_ns,
        gap_undecided_ns: account.gap_undecided_ns,
    }
}

/// What threads were in the middle of at `at_ns`, by their accounts `before` and after that moment.
pub(super) fn slices_at(
    before: &[ThreadAccount],
    after: impl Iterator<Item = ThreadAccount>,
    at_ns: u64,
) -> Vec<OpenSlice> {
    let began_by_then =
        |account: &ThreadAccount| Some(open_slice(account, at_ns)).filter(|open| open.gap_start_ns <= at_ns);
    let earlier: FxHashMap<u32, &ThreadAccount> =
        before.iter().map(|account| (account.tid, account)).collect();
    after
        .filter_map(|account| {
            began_by_then(&account)
                .or_else(|| earlier.get(&account.tid).and_then(|earlier| began_by_then(earlier)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use profiler_common::account::RUNNING;
    use zerocopy::FromZeros as _;

    use super::*;

    fn account() -> ThreadAccount {
        let mut account = ThreadAccount::new_zeroed();
        account.system_call = NOT_IN_CALL;
        account.state = RUNNING;
        account.state_since_ns = 1_000;
        account.segment_start_ns = 400;
        account.cpu_ns = 600;
        account
    }

    #[test]
    fn open_gap_reaches_up_to_now() {
        let open = open_slice(&account(), 1_250);
        assert_eq!((open.system_call, open.gap_start_ns), (None, 400));
        assert_eq!(open.gap, Account { cpu_ns: 850, ..Account::default() });
        assert_eq!(open.gap_start_ns + open.gap.total_ns(), 1_250);
    }

    #[test]
    fn open_call_keeps_its_finished_gap() {
        let mut account = account();
        account.system_call = 45;
        account.enter_ns = 700;
        account.segment_start_ns = 700;
        account.cpu_ns = 300;
        account.gap_cpu_ns = 200;
        account.gap_blocked_ns = 100;
        account.state = BLOCKED;
        let open = open_slice(&account, 5_000);
        assert_eq!((open.system_call, open.enter_ns, open.gap_start_ns), (Some(45), 700, 400));
        assert_eq!(open.call.total_ns(), 4_300);
        assert_eq!(open.call.blocked_ns, 4_000);
    }

    #[test]
    fn sleep_in_an_open_page_fault_counts_as_fault() {
        let mut account = account();
        account.state = BLOCKED;
        account.blocked_in_call = PAGE_FAULT;
        account.gap_fault_ns = 7;
        assert_eq!(open_slice(&account, 1_500).gap_fault_ns, 507);
    }

    #[test]
    fn entry_before_the_attach_is_marked_unknown() {
        let mut account = account();
        account.system_call = 288;
        let open = open_slice(&account, 1_250);
        assert_eq!((open.system_call, open.enter_ns), (Some(288), 0));
        assert_eq!(open.gap, Account::default());
    }

    #[test]
    fn a_thread_that_has_gone_on_since_then_was_at_what_was_read_before() {
        let thread = |tid, start_ns| {
            let mut account = account();
            (account.tid, account.segment_start_ns, account.cpu_ns, account.state_since_ns) =
                (tid, start_ns, 0, start_ns);
            account
        };
        // The second has gone on after that moment, the third both times; the fourth is new, the fifth has
        // ended.
        let before = [thread(1, 400), thread(2, 500), thread(3, 1_300), thread(5, 600)];
        let after = [thread(1, 400), thread(2, 1_260), thread(3, 1_400), thread(4, 1_270)];
        let open = slices_at(&before, after.into_iter(), 1_250);
        let told: Vec<_> =
            open.iter().map(|open| (open.tid, open.gap_start_ns, open.gap.total_ns())).collect();
        assert_eq!(told, [(1, 400, 850), (2, 500, 750)]);
    }
}
