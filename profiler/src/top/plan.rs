//! What every thread does at each moment of a recording: read ahead, as a slice is recorded only when it
//! ends.
//!
//! In: a recording, read once from start to end. Out: for each of its moments (a tenth of a second apart,
//! further in long recordings) the open slice of every thread, as the kernel's live records gave it then.

use std::path::Path;

use profiler_common::record::slice::SliceRecord;
use profiler_common::record::{KIND_SLICE, RecordHeader};
use profiler_core::event::Tid;
use profiler_core::fact::{Account, Fact, OpenSlice};
use profiler_core::model::now::Scheduled;
use profiler_core::stream::Item;
use rustc_hash::FxHashMap;
use zerocopy::FromBytes as _;

use crate::recording::OpenError;
use crate::source::file::FileSource;

/// First distance between two moments.
const FIRST_STEP_NS: u64 = 100_000_000;
/// Slices kept; beyond it moments are twice as far apart.
const MAX_SLICES: usize = 200_000;

/// Read-ahead of one recording.
#[derive(Debug, Default)]
pub struct Plan {
    /// Start of the window; 0: there is none.
    pub start_ns: u64,
    /// The last thing that is recorded.
    pub end_ns: u64,
    /// Distance between two moments.
    pub step_ns: u64,
    threads: FxHashMap<Tid, Vec<SliceRecord>>,
    open: FxHashMap<Tid, OpenSlice>,
    kept: usize,
}

impl Plan {
    /// Reads a recording ahead.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn read(path: &Path) -> Result<Self, OpenError> {
        let mut plan = Self { step_ns: FIRST_STEP_NS, ..Self::default() };
        for item in FileSource::open(path)? {
            plan.item(&item);
        }
        for slices in plan.threads.values_mut() {
            slices.sort_unstable_by_key(|slice| slice.header.time_ns);
        }
        Ok(plan)
    }

    fn item<B: AsRef<[u8]>>(&mut self, item: &Item<B>) {
        self.end_ns = self.end_ns.max(time_of(item));
        match item {
            Item::Kernel(bytes) => {
                let slice = SliceRecord::read_from_prefix(bytes.as_ref()).ok().map(|(slice, _)| slice);
                if let Some(slice) = slice.filter(|slice| slice.header.kind == KIND_SLICE) {
                    self.slice(slice);
                }
            }
            Item::Fact(record) => match &record.fact {
                Fact::WindowStarted | Fact::Tick if self.start_ns == 0 => self.start_ns = record.time_ns,
                Fact::OpenSlice(open) if self.start_ns > 0 => {
                    self.open.insert(open.tid, open.clone());
                }
                _ => {}
            },
        }
    }

    fn slice(&mut self, slice: SliceRecord) {
        if self.start_ns == 0 || !self.holds_a_moment(&slice) {
            return;
        }
        self.threads.entry(slice.header.tid).or_default().push(slice);
        self.kept += 1;
        if self.kept >= MAX_SLICES {
            self.step_ns = self.step_ns.saturating_mul(2);
            let mut threads = std::mem::take(&mut self.threads);
            for slices in threads.values_mut() {
                slices.retain(|slice| self.holds_a_moment(slice));
            }
            self.kept = threads.values().map(Vec::len).sum();
            self.threads = threads;
        }
    }

    /// Whether one of the moments lies within the slice.
    fn holds_a_moment(&self, slice: &SliceRecord) -> bool {
        let step = self.step_ns.max(1);
        let index = |time_ns: u64| time_ns.saturating_sub(self.start_ns) / step;
        gap_start_ns(slice) <= self.start_ns || index(slice.header.time_ns) > index(gap_start_ns(slice))
    }

    /// The moment at or before `at_ns`.
    pub const fn moment(&self, at_ns: u64) -> u64 {
        let after_ns = at_ns.saturating_sub(self.start_ns);
        let step_ns = if self.step_ns == 0 { 1 } else { self.step_ns };
        self.start_ns.saturating_add(after_ns / step_ns * step_ns)
    }

    /// What every thread is in the middle of at a moment.
    pub fn open_at(&self, moment_ns: u64) -> Vec<(OpenSlice, Scheduled)> {
        let mut open: Vec<(OpenSlice, Scheduled)> = Vec::new();
        for slices in self.threads.values() {
            let next = slices.partition_point(|slice| slice.header.time_ns <= moment_ns);
            if let Some(slice) = slices.get(next).filter(|slice| gap_start_ns(slice) <= moment_ns) {
                open.push(within(slice, moment_ns));
            }
        }
        for last in self.open.values().filter(|last| last.gap_start_ns <= moment_ns) {
            let later = self.threads.get(&last.tid).and_then(|slices| slices.last());
            if later.is_none_or(|slice| slice.header.time_ns <= moment_ns) {
                open.push((
                    last.clone(),
                    mostly(if last.system_call.is_some() { last.call } else { last.gap }),
                ));
            }
        }
        open.sort_unstable_by_key(|(open, _)| (open.tgid, open.tid));
        open
    }
}

/// When an item of a stream happened; 0 where it does not say.
pub fn time_of<B: AsRef<[u8]>>(item: &Item<B>) -> u64 {
    match item {
        Item::Kernel(bytes) => {
            RecordHeader::read_from_prefix(bytes.as_ref()).map_or(0, |(header, _)| header.time_ns)
        }
        Item::Fact(record) => record.time_ns,
    }
}

const fn gap_start_ns(slice: &SliceRecord) -> u64 {
    let gap_ns = slice.gap_cpu_ns.saturating_add(slice.gap_run_queue_ns).saturating_add(slice.gap_blocked_ns);
    slice.enter_ns.saturating_sub(gap_ns)
}

/// A slice as it stood at `at_ns`: in what order its thread ran, waited and slept is not recorded, so each
/// has its share.
fn within(slice: &SliceRecord, at_ns: u64) -> (OpenSlice, Scheduled) {
    let in_call = at_ns >= slice.enter_ns;
    let gap = Account {
        cpu_ns: slice.gap_cpu_ns,
        run_queue_ns: slice.gap_run_queue_ns,
        blocked_ns: slice.gap_blocked_ns,
    };
    let call = Account {
        cpu_ns: slice.call_cpu_ns,
        run_queue_ns: slice.call_run_queue_ns,
        blocked_ns: slice.call_blocked_ns,
    };
    let gap_start_ns = gap_start_ns(slice);
    let (call_so_far, gap_so_far) = match in_call {
        true => (part_of(call, at_ns.saturating_sub(slice.enter_ns)), gap),
        false => (Account::default(), part_of(gap, at_ns.saturating_sub(gap_start_ns))),
    };
    let open = OpenSlice {
        tgid: slice.header.tgid,
        tid: slice.header.tid,
        sequence: slice.sequence.saturating_sub(1),
        system_call: in_call.then_some(u32::from(slice.system_call)),
        gap_start_ns,
        enter_ns: if in_call { slice.enter_ns } else { 0 },
        // What is known only at the end of the call says nothing while it goes on.
        detail: slice.detail,
        call: call_so_far,
        gap: gap_so_far,
        gap_fault_ns: slice.gap_fault_ns.min(gap_so_far.blocked_ns),
        gap_blocked_call: slice.gap_blocked_call,
        // A missed switch is rare, and a line on a screen no account.
        call_undecided_ns: 0,
        gap_undecided_ns: 0,
    };
    (open, mostly(if in_call { call } else { gap }))
}

/// The first `length_ns` of an account, each of its parts by its share; they add up to that length.
fn part_of(account: Account, length_ns: u64) -> Account {
    let whole_ns = u128::from(account.total_ns()).max(1);
    let share = |part_ns: u64| {
        u64::try_from(u128::from(part_ns) * u128::from(length_ns) / whole_ns).unwrap_or(u64::MAX)
    };
    let (cpu_ns, run_queue_ns) = (share(account.cpu_ns), share(account.run_queue_ns));
    if account.blocked_ns == 0 && account.run_queue_ns == 0 {
        return Account { cpu_ns: length_ns, ..Account::default() };
    }
    Account {
        cpu_ns,
        run_queue_ns,
        blocked_ns: length_ns.saturating_sub(cpu_ns).saturating_sub(run_queue_ns),
    }
}

/// Where the scheduler had a thread for most of a stretch.
const fn mostly(account: Account) -> Scheduled {
    if account.blocked_ns > account.cpu_ns && account.blocked_ns > account.run_queue_ns {
        Scheduled::Asleep
    } else if account.run_queue_ns > account.cpu_ns {
        Scheduled::Runnable
    } else {
        Scheduled::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_account_is_as_long_as_it_should_be() {
        let account = Account { cpu_ns: 7, run_queue_ns: 11, blocked_ns: 982 };
        for length_ns in [0, 1, 13, 500, 999, 1000] {
            assert_eq!(part_of(account, length_ns).total_ns(), length_ns);
        }
        assert_eq!(part_of(Account { cpu_ns: 9, ..Account::default() }, 4).cpu_ns, 4);
    }

    #[test]
    fn a_slice_is_found_at_each_moment_that_it_holds_and_at_no_other() {
        let mut slice =
            SliceRecord { enter_ns: 350_000_000, sequence: 5, system_call: 7, ..Default::default() };
        slice.header =
            RecordHeader { kind: KIND_SLICE, time_ns: 620_000_000, tid: 3, tgid: 2, ..slice.header };
        (slice.gap_cpu_ns, slice.call_blocked_ns) = (80_000_000, 270_000_000);
        let mut plan = Plan { start_ns: 100_000_000, step_ns: FIRST_STEP_NS, ..Plan::default() };
        plan.slice(slice);
        let seen =
            |at_ns| plan.open_at(at_ns).first().map(|(open, scheduled)| (open.system_call, *scheduled));
        assert_eq!(seen(200_000_000), None, "before its gap");
        assert_eq!(seen(300_000_000), Some((None, Scheduled::Running)));
        assert_eq!(seen(400_000_000), Some((Some(7), Scheduled::Asleep)));
        assert_eq!(seen(600_000_000), Some((Some(7), Scheduled::Asleep)));
        assert_eq!(seen(700_000_000), None, "after its end");
        let short = SliceRecord { enter_ns: 150_000_000, ..Default::default() };
        assert!(!plan.holds_a_moment(&SliceRecord {
            header: RecordHeader { time_ns: 160_000_000, ..slice.header },
            ..short
        }));
    }
}
