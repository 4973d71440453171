//! Which Python task makes the calls of an event loop's thread, and for which request it works.
//!
//! In: the tasks that the kernel side read as calls began; calls of which something else tells whose they are. Out: the request that the present
//! task works for.
//!
//! A task is a greenlet, or an asyncio task, known by an address ([`TaskSeen`]). Once it has ended another one may have that address: so what is known of
//! one holds as long as the request is not over, and until the same address is seen at work for another.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::{Call, Slice, TaskSeen, Tid};
use crate::machine::connection::Connection;
use crate::machine::request::{Place, Wants};
use crate::machine::state::State;
use crate::machine::thread::Thread;
use crate::machine::{exchange, turn};
use crate::timeline::Entry;

/// Threads whose tasks are followed.
const MAX_THREADS: usize = 4096;
/// Tasks of one loop that are followed.
const MAX_TASKS: usize = 4096;
/// Requests among which a task's is looked for.
const MAX_OPEN: usize = 128;

/// Switches of one thread that are remembered.
const MAX_SWITCHES: usize = 64;

/// A wake-up is known to have happened as the woken thread's CPU heard of it: up to so long after the call that woke it.
const WAKING_NS: u64 = 200_000;

/// The tasks that each thread is at, and was lately.
#[derive(Clone, Debug, Default)]
pub struct Running(FxHashMap<Tid, Switches>);

/// The same of one thread.
#[derive(Clone, Debug, Default)]
struct Switches {
    /// Since when, and which; 0: none that is known.
    list: VecDeque<(u64, u64)>,
    /// The one in which the loop itself looks for what is ready.
    of_loop: u64,
    /// They tell of no request.
    are_mute: bool,
    /// It is at another task than the one in which it looked last.
    is_away: bool,
    /// It has come back from another task to the one in which it had looked.
    goes_round: bool,
}

impl Running {
    /// From this moment on the thread's calls are this task's. `false`: there are too many threads.
    pub fn switch(&mut self, seen: &TaskSeen, at_ns: u64) -> bool {
        if self.0.len() >= MAX_THREADS && !self.0.contains_key(&seen.tid) {
            return false;
        }
        let switches = self.0.entry(seen.tid).or_default();
        let is_of_loop = seen.task == switches.of_loop;
        // 0 is not known, and neither is what is between two of the same.
        if seen.task != 0 && switches.of_loop != 0 {
            switches.goes_round |= is_of_loop && switches.is_away;
            switches.is_away = !is_of_loop;
        }
        let list = &mut switches.list;
        if list.len() >= MAX_SWITCHES {
            list.pop_front();
        }
        list.push_back((at_ns, seen.task));
        true
    }

    /// The loop looks for what is ready: the task in which it does is its own.
    pub fn looks(&mut self, tid: Tid) {
        if let Some(switches) = self.0.get_mut(&tid) {
            switches.of_loop = switches.list.back().map_or(0, |(_, task)| *task);
            switches.is_away = false;
        }
    }

    /// The task that the thread is at; `None`: that is not known, or tells nothing.
    #[must_use]
    pub fn of(&self, tid: Tid) -> Option<u64> {
        self.0.get(&tid).filter(|switches| !switches.are_mute)?.last()
    }

    /// Whether the thread's tasks tell of requests.
    pub fn tell(&mut self, tid: Tid, do_tell: bool) {
        if let Some(switches) = self.0.get_mut(&tid) {
            switches.are_mute = !do_tell;
        }
    }

    /// Whether the thread goes from the task in which it looks to others and back, as loops do; one that is in the same task whatever it
    /// does only has a library loaded.
    #[must_use]
    pub fn goes_round(&self, tid: Tid) -> bool {
        self.0.get(&tid).is_some_and(|switches| switches.goes_round)
    }

    /// Whether the thread's tasks are told.
    #[must_use]
    pub fn follows(&self, tid: Tid) -> bool {
        self.0.contains_key(&tid)
    }

    /// The task that woke another thread, which knows of it since this moment: not the loop that looked meanwhile.
    #[must_use]
    pub fn that_woke(&self, tid: Tid, at_ns: u64) -> Option<u64> {
        let switches = self.0.get(&tid).filter(|switches| !switches.are_mute)?;
        let has_just_begun =
            |(since_ns, task): (u64, u64)| task == switches.of_loop && at_ns - since_ns < WAKING_NS;
        let before = switches.list.iter().rev().copied().filter(|(since_ns, _)| *since_ns <= at_ns);
        before
            .skip_while(|switch| has_just_begun(*switch))
            .map(|(_, task)| task)
            .next()
            .filter(|task| *task != 0)
    }

    /// The thread has ended, or records of it are lost: what it is at is not known until it turns to another task.
    pub fn forget(&mut self, tid: Tid) {
        self.0.remove(&tid);
    }
}

impl Switches {
    fn last(&self) -> Option<u64> {
        self.list.back().map(|(_, task)| *task).filter(|task| *task != 0)
    }
}

/// For which requests the tasks of one loop work, and when they were last seen to.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    of: FxHashMap<u64, (Place, u64)>,
    /// How often a request was written to by the task that had done so before.
    by_one: u64,
    /// How often it was by another, or by one that had just been at work for a request that is not over.
    by_several: u64,
}

/// Writes of a request by its one task for each that is not, at least.
const ONE_TO_SEVERAL: u64 = 8;

impl Tasks {
    /// Whether a request has one task, as far as was seen. (Where each piece is sent in a task of its own, what comes next has its address.)
    #[must_use]
    pub const fn are_of_one_request(&self) -> bool {
        self.by_one >= self.by_several.saturating_mul(ONE_TO_SEVERAL)
    }

    /// A task is at work for a request at this moment. `is_live` tells which requests are not over.
    pub fn works_for(&mut self, task: u64, place: Place, at_ns: u64, is_live: impl Fn(Place) -> bool) {
        if self.of.len() >= MAX_TASKS && !self.of.contains_key(&task) {
            self.of.retain(|_, (place, _)| is_live(*place));
            if self.of.len() >= MAX_TASKS {
                return;
            }
        }
        self.of.insert(task, (place, at_ns));
    }

    /// The request that a task was last at work for. It may be over: then the task may be another one by now.
    #[must_use]
    pub fn place(&self, task: u64) -> Option<Place> {
        self.of.get(&task).map(|(place, _)| *place)
    }

    /// What happened up to then was of another task at the same address; 0: none is known.
    #[must_use]
    pub fn another_until_ns(&self, task: u64) -> u64 {
        self.of.get(&task).map_or(0, |(_, at_ns)| *at_ns)
    }
}

/// The request that the task works for that makes the thread's calls, as far as is known.
pub(super) fn at_work(state: &State, thread: &Thread, tid: Tid) -> Option<Place> {
    let event_loop = thread.event_loop.as_deref().filter(|event_loop| event_loop.confirmed)?;
    let (number, id) = event_loop.tasks.place(state.tasks.of(tid)?)?;
    let active = state.connections.get(number)?.requests.front()?;
    // The task of one that may have ended may be another by now: it answers, and that tells. A greenlet that serves another one has read that.
    let is_known = !active.may_have_ended || event_loop.on_gevent;
    (active.request.id == id && is_known).then_some((number, id))
}

/// A call of a loop's thread that tells of no request by itself: whatever it is, its task runs. Of one that waits for its client or a back end the read tells
/// more.
pub(super) fn runs(
    state: &mut State,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    sink: &mut dyn FnMut(Entry),
) {
    let Some((number, id)) = at_work(state, thread, slice.tid) else { return };
    let active = state.connections.get(number).and_then(|connection| connection.requests.front());
    let waits = active.is_none_or(|active| active.wants != Wants::Unknown);
    if thread.serving != Some((number, id)) && !waits {
        exchange::advance(state, thread, (number, slice, exit_ns), sink);
        turn::touched(thread, exit_ns);
    }
}

/// A request was advanced by a call of a loop's thread. On its client's connection, that tells whose the task is: a greenlet's calls are all its own; on
/// asyncio what is read is read in a context of the transport's, and so is written what the client did not take at once; else the task writes.
pub(super) fn note(state: &mut State, thread: &mut Thread, number: u32, slice: &Slice) {
    let Some(task) = state.tasks.0.get(&slice.tid).and_then(Switches::last) else { return };
    let (Call::Read { fd, .. } | Call::Write { fd }) = slice.call else { return };
    let is_read = matches!(slice.call, Call::Read { .. });
    // It looks for what is ready, or it had no tasks; whether it is a loop may be known later.
    let event_loop = thread.event_loop.get_or_insert_default();
    let on_gevent = state.processes.is_on_gevent(slice.tgid);
    let connections = &state.connections;
    let is_its_own = |connection: &Connection| on_gevent || !is_read && !connection.awaits_writable;
    if state.descriptors.connection(slice.tgid, fd) != Some(number)
        || !connections.get(number).is_some_and(is_its_own)
    {
        return;
    }
    let active_of = |number| connections.get(number)?.requests.front();
    let Some(active) = active_of(number) else { return };
    let (id, before) = (active.request.id, active.task);
    let is_live = |(number, id)| active_of(number).is_some_and(|active| active.request.id == id);
    let goes_on = |(number, id)| {
        is_live((number, id)) && active_of(number).is_some_and(|active| !active.may_have_ended)
    };
    let tasks = &mut event_loop.tasks;
    let was_another_s = tasks.place(task).is_some_and(|place| place != (number, id) && goes_on(place));
    tasks.works_for(task, (number, id), slice.enter_ns, is_live);
    if was_another_s || before.is_some_and(|before| before != task) {
        tasks.by_several = tasks.by_several.saturating_add(1);
    } else if before.is_some() {
        tasks.by_one = tasks.by_one.saturating_add(1);
    }
    let do_tell = on_gevent || tasks.are_of_one_request();
    state.tasks.tell(slice.tid, do_tell);
    if let Some(active) = state.connections.get_mut(number).and_then(|c| c.requests.front_mut()) {
        active.task = Some(task);
    }
}

/// Whether a request is not over, and its task not known.
pub(super) fn is_open(state: &State, place: Place) -> bool {
    state.connections.active(place).is_some_and(|active| active.task.is_none())
}

/// Requests that the present task of a loop's thread may work for, if it is of none that surely is not over: those left of which no task is known, and the
/// one whose it was last.
pub(super) fn may_work_for(state: &State, thread: &Thread, tid: Tid) -> Vec<Place> {
    let Some(event_loop) = thread.event_loop.as_deref() else { return Vec::new() };
    let task = state.tasks.of(tid);
    let is_open = |place: &Place| {
        let active = state.connections.active(*place);
        active.is_some_and(|active| active.task.is_none() || active.task == task)
    };
    let last = task.and_then(|task| event_loop.tasks.place(task));
    let left = thread.serving.iter().chain(&event_loop.left).chain(&event_loop.leaves);
    let left = left.chain(&event_loop.parked).chain(&last);
    let mut found: Vec<Place> = left.copied().filter(is_open).take(MAX_OPEN).collect();
    found.sort_unstable_by_key(|(_, id)| *id);
    found.dedup();
    found
}

/// Whether a call of the present task can be another request's than this one, whose own task is known: of some request none is known.
pub(super) fn is_another_s(state: &State, thread: &Thread, slice: &Slice, place: Place) -> bool {
    let own = state.connections.active(place).and_then(|active| active.task);
    let reads = matches!(slice.call, Call::Read { .. });
    !reads
        && own.zip(state.tasks.of(slice.tid)).is_some_and(|(own, task)| own != task)
        && !may_work_for(state, thread, slice.tid).is_empty()
}
