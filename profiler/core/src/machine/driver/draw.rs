//! Slices of threads on the timeline.
//!
//! In: a slice, its state. Out: entries: the gap, then the call.

use profiler_common::gap_sleep::{VFORK, WAITID};

use crate::event::{Call, Slice};
use crate::machine::ledger::gil_attribution::WaitHolders;
use crate::machine::time::piece::Piece;
use crate::phase::Phase;
use crate::timeline::{Entry, ThreadState};

/// Puts a slice on the timeline: the gap, then the call.
pub(in crate::machine) fn draw(
    slice: &Slice,
    state: ThreadState,
    because: WaitHolders,
    open: bool,
    sink: &mut dyn FnMut(Entry),
) {
    let held_by = Some(because.by.first.tid).filter(|tid| *tid > 0);
    let sites = because.sites;
    let (tgid, tid) = (slice.tgid, slice.tid);
    let gap_start_ns = slice.gap_start_ns();
    if slice.enter_ns > gap_start_ns {
        let mut label = "running";
        let gap_state = if slice.gap.run_queue_ns > slice.gap.cpu_ns.saturating_add(slice.gap.blocked_ns) {
            ThreadState::RunQueue
        } else if slice.gap.blocked_ns <= slice.gap.cpu_ns {
            ThreadState::Running
        } else if let Some(call) = child_wait(slice) {
            label = call;
            ThreadState::ChildWait
        } else {
            ThreadState::Other
        };
        let end_ns = slice.enter_ns;
        let entry = Entry::Slice {
            tgid,
            tid,
            start_ns: gap_start_ns,
            end_ns,
            state: gap_state,
            label,
            fd: None,
            open: false,
            held_by: None,
            sites: None,
        };
        sink(entry);
    }
    let label = profiler_common::system_call::name(slice.system_call);
    let fd = descriptor_of(&slice.call);
    let (start_ns, end_ns) = (slice.enter_ns, slice.exit_ns);
    sink(Entry::Slice { tgid, tid, start_ns, end_ns, state, label, fd, open, held_by, sites });
}

/// The call in which a thread waited for child processes in the gap, where it slept for nothing else.
fn child_wait(slice: &Slice) -> Option<&'static str> {
    let gap = Piece::gap(slice);
    let is_known = gap.blocked == Phase::ChildWait && gap.fault_ns == 0 && gap.undecided_ns == 0;
    is_known.then_some(match slice.in_gap.blocked_call {
        VFORK => "vfork",
        WAITID => "waitid",
        _ => "wait4",
    })
}

const fn descriptor_of(call: &Call) -> Option<i32> {
    match *call {
        Call::Accept { listener_fd: fd }
        | Call::Read { fd, .. }
        | Call::Write { fd }
        | Call::Transfer { to_fd: fd, .. }
        | Call::EpollWait { epoll_fd: fd, .. }
        | Call::Connect { fd, .. }
        | Call::Shutdown { fd, .. }
        | Call::Close { fd } => Some(fd),
        Call::Poll { only_fd, .. } => only_fd,
        _ => None,
    }
}
