//! The loop turns to a request: which request it leaves, and what the new one waited for until then.
//!
//! In: a call for a request other than the one that the loop served. Out: the request that it leaves has its
//! time up to there; the wait of the new one is explained.

use super::who::{By, by, goes_straight_on, is_private};
use crate::event::{Call, Slice};
use crate::loop_kind::LoopThreads;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::finish::leave;
use crate::machine::ledger::unattributed;
use crate::machine::runtime::candidates::{may_run, others_may_run};
use crate::machine::runtime::event_loop::{After, Came, EventLoop};
use crate::machine::runtime::handed::Handed;
use crate::machine::runtime::handoff::{self, Collected, Resume};
use crate::machine::runtime::late::Owed;
use crate::machine::runtime::state::RuntimeView;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::{Active, HandedTo, RequestKey, Wants};
use crate::phase::Phase;

/// How the loop turns to a request.
struct Turning {
    by: By,
    /// Since when it is not known for whom the loop ran.
    free_from_ns: u64,
    /// Where the request's own time begins.
    own_start_ns: u64,
    /// The request that the loop was about.
    left_behind: Option<RequestKey>,
    /// The request left behind may have run on until now.
    is_doubtful: bool,
    /// The Python task that makes the call.
    task: Option<u64>,
}

/// What threads beside the loop did for a request since it was left.
struct Back {
    /// Their notes that were attributed to it.
    collected: Collected,
    /// The thread that has handed back its result without a note.
    handed_back: Option<HandedTo>,
    /// How that one was given its job.
    handed: Handed,
    /// The thread that has handed back its result without a note, if this very task woke it. The account of
    /// what that thread did last may come later.
    owed_by: Option<HandedTo>,
    /// The loop has handled what happened before this moment.
    recent_ns: u64,
}

/// A call touches a request other than the one that the thread serves. The one that it leaves gets its time
/// up to there; the wait of the new one is explained. Returns where the new one's own time begins.
pub(in crate::machine) fn turn_to(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    id: u64,
) -> u64 {
    let key = (number, id);
    let is_in_turn = thread.as_loop().is_some_and(|event_loop| event_loop.in_turn.present() == Some(key));
    let by = match by(context.view(), slice, number) {
        // Whatever it reads first, it runs.
        By::Readiness { .. } if is_in_turn => By::Running { made_ns: 0, back_end: None },
        by => by,
    };
    let is_its_own = is_its_own(context.view(), thread, slice, by, key);
    let Some(turning) = turning(context.view(), thread, slice, by, key) else {
        return slice.gap_start_ns();
    };
    leave_behind(context, thread, slice, &turning);
    if let Some(event_loop) = thread.serving_loop() {
        event_loop.left.turns_to(key, slice.enter_ns);
    }
    wait_behind(context, key, turning.own_start_ns);
    let back = handed_back(context, thread, slice, key, by);
    explain(context, thread, slice, key, &turning, &back);
    if let Some(event_loop) = thread.event_loop.as_deref_mut() {
        if is_its_own {
            event_loop.surely_runs(id);
        }
        if let Some(task) = turning.task {
            event_loop.has_run(task);
        }
    }
    turning.own_start_ns
}

/// Whether nobody else can have made this call.
fn is_its_own(view: RuntimeView<'_>, thread: &Thread, slice: &Slice, by: By, key: RequestKey) -> bool {
    match by {
        By::Running { back_end: Some(fd), .. } => is_private(view, thread, (slice.tgid, fd), key),
        By::Running { back_end: None, .. } => !matches!(slice.call, Call::Make { .. }),
        By::Readiness { .. } => false,
    }
}

/// How the loop comes to the request, and where the request's own time begins. `None`: the thread runs no
/// loop.
fn turning(
    view: RuntimeView<'_>,
    thread: &mut Thread,
    slice: &Slice,
    by: By,
    key: RequestKey,
) -> Option<Turning> {
    let left_behind = thread.serving.filter(|left| *left != key);
    let read_ns = view.wire.connections.front(key.0).and_then(|active| active.request.times.service_start_ns);
    let may_others = others_may_run(view, thread, Some(key));
    let task = view.runtime.tasks.last(slice.tid);
    let event_loop = thread.serving_loop()?;
    let is_first = event_loop.is_fresh();
    let free_from_ns = event_loop.touched.until_ns.min(slice.enter_ns);
    event_loop.touched.until_ns = slice.enter_ns;
    if !by.is_running() {
        event_loop.handles(slice);
    }
    match by {
        By::Readiness { back_end: true, .. } => event_loop.has_answer(slice.enter_ns),
        By::Readiness { .. } => event_loop.has_heard(Some((key.1, read_ns))),
        By::Running { .. } => {}
    }
    event_loop.left.comes_back(key);
    let own_start_ns = slice.enter_ns;
    let mut turning = Turning { by, free_from_ns, own_start_ns, left_behind, is_doubtful: false, task };
    match by {
        By::Readiness { .. } if is_first && !may_others => turning.own_start_ns = free_from_ns,
        By::Readiness { .. } => {}
        By::Running { .. } => {
            let may_be_another = may_others
                || event_loop.unattributed.current_runs()
                || left_behind.is_some_and(|left| may_run(view, left));
            if may_be_another {
                turning.is_doubtful = true;
            } else {
                turning.own_start_ns = free_from_ns;
            }
        }
    }
    Some(turning)
}

/// Whoever the loop was about until now gets its time.
fn leave_behind(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice, turning: &Turning) {
    let left_ns = if turning.is_doubtful { turning.free_from_ns } else { turning.own_start_ns };
    unattributed::leave(thread, left_ns, context.window_start_ns);
    leave(context, thread, slice.tid, left_ns);
    if turning.is_doubtful
        && let Some((other, _)) = turning.left_behind
        && let Some(active) = context.wire.connections.front_mut(other)
    {
        // Either of the two ran.
        active.pass(slice.enter_ns, Phase::Unexplained);
    }
}

/// Behind another request on its connection it waited until that one was over.
fn wait_behind(context: &mut LedgerContext<'_>, (number, _): RequestKey, until_ns: u64) {
    if let Some(active) = context.wire.connections.front_mut(number) {
        active.pass(active.behind_until_ns.min(until_ns), Phase::LoopWait);
    }
}

/// When a request ran first since it was read, unseen, at the earliest.
fn first_run_ns(view: RuntimeView<'_>, thread: &Thread, (number, _): RequestKey) -> Option<u64> {
    let event_loop = thread.as_loop()?;
    let connection = view.wire.connections.get(number)?;
    let active = connection.requests.front()?;
    let last_read_ns = (connection.requests.len() == 1).then_some(connection.last_read_ns);
    let passed = || event_loop.first_run(came(active, last_read_ns?)?);
    event_loop.unseen_iteration(active).or_else(passed).map(|(start_ns, _)| start_ns)
}

/// Threads of the pool may have worked for it meanwhile. If they did, it then waited for the loop.
fn handed_back(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    key: RequestKey,
    by: By,
) -> Back {
    let threads = thread.serving_loop().map(|event_loop| event_loop.kind().threads);
    let recent_ns = thread.serving_loop().map(|event_loop| event_loop.looks.recent_ns()).unwrap_or_default();
    let is_beside = handoff::has_other_loop(context.view(), slice.tgid);
    let may_be_told = by.is_running() && !is_beside && !goes_straight_on(context.view(), thread, key, by);
    let task = context.runtime.tasks.of(slice.tid);
    // A server without tasks may give a job as it reads.
    let first_run_ns = task.and_then(|_| first_run_ns(context.view(), thread, key));
    let (mut collected, mut at_work) = (Collected::Nothing, None);
    if let Some(event_loop) = thread.as_loop().filter(|_| may_be_told) {
        let is_helped = threads == Some(LoopThreads::Help);
        let resume = Resume {
            looks: &event_loop.looks,
            tgid: slice.tgid,
            key,
            at_ns: slice.enter_ns,
            recent_ns,
            knows_until_ns: event_loop.knows_until_ns().unwrap_or(u64::MAX),
            is_helped,
            task,
            first_run_ns,
        };
        collected = handoff::collect(&mut context.runtime_context(), resume);
        at_work = handoff::at_work(context.view(), slice.tgid, key, task);
    }
    // The thread has handed back its result without a note, maybe after another job of this request. Where
    // only their order shows whose thread it is, a resume before the thread's note is evidence against
    // that.
    let left = context.wire.connections.active(key).map(|active| (active.wants, active.cursor_ns));
    let handed_back = at_work.zip(left).filter(|(by, (wants, cursor_ns))| {
        let is_later = by.begin_ns > *cursor_ns;
        let is_only = collected == Collected::Nothing && *wants == Wants::Unknown && !by.by_order;
        is_only || collected != Collected::Nothing && is_later
    });
    let handed_back = handed_back.map(|(handed_to, _)| handed_to);
    // On other loops, another thread may have taken the job than the one that was woken for it.
    let is_sure = threads == Some(LoopThreads::WorkUnordered)
        || task.is_some() && context.runtime.pools.tasks_tell(slice.tgid);
    let surely_back = handed_back.filter(|_| is_sure);
    let handed = handed_back.and_then(|handed_to| context.runtime.threads.get(handed_to.tid));
    let handed = handed.map(|thread| thread.pooled.handed).unwrap_or_default();
    let owed_by = surely_back.filter(|_| task.is_some() && handed.task == task);
    if let (Some(handed_to), Some(event_loop)) = (surely_back, thread.as_loop()) {
        let state = &mut context.runtime_context();
        let found = (handed_to, first_run_ns);
        handoff::take_back(state, slice.tgid, key, found, &event_loop.looks);
    }
    Back { collected, handed_back, handed, owed_by, recent_ns }
}

/// What the request waited for until now.
fn explain(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    key: RequestKey,
    turning: &Turning,
    back: &Back,
) {
    let window_start_ns = context.window_start_ns;
    let task = context.runtime.tasks.of(slice.tid);
    let asked = has_asked(context.view(), thread, key, task);
    let is_beside = handoff::has_other_loop(context.view(), slice.tgid);
    let (Some(event_loop), Some(connection)) =
        (thread.event_loop.as_deref_mut(), context.wire.connections.get_mut(key.0))
    else {
        return;
    };
    let (is_whole, is_front) = (connection.origin.side == Side::Whole, connection.origin.side == Side::Front);
    // What was read last may be of the next one.
    let last_read_ns = (connection.requests.len() == 1).then_some(connection.last_read_ns);
    let surely_owes = connection.inbound.surely_owes();
    let Some(active) = connection.requests.front_mut() else { return };
    let came = last_read_ns.and_then(|read_ns| came(active, read_ns));
    let owes_body = active.wants == Wants::ClientRead && surely_owes;
    if is_front && !owes_body && matches!(turning.by, By::Readiness { back_end: true, .. }) {
        // nginx asks to be told of both at all times (`EPOLLET`): by what it does first it was the server's
        // answer, not the client.
        active.wants = Wants::Backend;
    }
    let own_start_ns = turning.own_start_ns;
    let mut owed = None;
    let is_new = active.left_by.is_none() && active.owner.is_none();
    if is_new && !active.was_behind() {
        // Its first bytes: they wait from their arrival on, whoever could have read them.
        if active.request.times.start_is_arrival {
            event_loop.arrived(active.request.times.start_ns, slice.enter_ns, window_start_ns);
        }
        event_loop.pass(active, own_start_ns, Phase::LoopWait);
    } else if back.collected != Collected::Nothing {
        event_loop.paired(back.collected == Collected::ByOrder);
        if let Some(handed_to) = back.handed_back {
            event_loop.pass(active, handed_to.begin_ns.min(own_start_ns), Phase::LoopWait);
            owed = owe(active, key, back.owed_by, event_loop.told_between(own_start_ns));
        } else {
            // The loop has handled that note since. So the request waited for something else.
            active.pass(back.recent_ns.min(own_start_ns), Phase::Unexplained);
        }
        event_loop.pass(active, own_start_ns, Phase::LoopWait);
    } else if let Some(handed_to) = back.handed_back {
        event_loop.paired(false);
        // Its thread may have been woken once more since, and have worked for it before.
        active.pass(back.handed.woken_ns.min(own_start_ns), Phase::Unexplained);
        active.pass(handed_to.begin_ns.min(own_start_ns), Phase::PoolWait);
        owed = owe(active, key, back.owed_by, event_loop.told_between(own_start_ns));
        event_loop.pass(active, own_start_ns, Phase::LoopWait);
    } else if is_new || is_beside && turning.by.is_running() {
        // What it did since the one before it was answered, no call shows.
        active.pass(own_start_ns, Phase::Unexplained);
    } else {
        explain_by_looks(active, event_loop, slice, came, asked, turning);
    }
    if let Some(part) = owed.filter(|_| is_whole && event_loop.passes_on())
        && context.runtime.late.owe(part)
    {
        active.stretch(slice.tgid, part.tid, part.from_ns, part.until_ns);
    }
    active.wants = Wants::Unknown;
    active.handed_to = None;
    match (turning.by, slice.call) {
        (By::Running { .. }, _) => active.on_loop.ran_ns = slice.enter_ns,
        // A task that reads its answer itself goes on at once.
        (By::Readiness { back_end: true, .. }, Call::Read { fd, .. })
            if task.is_none() && slice.result > 0 && event_loop.is_sure(fd) =>
        {
            active.on_loop.answered_ns = Some(slice.enter_ns);
        }
        (By::Readiness { .. }, _) => {}
    }
}

/// Explains a request for which no thread worked, by what the loop's looks show.
fn explain_by_looks(
    active: &mut Active,
    event_loop: &mut EventLoop,
    slice: &Slice,
    came: Option<Came>,
    asked: bool,
    turning: &Turning,
) {
    let by = turning.by;
    let (By::Readiness { arrival_ns, .. } | By::Running { made_ns: arrival_ns, .. }) = by;
    let mut wants = active.wants;
    if wants == Wants::ClientRead && by.is_running() {
        // The request resumes without what its client may still send.
        wants = Wants::Unknown;
    }
    let wants = match (wants, by) {
        (Wants::Unknown, By::Readiness { back_end: true, .. } | By::Running { made_ns: 1.., .. }) => {
            Wants::Backend
        }
        (Wants::Unknown, By::Readiness { arrival_ns: 1.., .. }) => Wants::ClientRead,
        (wants, _) => wants,
    };
    if wants != Wants::Unknown {
        event_loop.has_answer(slice.enter_ns);
    }
    let known_until_ns = if turning.is_doubtful { turning.free_from_ns } else { turning.own_start_ns };
    let is_free = wants == Wants::Unknown && by.is_running();
    let passed =
        came.filter(|_| is_free && !asked).map(|came| event_loop.passed_along(came)).unwrap_or_default();
    // A timer shows more than that others took as long.
    let slept = turning.task.filter(|_| is_free).map(|task| event_loop.slept(asked, task, active.cursor_ns));
    let slept = slept.unwrap_or_default();
    if !passed.is_empty() && slept.is_empty() {
        for (until_ns, phase) in passed {
            event_loop.pass(active, until_ns.min(known_until_ns), phase);
        }
        event_loop.pass(active, known_until_ns, Phase::LoopWait);
    } else if is_free {
        // Who sleeps until a timer has run before.
        let ran_until_ns = slept.first().map_or(known_until_ns, |(due_ns, _)| known_until_ns.min(*due_ns));
        let is_seen = pass_unseen(active, event_loop, ran_until_ns);
        let first_run = came.and_then(|came| event_loop.first_run(came));
        if let Some((from_ns, until_ns)) = first_run {
            event_loop.pass(active, from_ns.min(ran_until_ns), Phase::LoopWait);
            active.pass(until_ns.min(ran_until_ns), Phase::Unexplained);
        }
        let is_unknown = !is_seen && first_run.is_none() && event_loop.may_run_later();
        if let Some(Came { read_ns, .. }) = came.filter(|_| is_unknown) {
            // Since when it slept is not known, but that a loop with something to run does not sleep.
            let slept_ns = event_loop.looks.slept_after(read_ns);
            let begun_ns = slept_ns.or_else(|| slept.first().map(|(due_ns, _)| *due_ns)).unwrap_or(0);
            active.pass(begun_ns.min(ran_until_ns), Phase::Unexplained);
        }
    }
    for (until_ns, phase) in slept {
        event_loop.pass(active, until_ns.min(known_until_ns), phase);
    }
    // Where requests are seen to write once all have run, it may have run since the loop looked.
    let is_order_hidden = is_free && event_loop.kind().reads_first;
    let ready_until_ns = if is_order_hidden { event_loop.looks.iteration_start_ns() } else { known_until_ns };
    let ready_until_ns = ready_until_ns.min(known_until_ns);
    for (until_ns, phase) in event_loop.explain(asked, active.cursor_ns, ready_until_ns, wants, arrival_ns) {
        event_loop.pass(active, until_ns, phase);
    }
    if is_order_hidden {
        let (id, from_ns) = (active.request.id, active.cursor_ns);
        for (until_ns, phase) in event_loop.ran_or_waited(id, from_ns, known_until_ns) {
            event_loop.pass(active, until_ns, phase);
        }
    }
    active.pass(turning.own_start_ns, Phase::Unexplained);
}

/// Before a request slept or waited for anything else, it may have run unseen: up to `known_until_ns` at
/// most. Whether it is known where.
pub(super) fn pass_unseen(active: &mut Active, event_loop: &EventLoop, known_until_ns: u64) -> bool {
    let unseen = event_loop.unseen_iteration(active);
    if let Some((from_ns, until_ns)) = unseen {
        event_loop.pass(active, from_ns.min(known_until_ns), Phase::LoopWait);
        active.pass(until_ns.min(known_until_ns), Phase::Unexplained);
    }
    unseen.is_some()
}

/// A request that does something for the first time since its last bytes were read, before its response;
/// `None`: it has done something since.
fn came(active: &Active, read_ns: u64) -> Option<Came> {
    let head_ns = active.request.times.service_start_ns?;
    let after = match (read_ns > head_ns, active.request.index_on_connection) {
        (true, _) => After::Body,
        (false, 0) => After::FirstHead,
        (false, _) => After::Head,
    };
    let is_first = active.on_loop.ran_ns < read_ns && !active.response.has_begun;
    is_first.then_some(Came { request: active.request.id, read_ns, after })
}

/// What its thread did last for a request is not seen yet. Returns the stretch that the thread's account
/// explains later. The thread reported its result at the second of these moments at the latest, and as a rule
/// not before the first.
fn owe(
    active: &mut Active,
    key: RequestKey,
    by: Option<HandedTo>,
    (until_ns, surely_ns): (u64, u64),
) -> Option<Owed> {
    let from_ns = active.cursor_ns;
    active.pass(until_ns, Phase::Unexplained);
    let until_ns = active.cursor_ns;
    active.pass(surely_ns, Phase::Unexplained);
    by.map(|HandedTo { tid, .. }| Owed { key, tid, from_ns, until_ns })
}

/// Whether a request that resumes, in this Python task, may have asked a back end since it was left, in
/// unattributed work.
fn has_asked(view: RuntimeView<'_>, thread: &Thread, key: RequestKey, task: Option<u64>) -> bool {
    let active = view.wire.connections.active(key);
    let active = active.filter(|active| matches!(active.wants, Wants::Unknown | Wants::ClientRead));
    let event_loop = thread.event_loop.as_deref();
    let is_open = |key| task.is_some() && view.wire.connections.is_open(key);
    active.zip(event_loop).is_some_and(|(active, event_loop)| {
        event_loop.unattributed.may_have_been(key, active.cursor_ns, is_open)
    })
}
