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
use crate::machine::exchange;
use crate::machine::state::State;
use crate::machine::thread::Thread;
use crate::machine::turn::{self, Place};
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
}

impl Running {
    /// From this moment on the thread's calls are this task's. `false`: there are too many threads.
    pub fn switch(&mut self, seen: &TaskSeen, at_ns: u64) -> bool {
        if self.0.len() >= MAX_THREADS && !self.0.contains_key(&seen.tid) {
            return false;
        }
        let list = &mut self.0.entry(seen.tid).or_default().list;
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
        }
    }

    /// The task that the thread is at; `None`: that is not known.
    #[must_use]
    pub fn of(&self, tid: Tid) -> Option<u64> {
        self.0.get(&tid)?.list.back().map(|(_, task)| *task).filter(|task| *task != 0)
    }

    /// The task that woke another thread, which knows of it since this moment: not the loop that looked meanwhile.
    #[must_use]
    pub fn that_woke(&self, tid: Tid, at_ns: u64) -> Option<u64> {
        let switches = self.0.get(&tid)?;
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

/// For which requests the tasks of one loop work, and when they were last seen to.
#[derive(Clone, Debug, Default)]
pub struct Tasks(FxHashMap<u64, (Place, u64)>);

impl Tasks {
    /// A task is at work for a request at this moment. `is_live` tells which requests are not over.
    pub fn works_for(&mut self, task: u64, place: Place, at_ns: u64, is_live: impl Fn(Place) -> bool) {
        if self.0.len() >= MAX_TASKS && !self.0.contains_key(&task) {
            self.0.retain(|_, (place, _)| is_live(*place));
            if self.0.len() >= MAX_TASKS {
                return;
            }
        }
        self.0.insert(task, (place, at_ns));
    }

    /// The request that a task was last at work for. It may be over: then the task may be another one by now.
    #[must_use]
    pub fn place(&self, task: u64) -> Option<Place> {
        self.0.get(&task).map(|(place, _)| *place)
    }

    /// What happened up to then was of another task at the same address; 0: none is known.
    #[must_use]
    pub fn another_until_ns(&self, task: u64) -> u64 {
        self.0.get(&task).map_or(0, |(_, at_ns)| *at_ns)
    }
}

/// The request that the task works for that makes the thread's calls, as far as is known.
pub(super) fn at_work(state: &State, thread: &Thread, tid: Tid) -> Option<Place> {
    let event_loop = thread.event_loop.as_deref().filter(|event_loop| event_loop.confirmed)?;
    let (number, id) = event_loop.tasks.place(state.tasks.of(tid)?)?;
    let active = state.connections.get(number)?.requests.front()?;
    // The task of one that may have ended may be another by now: it answers, and that tells.
    (active.request.id == id && !active.may_have_ended).then_some((number, id))
}

/// A call of a loop's thread that tells of no request by itself: whatever it is, its task runs.
pub(super) fn runs(
    state: &mut State,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    sink: &mut dyn FnMut(Entry),
) {
    let Some((number, id)) = at_work(state, thread, slice.tid) else { return };
    if thread.serving != Some((number, id)) {
        exchange::advance(state, thread, (number, slice, exit_ns), sink);
        turn::touched(thread, exit_ns);
    }
}

/// A request was advanced by a call of a loop's thread. On its client's connection, that tells whose the task is: a greenlet's calls are all its own; on
/// asyncio what is read is read in a context of the transport's, what is written is written by the task.
pub(super) fn note(state: &mut State, thread: &mut Thread, number: u32, slice: &Slice) {
    let Some(task) = state.tasks.of(slice.tid) else { return };
    let (Call::Read { fd, .. } | Call::Write { fd }) = slice.call else { return };
    let is_read = matches!(slice.call, Call::Read { .. });
    let Some(event_loop) = thread.event_loop.as_deref_mut() else { return };
    if state.descriptors.connection(slice.tgid, fd) != Some(number) || is_read && !event_loop.on_gevent {
        return;
    }
    let connections = &state.connections;
    let id_of = |number| Some(connections.get(number)?.requests.front()?.request.id);
    let Some(id) = id_of(number) else { return };
    event_loop.tasks.works_for(task, (number, id), slice.enter_ns, |(number, id)| id_of(number) == Some(id));
    if let Some(active) = state.connections.get_mut(number).and_then(|c| c.requests.front_mut()) {
        active.task = Some(task);
    }
}

/// Requests that the present task of a loop's thread may work for, if it is of none that surely is not over: those left of which no task is known, and the
/// one whose it was last.
pub(super) fn may_work_for(state: &State, thread: &Thread, tid: Tid) -> Vec<Place> {
    let Some(event_loop) = thread.event_loop.as_deref() else { return Vec::new() };
    let task = state.tasks.of(tid);
    let is_open = |(number, id): &Place| {
        let front = state.connections.get(*number).and_then(|connection| connection.requests.front());
        front.is_some_and(|active| active.request.id == *id && (active.task.is_none() || active.task == task))
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
pub(super) fn is_another_s(state: &State, thread: &Thread, slice: &Slice, (number, id): Place) -> bool {
    let front = state.connections.get(number).and_then(|connection| connection.requests.front());
    let own = front.filter(|active| active.request.id == id).and_then(|active| active.task);
    let reads = matches!(slice.call, Call::Read { .. });
    !reads
        && own.zip(state.tasks.of(slice.tid)).is_some_and(|(own, task)| own != task)
        && !may_work_for(state, thread, slice.tid).is_empty()
}
