//! Unattributed work: what an event loop does for a request that is not known at once.
//!
//! In: back ends' sockets that any of several requests may have opened, what the loop's thread does with
//! them, requests that resume. Out: the account of each such work, joined to its request once something shows
//! whose it is. Where nothing does, it belongs to no request, and is counted.
//!
//! Three things show whose it is. With greenlets, its request resumes right after the work, without a look of
//! the loop in between. With tasks, its request resumes in the very iteration in which the work's task
//! resumed after its answer. Or all other requests are excluded, as they resumed while the work waited
//! for its back end.

use crate::event::{Call, Slice};
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::finish;
use crate::machine::runtime::candidates::{Candidates, left_ns, may_run, others_may_run};
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::unattributed::{BackEnd, Candidate, Others, UnattributedWork};
use crate::machine::runtime::{asker, handoff};
use crate::machine::wire::request::{Active, Beginning, RequestKey, Wants};
use crate::machine::world::errno::{EAGAIN, EINPROGRESS};
use crate::phase::{Phase, Phases};
use crate::rule::Rule;

/// Back ends that one of them opened. A further one is looked at as one of which nothing is known.
const MAX_BACK_ENDS: usize = 16;

/// The thread turns to unattributed work, and leaves whatever it served. Returns where the work's own time
/// begins.
fn turn_to(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) -> u64 {
    let is_readiness = matches!(slice.call, Call::Read { .. });
    let other = thread.serving;
    let may_others = others_may_run(context.view(), thread, None);
    let Some(event_loop) = thread.serving_loop() else { return slice.enter_ns };
    let free_from_ns = event_loop.touched.until_ns.min(slice.enter_ns);
    let is_first = event_loop.is_fresh();
    let may_other = other.is_some_and(|key| may_run(context.view(), key))
        || event_loop.unattributed.current_runs()
        || may_others;
    let doubtful = may_other && !is_readiness;
    let is_later = is_readiness && !is_first;
    let own_start_ns = if is_later || doubtful { slice.enter_ns } else { free_from_ns };
    let left_ns = if doubtful { free_from_ns } else { own_start_ns };
    leave(thread, left_ns, context.window_start_ns);
    finish::leave(context, thread, slice.tid, left_ns);
    if doubtful
        && let Some(key) = other
        && let Some(active) = context.wire.connections.active_mut(key)
    {
        // Either of the two ran.
        active.pass(slice.enter_ns, Phase::Unexplained);
    }
    own_start_ns
}

/// One of several requests opens a back end.
pub(in crate::machine) fn open(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    back_end: BackEnd,
    all: &Candidates,
) {
    let own_start_ns = turn_to(context, thread, slice);
    let task = context.runtime.tasks.of(slice.tid);
    let Some(event_loop) = thread.serving_loop() else { return };
    let of_task = task.map(|task| (task, event_loop.tasks.another_until_ns(task)));
    // Where a job of one of them is known it may be that one.
    let is_given = !all.keys.iter().any(|key| asker::handed_to(context.view(), *key).is_some());
    let given = if is_given {
        handoff::take_given(&mut context.runtime_context(), slice.tgid, slice.enter_ns, of_task)
    } else {
        None
    };
    let connections = &context.wire.connections;
    let candidates = all.keys.iter().filter_map(|key| {
        let active = connections.active(*key)?;
        let from_ns = left_ns(active);
        let before = match given {
            Some(handed) => handed.before(own_start_ns, Phase::Unexplained, Phase::Unexplained),
            None => {
                // The request whose task it is owns no other such work: its own resumes with this one.
                let asked = task.is_none()
                    && event_loop
                        .unattributed
                        .may_have_been(*key, from_ns, |key| context.wire.connections.is_open(key));
                event_loop.explain(asked, from_ns, own_start_ns, Wants::Unknown, 0)
            }
        };
        Some(Candidate { key: *key, before, has_passed: false })
    });
    let candidates: Vec<Candidate> = candidates.collect();
    let beginning = Beginning {
        id: 0,
        connection: 0,
        index: 0,
        start_ns: own_start_ns,
        start_is_arrival: false,
        accepted_ns: None,
        truncated: false,
        dispatched_ns: 0,
    };
    let account = Active::new(&beginning, slice.tgid, slice.tid);
    let unattributed = &mut event_loop.unattributed;
    unattributed.make_room(|key| connections.active(key).is_some());
    let number = unattributed.count;
    unattributed.count = number.saturating_add(1);
    unattributed.list.push(UnattributedWork {
        number,
        account,
        begun_ns: own_start_ns,
        task,
        back_ends: vec![back_end],
        candidates,
        has_more: all.has_more,
        answered_ns: 0,
        touched_ns: 0,
        has_asked: false,
        of_iteration: (0, Phases::default()),
    });
    if all.has_more && all.is_full() {
        context.crowd();
    }
    touch(context, thread, slice, number, own_start_ns);
}

/// The unattributed work that the thread serves opens a further back end. Nothing came in between.
pub(in crate::machine) fn open_further(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    back_end: BackEnd,
) {
    let Some(event_loop) = thread.serving_loop() else { return };
    let Some(number) = event_loop.unattributed.current else { return };
    if let Some(work) = event_loop.unattributed.list.iter_mut().find(|work| work.number == number)
        && work.back_ends.len() < MAX_BACK_ENDS
    {
        work.back_ends.push(back_end);
    }
    touch(context, thread, slice, number, slice.gap_start_ns());
}

/// A call on a back end that belongs to unattributed work. Returns whether it does.
pub(in crate::machine) fn resume(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    back_end: BackEnd,
) -> bool {
    let task = context.runtime.tasks.of(slice.tid);
    let Some(event_loop) = thread.serving_loop() else { return false };
    let unattributed = &mut event_loop.unattributed;
    let is_task_s = |work: &&mut UnattributedWork| task.is_some() && work.task == task;
    let of_task = unattributed.list.iter_mut().find(is_task_s);
    let is_of_task = of_task.is_some();
    let Some(work) = (match of_task {
        Some(work) => Some(work),
        None => unattributed.list.iter_mut().find(|work| work.back_ends.contains(&back_end)),
    }) else {
        return false;
    };
    if !work.back_ends.contains(&back_end) && work.back_ends.len() < MAX_BACK_ENDS {
        work.back_ends.push(back_end);
    }
    let number = work.number;
    if unattributed.current == Some(number) {
        touch(context, thread, slice, number, slice.gap_start_ns());
        return true;
    }
    if work.has_asked && !is_of_task && matches!(slice.call, Call::Write { .. }) {
        // Another question before the answer: several share this connection.
        if let Some(event_loop) = thread.serving_loop() {
            event_loop.unattributed.forget(number);
        }
        return false;
    }
    let own_start_ns = turn_to(context, thread, slice);
    let Some(event_loop) = thread.serving_loop() else { return true };
    let Some(mut work) = event_loop.unattributed.take(number) else { return true };
    let account = &mut work.account;
    let arrival_ns = slice.back_end_ready_ns;
    let is_answer = matches!(slice.call, Call::Read { .. }) || arrival_ns > 0;
    let wants = if is_answer { Wants::Backend } else { account.wants };
    for (until_ns, phase) in event_loop.explain(false, account.cursor_ns, own_start_ns, wants, arrival_ns) {
        account.pass(until_ns, phase);
    }
    account.pass(own_start_ns, Phase::Unexplained);
    event_loop.unattributed.list.push(work);
    touch(context, thread, slice, number, own_start_ns);
    true
}

/// Unattributed work takes the thread's time up to the end of this call.
fn touch(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    number: u64,
    own_start_ns: u64,
) {
    let Some(mut work) = thread.serving_loop().and_then(|event_loop| event_loop.unattributed.take(number))
    else {
        return;
    };
    let taken = work.account.advance(thread.time(slice.tid), own_start_ns, context.window_start_ns);
    thread.hold_for_request(context.window_start_ns, taken.from_ns, &taken.phases);
    work.touched_ns = slice.exit_ns;
    let moved = slice.result > 0;
    let asks = matches!(slice.call, Call::Write { .. }) && moved;
    let waits = asks || matches!(slice.result, EAGAIN | EINPROGRESS);
    work.account.wants = if waits { Wants::Backend } else { Wants::Unknown };
    if matches!(slice.call, Call::Read { .. }) && moved {
        work.answered_ns = slice.exit_ns;
    }
    work.has_asked = asks || work.has_asked && slice.result <= 0;
    let Some(event_loop) = thread.serving_loop() else { return };
    work.had(event_loop.looks.iteration_start_ns(), &taken.phases);
    event_loop.touched.until_ns = slice.exit_ns;
    if !matches!(slice.call, Call::Read { .. }) {
        event_loop.runs(None, slice.enter_ns, false);
    }
    event_loop.unattributed.current = Some(number);
    event_loop.unattributed.list.push(work);
}

/// The thread leaves its unattributed work for something else, or waits.
pub(in crate::machine) fn leave(thread: &mut Thread, until_ns: u64, window_start_ns: u64) {
    let Some(event_loop) = thread.event_loop.as_deref_mut() else { return };
    let Some(mut work) =
        event_loop.unattributed.current.take().and_then(|number| event_loop.unattributed.take(number))
    else {
        return;
    };
    let account = &mut work.account;
    account.owner = None;
    let from_ns = account.cursor_ns;
    let mut phases = Phases::default();
    if until_ns > from_ns {
        phases = thread.pending.take_until(until_ns, from_ns, &mut account.held);
        let left_ns = from_ns.saturating_add(phases.total_ns());
        account.spend(from_ns, left_ns, &phases);
        account.cursor_ns = left_ns;
    }
    work.had(event_loop.looks.iteration_start_ns(), &phases);
    event_loop.unattributed.list.push(work);
    thread.hold_for_request(window_start_ns, from_ns, &phases);
}

/// A request resumes by this call. Unattributed work that proves to be its own becomes part of it.
pub(in crate::machine) fn claim(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    key: RequestKey,
) {
    let runs = !matches!(slice.call, Call::Read { .. });
    let task = context.runtime.tasks.of(slice.tid);
    let has_no_task = |key: RequestKey| context.wire.connections.is_open(key);
    let Some(event_loop) = thread.serving_loop() else { return };
    if event_loop.unattributed.list.is_empty() {
        return;
    }
    let others = Others {
        let_at_once: event_loop.runs_timers_first(),
        by_timer: event_loop.timer_for_iteration_before(),
    };
    let has_greenlets = event_loop.kind().has_greenlets();
    let unattributed = &event_loop.unattributed;
    let followed = unattributed.followed_by(key, others).filter(|_| runs && !event_loop.resumes_at_once());
    let of_task = unattributed.of_task(task, key).filter(|_| runs || has_greenlets).map(|work| work.number);
    // The work of another task: order decides only where no request is left that may own that task.
    let followed = followed.filter(|(number, _)| {
        of_task == Some(*number) || unattributed.may_be_guessed(*number, task, key, has_no_task)
    });
    // First those that can be nobody else's, in the order of time.
    let is_sole = |work: &&UnattributedWork| {
        Rule::SoleCandidate.holds() && work.is_ones() && work.claimant(key).is_some()
    };
    let mut own: Vec<(u64, u64)> =
        unattributed.list.iter().filter(is_sole).map(|work| (work.begun_ns, work.number)).collect();
    let told = [followed.map(|(number, _)| number), of_task];
    let is_told = |work: &&UnattributedWork| told.contains(&Some(work.number));
    own.extend(unattributed.list.iter().filter(is_told).map(|work| (work.begun_ns, work.number)));
    own.sort_unstable();
    own.dedup();
    let current = unattributed.current;
    for (_, number) in own {
        let work = thread.serving_loop().and_then(|event_loop| event_loop.unattributed.take(number));
        let Some(work) = work else { continue };
        let is_current = current == Some(number);
        let (begun_ns, until_ns, of_iteration) = (work.begun_ns, work.account.cursor_ns, work.of_iteration);
        let is_joined = join(context, slice, key, work, is_current);
        let Some(event_loop) = thread.serving_loop() else { return };
        if !is_joined {
            event_loop.unattributed.forget(number);
            continue;
        }
        event_loop.unattributed.excludes(key, begun_ns, until_ns);
        let by_order = of_task != Some(number)
            && followed.is_some_and(|(followed, by_order)| by_order && followed == number);
        event_loop.found_unattributed(key, by_order, slice.enter_ns);
        if of_iteration.0 == event_loop.looks.iteration_start_ns()
            && let Some(active) = context.wire.connections.front(key.0)
        {
            let request = &active.request;
            event_loop.share(key.1, &of_iteration.1, || (&request.http.method, &request.http.path));
        }
        if is_current {
            event_loop.unattributed.current = None;
            thread.serving = Some(key);
        }
    }
    if let Some(event_loop) = thread.serving_loop() {
        event_loop.unattributed.passes(key, runs);
    }
}

/// Unattributed work becomes part of its request. `false`: the request's account already extends beyond the
/// beginning of the work.
fn join(
    context: &mut LedgerContext<'_>,
    slice: &Slice,
    key: RequestKey,
    work: UnattributedWork,
    is_current: bool,
) -> bool {
    let candidate = work.candidates.iter().find(|candidate| candidate.key == key);
    let Some(before) = candidate.map(|candidate| candidate.before) else { return false };
    let Some(active) = context.wire.connections.active_mut(key) else { return false };
    active.part();
    if work.begun_ns < active.cursor_ns {
        return false;
    }
    for (until_ns, phase) in before {
        active.pass(until_ns, phase);
    }
    active.pass(work.begun_ns, Phase::Unexplained);
    active.wants = work.account.wants;
    active.join(work.account);
    active.owner = is_current.then_some(slice.tid);
    active.left_by = (!is_current).then_some(slice.tid);
    for (fd, opened_ns) in work.back_ends {
        let is_it =
            context.world.descriptors.get(slice.tgid, fd).is_some_and(|found| found.opened_ns == opened_ns);
        if is_it {
            context.world.descriptors.own(slice.tgid, fd, Some(key));
        }
    }
    true
}
