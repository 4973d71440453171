//! Requests that a loop may resume without a sign of their own.
//!
//! In: what a loop has left, and what that waits for. Out: who may be running.

use crate::machine::runtime::event_loop::{EventLoop, MAX_LEFT, MAX_PARKED};
use crate::machine::runtime::handoff;
use crate::machine::runtime::state::View;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{RequestKey, Wants};
use crate::phase::Phases;

/// Whether a thread that serves clients runs a loop, as far as that is known before it has looked. In a process on gevent, every such thread does.
pub(in crate::machine) fn runs_loop(state: View<'_>, thread: &Thread) -> bool {
    thread.is_loop() || state.world.processes.loop_kind(thread.tgid).is_alone()
}

/// The thread left a request that is not finished. It may resume it in this iteration or the next.
pub(in crate::machine) fn left(state: View<'_>, thread: &mut Thread, key: RequestKey, phases: &Phases) {
    let active = state
        .wire
        .connections
        .get(key.0)
        .and_then(|connection| connection.requests.iter().find(|active| active.request.id == key.1));
    let (Some(event_loop), Some(active)) = (thread.serving_loop(), active) else { return };
    event_loop.share(key.1, phases, || (&active.request.http.method, &active.request.http.path));
    if active.wants == Wants::Unknown && !active.response.may_have_ended {
        if event_loop.left.now.len() < MAX_LEFT {
            event_loop.left.now.push(key);
        }
        if event_loop.left.parked.len() >= MAX_PARKED {
            event_loop.left.parked.retain(|key| state.wire.connections.is_live(*key));
        }
        if event_loop.left.parked.len() < MAX_PARKED {
            event_loop.left.parked.push(key);
        }
    }
}

/// Whether a request that the loop served may have resumed. It may if nothing shows that it waits. Before its head is complete, no code knows of it.
pub(in crate::machine) fn may_run(state: View<'_>, key: RequestKey) -> bool {
    let Some(connection) = state.wire.connections.get(key.0) else { return false };
    let is_in_head = connection.requests.len() == 1 && connection.inbound.in_head();
    connection.requests.front().is_some_and(|active| {
        let waits = is_in_head || active.wants != Wants::Unknown || active.handed_to.is_some();
        active.request.id == key.1 && !waits && !handoff::is_worked_for(state, active.request.tgid, key)
    })
}

/// Requests that may be running without a sign of their own. These are the one touched last, those that the loop left in the iteration before, and the parked
/// ones that `may_resume`. One may be named twice.
pub(in crate::machine) fn candidates<'a>(
    state: View<'a>,
    event_loop: &'a EventLoop,
    current: Option<RequestKey>,
    may_resume: impl Fn(RequestKey) -> bool + 'a,
) -> impl Iterator<Item = RequestKey> + 'a {
    // What an iteration made ready resumes in the next one, whoever resumes before it.
    let left_resumes = current.is_none() || event_loop.is_fresh() || event_loop.passes_on();
    let left = event_loop.left.before.iter().filter(move |_| left_resumes);
    let parked = event_loop.left.parked.iter().filter(move |key| may_resume(**key));
    let others = left.chain(parked).copied();
    current.into_iter().chain(others).filter(move |key| may_run(state, *key))
}

/// Whether a request other than this one may have run since anything was touched. Where an iteration has no order, any request that may resume can have run.
pub(in crate::machine) fn others_may_run(state: View<'_>, thread: &Thread, key: Option<RequestKey>) -> bool {
    let event_loop = thread.as_loop();
    event_loop.filter(|event_loop| event_loop.resumes_at_once()).is_some_and(|event_loop| {
        let resumes_parked = event_loop.resumes_parked();
        candidates(state, event_loop, None, |_| resumes_parked).any(|other| Some(other) != key)
    })
}

/// The only one of them; `None`: there is none, or several.
pub(in crate::machine) fn running(
    state: View<'_>,
    event_loop: &EventLoop,
    current: Option<RequestKey>,
) -> Option<RequestKey> {
    let resumes_parked = event_loop.resumes_parked();
    let mut candidates = candidates(state, event_loop, current, |_| resumes_parked);
    let first = candidates.next()?;
    candidates.all(|key| key == first).then_some(first)
}
