//! Requests that a loop may resume without a sign of their own.
//!
//! In: what a loop has left, and what that waits for. Out: who may be running.

use crate::event::Tid;
use crate::machine::runtime::event_loop::{EventLoop, Had};
use crate::machine::runtime::handoff;
use crate::machine::runtime::state::RuntimeView;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{Active, RequestKey, Wants};
use crate::phase::Phases;

/// Requests distinguished. Work of one of more than so many is attributed by its task, or hardly ever: what
/// stays unattributed is counted.
const MAX_CANDIDATES: usize = 128;

/// Requests of which one did something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::machine) struct Candidates {
    /// Each of them once.
    pub(in crate::machine) keys: Vec<RequestKey>,
    /// A further request, for which there was no room, may have done it.
    pub(in crate::machine) has_more: bool,
}

impl Candidates {
    /// Adds those that are not among them yet.
    pub(in crate::machine) fn push_all(&mut self, keys: impl Iterator<Item = RequestKey>) {
        for key in keys {
            if self.keys.contains(&key) {
                continue;
            }
            if self.keys.len() < MAX_CANDIDATES {
                self.keys.push(key);
            } else {
                self.has_more = true;
            }
        }
    }

    /// Nobody may have done it.
    pub(in crate::machine) const fn is_none(&self) -> bool {
        self.keys.is_empty() && !self.has_more
    }

    /// Whether there is no room for more candidates.
    pub(in crate::machine) const fn is_full(&self) -> bool {
        self.keys.len() >= MAX_CANDIDATES
    }
}

/// Whether a thread that serves clients runs a loop, as far as that is known before it has looked. In a
/// process on gevent, every such thread does.
pub(in crate::machine) fn runs_loop(state: RuntimeView<'_>, thread: &Thread) -> bool {
    thread.is_loop() || state.world.processes.loop_kind(thread.tgid).is_alone()
}

/// The thread left a request that is not finished. It may resume it in this iteration or the next. `false`:
/// there is no room to remember that.
pub(in crate::machine) fn left(
    state: RuntimeView<'_>,
    thread: &mut Thread,
    key: RequestKey,
    phases: &Phases,
) -> bool {
    let active = state
        .wire
        .connections
        .get(key.0)
        .and_then(|connection| connection.requests.iter().find(|active| active.request.id == key.1));
    let (Some(event_loop), Some(active)) = (thread.serving_loop(), active) else { return true };
    event_loop.share(key.1, phases, || (&active.request.http.method, &active.request.http.path));
    let left_ns = left_ns(active);
    let read_ns = active.request.times.service_start_ns.unwrap_or(0);
    let from_ns = left_ns.saturating_sub(phases.total_ns());
    let (until_ns, request) = (left_ns, key.1);
    event_loop.had(Had { from_ns, until_ns, acted_ns: from_ns, request, read_ns, is_run: false });
    if active.wants != Wants::Unknown || active.response.may_have_ended {
        return true;
    }
    if event_loop.left.has_room_again()
        && let Some(tid) = active.owner
    {
        let mut all: Vec<(u64, RequestKey)> =
            left_by(state, tid, |active| !active.response.may_have_ended).collect();
        all.sort_unstable();
        event_loop.left.park_all(all.into_iter().map(|(_, key)| key));
    }
    event_loop.left.leaves(key, |key| state.wire.connections.is_live(*key))
}

/// The requests that this thread has left and of which it is not known what they wait for, each with the time
/// when it was left.
pub(in crate::machine) fn left_by<'a>(
    state: RuntimeView<'a>,
    tid: Tid,
    is_wanted: impl Fn(&Active) -> bool + 'a,
) -> impl Iterator<Item = (u64, RequestKey)> + 'a {
    state.wire.connections.numbers().filter_map(move |number| {
        let active = state.wire.connections.front(number)?;
        let is_left = active.left_by == Some(tid) && active.owner.is_none() && is_wanted(active);
        (is_left && active.wants == Wants::Unknown).then(|| (left_ns(active), (number, active.request.id)))
    })
}

/// When a loop left a request.
pub(in crate::machine) fn left_ns(active: &Active) -> u64 {
    active.parting.as_ref().map_or(active.cursor_ns, |(until_ns, ..)| *until_ns)
}

/// Whether a request that the loop served may have resumed. It may if nothing shows that it waits. Before its
/// head is complete, no code knows of it.
pub(in crate::machine) fn may_run(state: RuntimeView<'_>, key: RequestKey) -> bool {
    let Some(connection) = state.wire.connections.get(key.0) else { return false };
    let is_in_head = connection.requests.len() == 1 && connection.inbound.in_head();
    connection.requests.front().is_some_and(|active| {
        let waits = is_in_head || active.wants != Wants::Unknown || active.handed_to.is_some();
        active.request.id == key.1 && !waits && !handoff::is_worked_for(state, active.request.tgid, key)
    })
}

/// Requests that may be running without a sign of their own. These are the one touched last, those that the
/// loop left in the iteration before, and the parked ones that `may_resume`. Where all is read before any
/// request runs, those left in this iteration are some too. One may be named twice.
pub(in crate::machine) fn candidates<'a>(
    state: RuntimeView<'a>,
    event_loop: &'a EventLoop,
    current: Option<RequestKey>,
    may_resume: impl Fn(RequestKey) -> bool + 'a,
) -> impl Iterator<Item = RequestKey> + 'a {
    let left_resumes = left_resumes(event_loop, current);
    let left = event_loop.left.before.iter().filter(move |_| left_resumes);
    let parked = event_loop.left.parked.iter().filter(move |key| may_resume(**key));
    // Where all is read first, whoever was left in this iteration may run in it once more.
    let now = event_loop.left.now.iter().filter(move |_| event_loop.kind().reads_first);
    let others = left.chain(now).chain(parked).copied();
    let current = current.into_iter().filter(move |key| may_run(state, *key) || has_drained(state, *key));
    current.chain(others.filter(move |key| may_run(state, *key)))
}

/// Whether a request that the loop has just touched may run although a read for it found nothing more. Who
/// does the TLS itself reads until nothing is there, whether or not the request is whole.
fn has_drained(state: RuntimeView<'_>, key: RequestKey) -> bool {
    let Some(connection) = state.wire.connections.get(key.0) else { return false };
    let is_whole = connection.inbound.is_encrypted()
        && connection.inbound.head_complete()
        && !connection.inbound.surely_owes();
    is_whole
        && connection.requests.front().is_some_and(|active| {
            active.request.id == key.1 && active.wants == Wants::ClientRead && active.handed_to.is_none()
        })
}

/// What an iteration made ready resumes in the next one, whoever resumes before it.
fn left_resumes(event_loop: &EventLoop, current: Option<RequestKey>) -> bool {
    current.is_none() || event_loop.is_fresh() || event_loop.passes_on()
}

/// Whether others may be running than those that [`candidates`] names: there was no room to remember all.
/// `resumes_parked`: parked ones may resume.
pub(in crate::machine) fn has_more(
    event_loop: &EventLoop,
    current: Option<RequestKey>,
    resumes_parked: bool,
) -> bool {
    let left = &event_loop.left;
    left.has_more_before() && left_resumes(event_loop, current)
        || left.has_more_now() && event_loop.kind().reads_first
        || left.has_more_parked() && resumes_parked
}

/// Whether a request other than this one may have run since anything was touched. Where an iteration has no
/// order, any request that may resume can have run.
pub(in crate::machine) fn others_may_run(
    state: RuntimeView<'_>,
    thread: &Thread,
    key: Option<RequestKey>,
) -> bool {
    let event_loop = thread.as_loop();
    let has_no_order =
        |event_loop: &&EventLoop| event_loop.resumes_at_once() || event_loop.kind().reads_first;
    event_loop.filter(has_no_order).is_some_and(|event_loop| {
        let resumes_parked = event_loop.resumes_parked();
        has_more(event_loop, None, resumes_parked)
            || candidates(state, event_loop, None, |_| resumes_parked).any(|other| Some(other) != key)
    })
}

/// The only one of them; `None`: there is none, or several, or there may be more than are remembered.
pub(in crate::machine) fn running(
    state: RuntimeView<'_>,
    event_loop: &EventLoop,
    current: Option<RequestKey>,
) -> Option<RequestKey> {
    let resumes_parked = event_loop.resumes_parked();
    if has_more(event_loop, current, resumes_parked) {
        return None;
    }
    let mut candidates = candidates(state, event_loop, current, |_| resumes_parked);
    let first = candidates.next()?;
    candidates.all(|key| key == first).then_some(first)
}

#[cfg(test)]
mod tests;
