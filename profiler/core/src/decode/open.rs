//! Slices that are open: what each would be if it ended now.
//!
//! In: what a thread is in the middle of, a moment. Out: a slice that changes no state by its result.

use crate::event::{InGap, Slice, Woken};
use profiler_common::record::detail::Futex;
use profiler_common::record::slice::Undecided;
use profiler_common::system_call::FUTEX;

use super::call;
use crate::fact::OpenSlice;

/// An open slice as the slice it would have become at `end_ns`.
pub(crate) fn slice_of(open: &OpenSlice, end_ns: u64) -> Slice {
    let open = open.clone().as_of(end_ns);
    let system_call = open.system_call.unwrap_or(u32::MAX);
    let outcome = call::Outcome { result: -4, flags: 0 };
    let enter_ns = if open.system_call.is_some() && open.enter_ns > 0 { open.enter_ns } else { end_ns };
    let futex = (system_call == FUTEX).then(|| Futex::of(&open.detail));
    Slice {
        tgid: open.tgid,
        tid: open.tid,
        sequence: open.sequence.saturating_add(1),
        call: call::call(system_call, &open.detail, outcome),
        system_call,
        // Nothing was returned: as if interrupted (-EINTR), so that no state changes by it.
        result: -4,
        enter_ns,
        exit_ns: end_ns,
        inside: open.call,
        gap: open.gap,
        undecided: Undecided { call_ns: open.call_undecided_ns, gap_ns: open.gap_undecided_ns },
        call_switches: 0,
        back_end_ready_ns: 0,
        flags: 0,
        in_gap: InGap {
            fault_ns: open.gap_fault_ns,
            blocked_call: open.gap_blocked_call,
            folded_ns: 0,
            folded_calls: 0,
            switches: 0,
            woken_by_tid: 0,
        },
        lock: call::lock_seen(futex.as_ref(), outcome.flags, 0),
        woken: Woken::default(),
    }
}
