//! Accounts that come after their requests were resumed.
//!
//! In: the pieces of a thread's slice. Out: requests whose time they explain, complete.

use crate::event::Tid;
use crate::machine::driver::state::State;
use crate::machine::time::piece::Piece;
use crate::timeline::Entry;

/// These pieces of a thread's time are known now, up to `end_ns`.
pub(super) fn arrive(
    state: &mut State,
    tid: Tid,
    pieces: [Option<Piece>; 2],
    end_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    for (key, known) in state.runtime.late.arrive(tid, pieces, end_ns) {
        if let Some(request) = state.runtime.late.request(key.1) {
            request.phases.explain(&known);
        } else if let Some(active) = state.wire.connections.active_mut(key) {
            active.request.phases.explain(&known);
        }
    }
    for request in state.runtime.late.take_complete(end_ns) {
        state.count(Box::new(request), sink);
    }
}

/// A process has ended: nothing more is reported of its threads.
pub(super) fn process_ends(state: &mut State, tgid: Tid, sink: &mut dyn FnMut(Entry)) {
    for request in state.runtime.late.process_ends(tgid) {
        state.count(Box::new(request), sink);
    }
}

/// The window ends. If the state is a copy whose original continues, requests that wait are open, like those in flight: they count in the next window.
pub(super) fn end_window(state: &mut State, sink: &mut dyn FnMut(Entry)) {
    for request in state.runtime.late.take_all() {
        state.count(Box::new(request), sink);
    }
}
