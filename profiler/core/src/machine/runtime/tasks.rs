//! Which Python task each thread runs, and for which requests the tasks of a loop work.
//!
//! In: the tasks that the kernel side read as calls began; what is known of their requests. Out: the present task of a thread, the request of a task.
//!
//! A task is a greenlet, or an asyncio task, known by an address ([`TaskSeen`]). Once it has ended, another one may have that address. So what is known of a
//! task holds while its request is in flight. It ends once the same address is seen at work for another request.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::{TaskSeen, Tid};
use crate::machine::wire::request::RequestKey;
use crate::rule::Rule;

/// Threads whose tasks are followed.
const MAX_THREADS: usize = 4096;
/// Tasks of one loop that are followed.
const MAX_TASKS: usize = 4096;
/// Switches of one thread that are remembered: whom it woke reports that some calls later, not more.
const MAX_SWITCHES: usize = 64;

/// The kernel program may not have noted when a wakeup began. Then only the moment is known at which the woken thread's CPU noticed it: up to so long after.
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
        if !Rule::Task.holds() {
            return true;
        }
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

    /// The loop looks for what is ready. The task in which it does is its own.
    pub fn looks(&mut self, tid: Tid) {
        if let Some(switches) = self.0.get_mut(&tid) {
            switches.of_loop = switches.list.back().map_or(0, |(_, task)| *task);
            switches.is_away = false;
        }
    }

    /// The task that the thread runs. `None`: that is not known, or shows nothing.
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

    /// Whether the thread switches from the task in which it looks to others and back, as loops do. A thread that is always in the same task only has a library
    /// loaded.
    #[must_use]
    pub fn goes_round(&self, tid: Tid) -> bool {
        self.0.get(&tid).is_some_and(|switches| switches.goes_round)
    }

    /// Whether the thread's tasks are known.
    #[must_use]
    pub fn follows(&self, tid: Tid) -> bool {
        self.0.contains_key(&tid)
    }

    /// The task that woke another thread. With `is_exact`, it did so at this very moment. Otherwise the woken thread knew of it only later, and the loop may
    /// have looked meanwhile.
    #[must_use]
    pub fn that_woke(&self, tid: Tid, at_ns: u64, is_exact: bool) -> Option<u64> {
        let switches = self.0.get(&tid).filter(|switches| !switches.are_mute)?;
        let has_just_begun = |(since_ns, task): (u64, u64)| {
            !is_exact && task == switches.of_loop && at_ns - since_ns < WAKING_NS
        };
        let before = switches.list.iter().rev().copied().filter(|(since_ns, _)| *since_ns <= at_ns);
        before
            .skip_while(|switch| has_just_begun(*switch))
            .map(|(_, task)| task)
            .next()
            .filter(|task| *task != 0)
    }

    /// The task that the thread runs, whether it shows a request or not.
    pub(in crate::machine) fn last(&self, tid: Tid) -> Option<u64> {
        self.0.get(&tid).and_then(Switches::last)
    }

    /// The thread has ended, or records of it are lost. Its task is not known until it switches to another one.
    pub fn forget(&mut self, tid: Tid) {
        self.0.remove(&tid);
    }
}

impl Switches {
    fn last(&self) -> Option<u64> {
        self.list.back().map(|(_, task)| *task).filter(|task| *task != 0)
    }
}

/// For which requests the tasks of one loop work, and when each was last seen at work.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    of: FxHashMap<u64, (RequestKey, u64)>,
    /// How often a request was written to by the same task as before.
    by_one: u64,
    /// How often it was written to by another task, or by one that had just been at work for an in-flight request.
    by_several: u64,
}

/// A request has one task if at least so many writes by that task come to each write by another.
const ONE_TO_SEVERAL: u64 = 8;

impl Tasks {
    /// Whether a request has one task, as far as was seen. (Where each piece is sent in a task of its own, the next task has its address.)
    #[must_use]
    pub const fn are_of_one_request(&self) -> bool {
        self.by_one >= self.by_several.saturating_mul(ONE_TO_SEVERAL)
    }

    /// A request was written to, by the same task as before (`by_one`) or by another.
    pub(in crate::machine) const fn wrote(&mut self, by_one: bool) {
        let count = if by_one { &mut self.by_one } else { &mut self.by_several };
        *count = count.saturating_add(1);
    }

    /// A task is at work for a request at this moment. `is_live` says which requests are in flight. `false`:
    /// there are too many tasks of such requests.
    pub fn works_for(
        &mut self,
        task: u64,
        key: RequestKey,
        at_ns: u64,
        is_live: impl Fn(RequestKey) -> bool,
    ) -> bool {
        if self.of.len() >= MAX_TASKS && !self.of.contains_key(&task) {
            self.of.retain(|_, (key, _)| is_live(*key));
            if self.of.len() >= MAX_TASKS {
                return false;
            }
        }
        self.of.insert(task, (key, at_ns));
        true
    }

    /// The request that a task was last at work for. It may be over; then the address may be another task's by now.
    #[must_use]
    pub fn key(&self, task: u64) -> Option<RequestKey> {
        self.of.get(&task).map(|(key, _)| *key)
    }

    /// Up to this moment the address was another task's. 0: none is known.
    #[must_use]
    pub fn another_until_ns(&self, task: u64) -> u64 {
        self.of.get(&task).map_or(0, |(_, at_ns)| *at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_for_which_there_is_no_room_is_said_to_have_none_unless_a_request_is_over() {
        let mut tasks = Tasks::default();
        let all = MAX_TASKS as u64;
        assert!((0..all).all(|task| tasks.works_for(task, (1, task), 5, |_| true)));
        assert!(!tasks.works_for(all, (1, all), 5, |_| true));
        assert_eq!(tasks.key(all), None);
        // Who has a place keeps it, whatever it works for.
        assert!(tasks.works_for(7, (1, all), 6, |_| true));
        assert!(tasks.works_for(all, (1, all), 7, |(_, id)| id > 0));
        assert_eq!((tasks.key(all), tasks.key(0)), (Some((1, all)), None));
    }
}
