//! Up to when it is certain how many slots were busy.
//!
//! In: live threads, each with its last slice. Out: the curve of busy slots, for all and by process, as
//! entries of the timeline.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::time::state::Time;
use crate::timeline::Entry;

/// Counts a slot that is still busy as busy up to its last slice. A thread that takes one job after the other
/// waits for none. Its stretch would come only after that time has been settled. At the end of the window a
/// thread may have nothing open: its last slice came while it was looked at.
pub(in crate::machine) fn up_to_last_slice(thread: &mut Thread, time: &mut Time, window_start_ns: u64) {
    let until_ns = thread.row.last_exit_ns;
    if thread.busy_since_ns.is_some_and(|since_ns| since_ns < until_ns) {
        thread.was_busy(time, until_ns, window_start_ns);
        thread.busy_since_ns = Some(until_ns);
    }
}

/// Busy slots are certain up to the last slice of the slot that has been silent longest. At the end of the
/// window they are certain up to that end.
pub(in crate::machine) fn settle(
    threads: &mut Threads,
    time: &mut Time,
    window_start_ns: u64,
    end_ns: Option<u64>,
    sink: &mut dyn FnMut(Entry),
) {
    for thread in threads.values_mut().filter(|thread| thread.slot.is_some()) {
        up_to_last_slice(thread, time, window_start_ns);
    }
    let mut silent_since: FxHashMap<Tid, u64> = FxHashMap::default();
    // A thread that serves its first request may turn out to be a slot, busy since it began.
    let may_be_busy = |thread: &Thread| thread.slot.is_some() || thread.serving.is_some();
    for thread in threads.values().filter(|thread| may_be_busy(thread)) {
        let since_ns = silent_since.entry(thread.tgid).or_insert(u64::MAX);
        // A stretch that continues begins again at this very moment: it is not settled in between.
        *since_ns = (*since_ns).min(thread.row.last_exit_ns.saturating_sub(1));
    }
    if let Some(until_ns) = end_ns.or_else(|| silent_since.values().copied().min()) {
        time.busy.settle(until_ns, |time_ns, busy| sink(Entry::BusySlots { time_ns, tgid: 0, busy }));
    }
    let mut processes: Vec<_> = time.busy_of.iter_mut().collect();
    // The order of entries must not depend on a hash.
    processes.sort_unstable_by_key(|(tgid, _)| **tgid);
    for (tgid, process) in processes {
        if let Some(until_ns) = end_ns.or_else(|| silent_since.get(tgid).copied()) {
            process.settle(until_ns, |time_ns, busy| sink(Entry::BusySlots { time_ns, tgid: *tgid, busy }));
        }
    }
    // If nobody in a process serves, nothing can become known later.
    let certain_ns = |tgid| silent_since.get(&tgid).copied().unwrap_or(u64::MAX);
    time.capacity.decide_all(|tgid| end_ns.unwrap_or_else(|| certain_ns(tgid)));
}
