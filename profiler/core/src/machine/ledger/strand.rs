//! Work of an event loop for a request of which is not known at once which it is: a *strand*.
//!
//! In: back ends' sockets that any of several requests may have opened, and what the loop's thread does with them; requests that go on. Out: each
//! strand's account, joined to its request once something tells whose it is. Where nothing does it is nobody's, and counted.
//!
//! What tells: its request goes on right after the strand, without a look of the loop in between (greenlets); at once in the turn
//! in which the strand's task went on after its answer (tasks); or all others are excluded, as they went on while the strand waited for
//! its back end.

use crate::event::{Call, Slice};
use crate::machine::ledger::books::Books;
use crate::machine::ledger::finish;
use crate::machine::runtime::candidates::{may_run, others_may_run};
use crate::machine::runtime::strands::{BackEnd, Candidate, Others, Strand};
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::{asker, handoff};
use crate::machine::wire::request::{Active, Beginning, RequestKey, Wants};
use crate::machine::world::errno::{EAGAIN, EINPROGRESS};
use crate::phase::{Phase, Phases};
use crate::rule::Rule;

/// Back ends that one of them opened.
const MAX_BACK_ENDS: usize = 16;

/// The thread turns to a strand: whomever it was about it leaves. Returns where the strand's own time begins.
fn turn_to(books: &mut Books<'_>, thread: &mut Thread, slice: &Slice) -> u64 {
    let is_readiness = matches!(slice.call, Call::Read { .. });
    let other = thread.serving;
    let may_others = others_may_run(books.view(), thread, None);
    let Some(event_loop) = thread.serving_loop() else { return slice.enter_ns };
    let free_from_ns = event_loop.touched_ns.min(slice.enter_ns);
    let is_first = event_loop.is_fresh();
    let may_other = other.is_some_and(|key| may_run(books.view(), key))
        || event_loop.strands.current_runs()
        || may_others;
    let doubtful = may_other && !is_readiness;
    let is_later = is_readiness && !is_first;
    let own_start_ns = if is_later || doubtful { slice.enter_ns } else { free_from_ns };
    let left_ns = if doubtful { free_from_ns } else { own_start_ns };
    leave(thread, left_ns, books.window_start_ns);
    finish::leave(books, thread, slice.tid, left_ns);
    if doubtful
        && let Some((number, id)) = other
        && let Some(active) = books.wire.connections.get_mut(number).and_then(|c| c.requests.front_mut())
        && active.request.id == id
    {
        // Either of the two ran.
        active.pass(slice.enter_ns, Phase::Unexplained);
    }
    own_start_ns
}

/// One of several requests opens a back end.
pub(in crate::machine) fn open(
    books: &mut Books<'_>,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    back_end: BackEnd,
    candidates: &[RequestKey],
) {
    let own_start_ns = turn_to(books, thread, slice);
    let task = books.runtime.tasks.of(slice.tid);
    let Some(event_loop) = thread.serving_loop() else { return };
    let of_task = task.map(|task| (task, event_loop.tasks.another_until_ns(task)));
    // Where a job of one of them is known it may be that one.
    let is_given = !candidates.iter().any(|key| asker::handed_to(books.view(), *key).is_some());
    let given = if is_given {
        handoff::take_given(&mut books.hand(), slice.tgid, slice.enter_ns, of_task)
    } else {
        None
    };
    let connections = &books.wire.connections;
    let candidates = candidates.iter().filter_map(|key| {
        let active = connections.active(*key)?;
        let from_ns = active.parting.as_ref().map_or(active.cursor_ns, |(until_ns, ..)| *until_ns);
        let before = match given {
            Some(handed) => handed.before(own_start_ns, Phase::Unexplained, Phase::Unexplained),
            None => {
                // Whose the task is it was no other strand's: its own goes on with this one.
                let asked = task.is_none()
                    && event_loop
                        .strands
                        .may_have_been(*key, from_ns, |key| books.wire.connections.is_open(key));
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
    let strands = &mut event_loop.strands;
    strands.make_room(|key| connections.active(key).is_some());
    let number = strands.count;
    strands.count = number.saturating_add(1);
    strands.list.push(Strand {
        number,
        account,
        begun_ns: own_start_ns,
        task,
        back_ends: vec![back_end],
        candidates,
        answered_ns: 0,
        touched_ns: 0,
        has_asked: false,
        of_turn: (0, Phases::default()),
    });
    touch(books, thread, (slice, exit_ns), number, own_start_ns);
}

/// The strand that the thread is about opens a further back end: nothing came in between.
pub(in crate::machine) fn open_further(
    books: &mut Books<'_>,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    back_end: BackEnd,
) {
    let Some(event_loop) = thread.serving_loop() else { return };
    let Some(number) = event_loop.strands.current else { return };
    if let Some(strand) = event_loop.strands.list.iter_mut().find(|strand| strand.number == number)
        && strand.back_ends.len() < MAX_BACK_ENDS
    {
        strand.back_ends.push(back_end);
    }
    touch(books, thread, (slice, exit_ns), number, slice.gap_start_ns());
}

/// A call on a back end that is a strand's; whether it is one.
pub(in crate::machine) fn resume(
    books: &mut Books<'_>,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    back_end: BackEnd,
) -> bool {
    let task = books.runtime.tasks.of(slice.tid);
    let Some(event_loop) = thread.serving_loop() else { return false };
    let strands = &mut event_loop.strands;
    let is_task_s = |strand: &&mut Strand| task.is_some() && strand.task == task;
    let of_task = strands.list.iter_mut().find(is_task_s);
    let is_of_task = of_task.is_some();
    let Some(strand) = (match of_task {
        Some(strand) => Some(strand),
        None => strands.list.iter_mut().find(|strand| strand.back_ends.contains(&back_end)),
    }) else {
        return false;
    };
    if !strand.back_ends.contains(&back_end) && strand.back_ends.len() < MAX_BACK_ENDS {
        strand.back_ends.push(back_end);
    }
    let number = strand.number;
    if strands.current == Some(number) {
        touch(books, thread, (slice, exit_ns), number, slice.gap_start_ns());
        return true;
    }
    if strand.has_asked && !is_of_task && matches!(slice.call, Call::Write { .. }) {
        // Another question before the answer: several share this connection.
        if let Some(event_loop) = thread.serving_loop() {
            event_loop.strands.forget(number);
        }
        return false;
    }
    let own_start_ns = turn_to(books, thread, slice);
    let Some(event_loop) = thread.serving_loop() else { return true };
    let Some(mut strand) = event_loop.strands.take(number) else { return true };
    let account = &mut strand.account;
    let arrival_ns = slice.back_end_ready_ns;
    let is_answer = matches!(slice.call, Call::Read { .. }) || arrival_ns > 0;
    let wants = if is_answer { Wants::Backend } else { account.wants };
    for (until_ns, phase) in event_loop.explain(false, account.cursor_ns, own_start_ns, wants, arrival_ns) {
        account.pass(until_ns, phase);
    }
    account.pass(own_start_ns, Phase::Unexplained);
    event_loop.strands.list.push(strand);
    touch(books, thread, (slice, exit_ns), number, own_start_ns);
    true
}

/// A strand takes the thread's time up to the end of this call.
fn touch(
    books: &mut Books<'_>,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    number: u64,
    own_start_ns: u64,
) {
    let Some(mut strand) = thread.serving_loop().and_then(|event_loop| event_loop.strands.take(number))
    else {
        return;
    };
    let taken = strand.account.advance(thread.time(slice.tid), own_start_ns, books.window_start_ns);
    thread.hold_for_request(books.window_start_ns, taken.from_ns, &taken.phases);
    strand.touched_ns = exit_ns;
    let moved = slice.result > 0;
    let asks = matches!(slice.call, Call::Write { .. }) && moved;
    let waits = asks || matches!(slice.result, EAGAIN | EINPROGRESS);
    strand.account.wants = if waits { Wants::Backend } else { Wants::Unknown };
    if matches!(slice.call, Call::Read { .. }) && moved {
        strand.answered_ns = exit_ns;
    } else if waits {
        strand.answered_ns = 0;
    }
    strand.has_asked = asks || strand.has_asked && slice.result <= 0;
    let Some(event_loop) = thread.serving_loop() else { return };
    strand.had(event_loop.looks.turn_start_ns(), &taken.phases);
    event_loop.touched_ns = exit_ns;
    if !matches!(slice.call, Call::Read { .. }) {
        event_loop.runs(None, slice.enter_ns, false);
    }
    event_loop.strands.current = Some(number);
    event_loop.strands.list.push(strand);
}

/// The thread turns from its strand to something else, or waits.
pub(in crate::machine) fn leave(thread: &mut Thread, until_ns: u64, window_start_ns: u64) {
    let Some(event_loop) = thread.event_loop.as_deref_mut() else { return };
    let Some(mut strand) =
        event_loop.strands.current.take().and_then(|number| event_loop.strands.take(number))
    else {
        return;
    };
    let account = &mut strand.account;
    account.owner = None;
    let from_ns = account.cursor_ns;
    let mut phases = Phases::default();
    if until_ns > from_ns {
        phases = thread.pending.take_until(until_ns, from_ns, &mut account.held);
        let left_ns = from_ns.saturating_add(phases.total_ns());
        account.spend(from_ns, left_ns, &phases);
        account.cursor_ns = left_ns;
    }
    strand.had(event_loop.looks.turn_start_ns(), &phases);
    event_loop.strands.list.push(strand);
    thread.hold_for_request(window_start_ns, from_ns, &phases);
}

/// A request goes on by this call: strands that turn out to be its own become part of it.
pub(in crate::machine) fn claim(books: &mut Books<'_>, thread: &mut Thread, slice: &Slice, key: RequestKey) {
    let runs = !matches!(slice.call, Call::Read { .. });
    let task = books.runtime.tasks.of(slice.tid);
    let has_no_task = |key: RequestKey| books.wire.connections.is_open(key);
    let Some(event_loop) = thread.serving_loop() else { return };
    if event_loop.strands.list.is_empty() {
        return;
    }
    let others =
        Others { let_at_once: event_loop.runs_timers_first(), by_timer: event_loop.timer_for_turn_before() };
    let has_greenlets = event_loop.kind.has_greenlets();
    let strands = &event_loop.strands;
    let followed = strands.followed_by(key, others).filter(|_| runs && !event_loop.resumes_at_once());
    let of_task = strands.of_task(task, key).filter(|_| runs || has_greenlets).map(|strand| strand.number);
    // Another task's: order tells only where no request is left whose task that may be.
    let followed = followed.filter(|(number, _)| {
        of_task == Some(*number) || strands.may_be_guessed(*number, task, key, has_no_task)
    });
    // First those that can be nobody else's, in the order of time.
    let is_sole = |strand: &&Strand| {
        Rule::SoleCandidate.holds() && strand.candidates.len() == 1 && strand.claimant(key).is_some()
    };
    let mut own: Vec<(u64, u64)> =
        strands.list.iter().filter(is_sole).map(|strand| (strand.begun_ns, strand.number)).collect();
    let told = [followed.map(|(number, _)| number), of_task];
    let is_told = |strand: &&Strand| told.contains(&Some(strand.number));
    own.extend(strands.list.iter().filter(is_told).map(|strand| (strand.begun_ns, strand.number)));
    own.sort_unstable();
    own.dedup();
    let current = strands.current;
    for (_, number) in own {
        let strand = thread.serving_loop().and_then(|event_loop| event_loop.strands.take(number));
        let Some(strand) = strand else { continue };
        let is_current = current == Some(number);
        let (begun_ns, until_ns, of_turn) = (strand.begun_ns, strand.account.cursor_ns, strand.of_turn);
        let is_joined = join(books, slice, key, strand, is_current);
        let Some(event_loop) = thread.serving_loop() else { return };
        if !is_joined {
            event_loop.strands.forget(number);
            continue;
        }
        event_loop.strands.excludes(key, begun_ns, until_ns);
        let by_order = of_task != Some(number)
            && followed.is_some_and(|(followed, by_order)| by_order && followed == number);
        event_loop.found_strand(key, by_order, slice.enter_ns);
        if of_turn.0 == event_loop.looks.turn_start_ns()
            && let Some(active) = books.wire.connections.get(key.0).and_then(|c| c.requests.front())
        {
            let request = &active.request;
            event_loop.share(key.1, &of_turn.1, || (&request.http.method, &request.http.path));
        }
        if is_current {
            event_loop.strands.current = None;
            thread.serving = Some(key);
        }
    }
    if let Some(event_loop) = thread.serving_loop() {
        event_loop.strands.passes(key, runs);
    }
}

/// A strand becomes part of its request; `false`: the request's account goes beyond its beginning already.
fn join(books: &mut Books<'_>, slice: &Slice, key: RequestKey, strand: Strand, is_current: bool) -> bool {
    let candidate = strand.candidates.iter().find(|candidate| candidate.key == key);
    let Some(before) = candidate.map(|candidate| candidate.before) else { return false };
    let active = books.wire.connections.get_mut(key.0).and_then(|connection| connection.requests.front_mut());
    let Some(active) = active.filter(|active| active.request.id == key.1) else { return false };
    active.part();
    if strand.begun_ns < active.cursor_ns {
        return false;
    }
    for (until_ns, phase) in before {
        active.pass(until_ns, phase);
    }
    active.pass(strand.begun_ns, Phase::Unexplained);
    active.wants = strand.account.wants;
    active.join(strand.account);
    active.owner = is_current.then_some(slice.tid);
    active.left_by = (!is_current).then_some(slice.tid);
    for (fd, opened_ns) in strand.back_ends {
        let is_it =
            books.world.descriptors.get(slice.tgid, fd).is_some_and(|found| found.opened_ns == opened_ns);
        if is_it {
            books.world.descriptors.own(slice.tgid, fd, Some(key));
        }
    }
    true
}
