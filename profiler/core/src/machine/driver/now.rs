//! What every thread is doing at one moment: looks at threads, joined with what the machines know.
//!
//! In: a [`ThreadGlance`] of each thread, and the state of the machines. Out: [`Now`]. Changes nothing.

use profiler_common::gap_sleep::{self, GapSleep};
use profiler_common::record::slice::{NO_CALL, PAGE_FAULT};

use crate::decode::open::slice_of;
use crate::event::Slice;
use crate::fact::OpenSlice;
use crate::machine::driver::meaning;
use crate::machine::driver::state::State;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::Active;
use crate::machine::world::classify::Idle;
use crate::model::now::{Now, RequestNow, Scheduled, ThreadNow};
use crate::timeline::ThreadState;

/// Requests in flight that are listed.
const MAX_REQUESTS: usize = 1024;

/// What one thread is in the middle of.
#[derive(Clone, Copy, Debug)]
pub struct ThreadGlance {
    /// The slice that is not over, as if it ended now.
    slice: Slice,
    in_call: bool,
    scheduled: Scheduled,
    since_ns: u64,
}

impl ThreadGlance {
    /// A thread's live record at `at_ns`.
    pub fn live(open: &OpenSlice, scheduled: Scheduled, at_ns: u64) -> Self {
        let slice = slice_of(open, at_ns);
        Self { slice, in_call: open.system_call.is_some(), scheduled, since_ns: open.since_ns() }
    }
}

/// AsleepLooks at all threads at `at_ns`.
pub fn now(state: &State, glances: &[ThreadGlance], at_ns: u64) -> Now {
    let mut threads: Vec<ThreadNow> = glances.iter().map(|glance| thread(state, glance)).collect();
    threads.sort_unstable_by_key(|thread| (thread.tgid, thread.tid));
    Now { at_ns, threads, requests: requests(state) }
}

fn thread(state: &State, glance: &ThreadGlance) -> ThreadNow {
    let slice = &glance.slice;
    let known = state.runtime.threads.get(slice.tid);
    // The machines are exactly as far as this look: their last slice of this thread is the one before it.
    let current = known.filter(|thread| thread.row.sequence.saturating_add(1) == slice.sequence);
    let meaning = meaning::meaning_of(state.view(), slice);
    let idle = glance.in_call
        && match current {
            Some(thread) => {
                meaning::waits_for_work(state.view(), thread, slice, &meaning)
                    || meaning::is_idle_master(state.view(), thread, slice)
            }
            None => meaning.idle != Idle::No,
        };
    let takes_gil = glance.in_call && state.gil.is_wait(slice);
    let (doing, holding) = match glance.scheduled {
        Scheduled::Runnable => (ThreadState::RunQueue, None),
        Scheduled::Running if glance.in_call && meaning.touch.is_some() => (ThreadState::ClientIo, None),
        Scheduled::Running => (ThreadState::Running, None),
        Scheduled::Asleep if !glance.in_call => (asleep_in_gap(slice), None),
        Scheduled::Asleep if takes_gil => (ThreadState::GilWait, None),
        Scheduled::Asleep if idle => (ThreadState::Idle, None),
        Scheduled::Asleep if meaning.touch.is_some() => {
            let number = meaning::touched(state.view(), slice.tgid, &meaning);
            (ThreadState::ClientWait, Some(meaning::holding(state.view(), number, &meaning)))
        }
        Scheduled::Asleep => (meaning.state, None),
    };
    let request = current.filter(|_| !idle).and_then(|thread| serving(state, thread));
    ThreadNow {
        tgid: slice.tgid,
        tid: slice.tid,
        comm: state.world.processes.names.get(&slice.tid).cloned().unwrap_or_default(),
        slot: known.and_then(|thread| thread.slot),
        state: doing,
        holding: holding.filter(|_| request.is_none()),
        since_ns: glance.since_ns,
        call: glance.in_call.then(|| profiler_common::system_call::name(slice.system_call)),
        request,
        holder_tid: if takes_gil && glance.scheduled == Scheduled::Asleep {
            state.gil.thread(slice.tgid, slice.lock.holder_tid)
        } else {
            0
        },
    }
}

/// What a sleep outside any observed call waits for.
fn asleep_in_gap(slice: &Slice) -> ThreadState {
    match slice.in_gap.blocked_call {
        NO_CALL | PAGE_FAULT => ThreadState::Other,
        call => match gap_sleep::of(call) {
            GapSleep::File | GapSleep::FileLock => ThreadState::File,
            GapSleep::Child => ThreadState::ChildWait,
            GapSleep::Memory | GapSleep::Unknown => ThreadState::Other,
        },
    }
}

fn serving(state: &State, thread: &Thread) -> Option<u64> {
    let (number, id) = thread.serving?;
    let connection = state.wire.connections.get(number)?;
    connection.requests.iter().any(|active| active.request.id == id).then_some(id)
}

fn requests(state: &State) -> Vec<RequestNow> {
    let connections =
        state.wire.connections.numbers().filter_map(|number| state.wire.connections.get(number));
    let open = connections.flat_map(|connection| {
        let open_end = connection.outbound.until_turn();
        // A response whose end nothing marks may be over already.
        let may_be_over = move |active: &Active| {
            active.response.has_begun && open_end && !connection.surely_continues(active)
        };
        connection.requests.iter().filter(move |active| !may_be_over(active))
    });
    let mut requests: Vec<RequestNow> = open
        .map(|active| RequestNow {
            id: active.request.id,
            method: active.request.http.method.clone(),
            path: active.request.http.path.clone(),
            start_ns: active.request.times.start_ns,
            tgid: active.request.tgid,
            tid: active.owner,
            responding: active.response.has_begun,
        })
        .collect();
    requests.sort_by_key(|request| (request.start_ns, request.id));
    requests.truncate(MAX_REQUESTS);
    requests
}
