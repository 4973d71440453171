//! Which Python task each thread runs, and for which requests the tasks of a loop work.
//!
//! In: the tasks that the kernel side read as calls began; what is known of their requests. Out: the present
//! task of a thread, the request of a task.
//!
//! A task is a greenlet, or an asyncio task, known by an address ([`TaskSeen`]). Once it has ended, another
//! one may have that address. So what is known of a task holds while its request is in flight. It ends once
//! the same address is seen at work for another request.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::bounded::{BoundedMap, push_newest};
use crate::event::{TaskSeen, Tid};
use crate::machine::wire::request::RequestKey;
use crate::rule::Rule;

/// Threads whose tasks are followed.
const MAX_THREADS: usize = 4096;
/// Tasks of one loop that are followed.
const MAX_TASKS: usize = 4096;
/// Switches of one thread that are remembered: whom it woke reports that some calls later, not more.
const MAX_SWITCHES: usize = 64;

/// The kernel program may not have noted when a wakeup began. Then only the moment is known at which the
/// woken thread's CPU noticed it: up to so long after.
const WAKING_NS: u64 = 200_000;

/// The tasks that each thread is at, and was lately.
#[derive(Clone, Debug, Default)]
pub struct Running(BoundedMap<Tid, Switches, MAX_THREADS>);

/// The tasks that one thread is at, and was lately.
#[derive(Clone, Debug, Default)]
struct Switches {
    /// Since when, and which; 0: none that is known.
    list: VecDeque<(u64, u64)>,
    /// The one in which the loop itself looks for what is ready.
    of_loop: u64,
    /// The tasks show no request.
    are_mute: bool,
    /// The thread is at another task than the one in which it looked last.
    is_away: bool,
    /// The thread has come back from another task to the one in which it had looked.
    goes_round: bool,
}

impl Running {
    /// From this moment on the thread's calls are this task's.
    pub fn switch(&mut self, seen: &TaskSeen, at_ns: u64) {
        if !Rule::Task.holds() {
            return;
        }
        let Some(switches) = self.0.get_or_default(seen.tid) else { return };
        let is_of_loop = seen.task == switches.of_loop;
        // 0 is not known, and neither is what is between two of the same.
        if seen.task != 0 && switches.of_loop != 0 {
            switches.goes_round |= is_of_loop && switches.is_away;
            switches.is_away = !is_of_loop;
        }
        push_newest(&mut switches.list, MAX_SWITCHES, (at_ns, seen.task));
    }

    /// How many switches were of a thread that found no place.
    pub const fn evicted(&self) -> u64 {
        self.0.evicted()
    }

    /// The loop looks for what is ready. The task in which it does is its own.
    pub fn polls(&mut self, tid: Tid) {
        if let Some(switches) = self.0.get_mut(&tid) {
            switches.of_loop = switches.list.back().map_or(0, |(_, task)| *task);
            switches.is_away = false;
        }
    }

    /// The task that the thread runs. `None`: that is not known, or shows nothing.
    pub fn of(&self, tid: Tid) -> Option<u64> {
        self.0.get(&tid).filter(|switches| !switches.are_mute)?.last()
    }

    /// The task that the thread runs, unless it is the one in which the loop looks for what is ready.
    pub(in crate::machine) fn beside_loop(&self, tid: Tid) -> Option<u64> {
        let switches = self.0.get(&tid)?;
        switches.last().filter(|task| *task != switches.of_loop)
    }

    /// Whether the thread's tasks show requests.
    pub fn set_informative(&mut self, tid: Tid, is_informative: bool) {
        if let Some(switches) = self.0.get_mut(&tid) {
            switches.are_mute = !is_informative;
        }
    }

    /// Whether the thread switches from the task in which it looks to others and back, as loops do. A thread
    /// that is always in the same task only has a library loaded.
    pub fn goes_round(&self, tid: Tid) -> bool {
        self.0.get(&tid).is_some_and(|switches| switches.goes_round)
    }

    /// Whether the thread's tasks are known.
    pub fn follows(&self, tid: Tid) -> bool {
        self.0.contains_key(&tid)
    }

    /// The task that woke another thread. With `is_exact`, it did so at this very moment. Otherwise the woken
    /// thread knew of it only later, and the loop may have looked meanwhile.
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

    /// The thread has ended, or records of it are lost. Its task is not known until it switches to another
    /// one.
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
    /// How often it was written to by another task, or by one that had just been at work for an in-flight
    /// request.
    by_several: u64,
    /// The request for which a back end was last asked, and the task that did that.
    asked: Option<(RequestKey, u64)>,
}

/// A request has one task if at least so many writes by that task come to each write by another.
const ONE_TO_SEVERAL: u64 = 8;

impl Tasks {
    /// Whether a request has one task, as far as was seen. (Where each piece is sent in a task of its own,
    /// the next task has its address.)
    pub const fn are_of_one_request(&self) -> bool {
        self.by_one >= self.by_several.saturating_mul(ONE_TO_SEVERAL)
    }

    /// A request was written to, by the same task as before (`by_one`) or by another.
    pub(in crate::machine) const fn wrote(&mut self, by_one: bool) {
        let count = if by_one { &mut self.by_one } else { &mut self.by_several };
        *count = count.saturating_add(1);
    }

    /// A task asks a back end for a request, which waits for the answer.
    pub(in crate::machine) const fn asks(&mut self, task: u64, key: RequestKey) {
        self.asked = Some((key, task));
    }

    /// The task that asked a back end for this request, if nobody has asked one for another request since.
    pub(in crate::machine) fn asker(&self, key: RequestKey) -> Option<u64> {
        self.asked.filter(|(asked, _)| *asked == key).map(|(_, task)| task)
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

    /// The request that a task was last at work for. It may be over; then the address may be another task's
    /// by now.
    pub fn key(&self, task: u64) -> Option<RequestKey> {
        self.of.get(&task).map(|(key, _)| *key)
    }

    /// Up to this moment the address was another task's. 0: none is known.
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

    const TID: Tid = 7;

    /// What a thread does.
    #[derive(Clone, Copy)]
    enum Step {
        /// The thread is at this task from now on.
        To(u64),
        Looks,
    }

    use Step::{Looks, To};

    fn to(running: &mut Running, task: u64, at_ns: u64) {
        running.switch(&TaskSeen { tgid: 1, tid: TID, task }, at_ns);
    }

    #[test]
    fn a_loop_goes_round_from_the_task_in_which_it_looks_to_another_and_back() {
        for (what, steps, expected) in [
            ("there and back", &[To(1), Looks, To(2), To(1)][..], true),
            ("over another", &[To(1), Looks, To(2), To(3), To(1)], true),
            ("it is away", &[To(1), Looks, To(2)], false),
            ("always the same", &[To(1), Looks, To(1)], false),
            ("it looks in each", &[To(1), Looks, To(2), Looks, To(1)], false),
            ("it has never looked", &[To(2), To(1)], false),
            ("it looked in one that is not known", &[To(0), Looks, To(2), To(0)], false),
            ("an unknown one on the way back", &[To(1), Looks, To(2), To(0), To(1)], true),
            ("an unknown one alone", &[To(1), Looks, To(0), To(1)], false),
        ] {
            let mut running = Running::default();
            for (step, at_ns) in steps.iter().zip(1..) {
                match step {
                    To(task) => to(&mut running, *task, at_ns),
                    Looks => running.polls(TID),
                }
            }
            assert_eq!(running.goes_round(TID), expected, "{what}");
        }
    }

    #[test]
    fn the_present_task_is_known_until_the_thread_is_at_none_and_told_unless_it_shows_nothing() {
        let mut running = Running::default();
        assert_eq!((running.of(TID), running.last(TID), running.follows(TID)), (None, None, false));
        to(&mut running, 5, 10);
        assert_eq!((running.of(TID), running.last(TID), running.follows(TID)), (Some(5), Some(5), true));
        running.set_informative(TID, false);
        assert_eq!((running.of(TID), running.last(TID)), (None, Some(5)));
        assert_eq!(running.that_woke(TID, 10, true), None);
        running.set_informative(TID, true);
        to(&mut running, 0, 20);
        assert_eq!((running.of(TID), running.last(TID)), (None, None));
        to(&mut running, 6, 30);
        running.forget(TID);
        assert_eq!((running.of(TID), running.follows(TID)), (None, false));
    }

    #[test]
    fn a_thread_was_woken_by_the_task_of_that_moment_or_by_the_one_before_where_the_loop_may_have_looked_since()
     {
        const LOOK_NS: u64 = 1_000_000;
        let mut running = Running::default();
        for (task, at_ns) in [(0, 50), (5, 100), (9, LOOK_NS)] {
            to(&mut running, task, at_ns);
        }
        running.polls(TID);
        for (what, at_ns, is_exact, expected) in [
            ("before all that is known", 49, true, None),
            ("at no task", 50, true, None),
            ("as the task began", 100, true, Some(5)),
            ("as it ended", LOOK_NS - 1, true, Some(5)),
            ("as the loop began to look", LOOK_NS, true, Some(9)),
            ("the loop has just begun to look", LOOK_NS + WAKING_NS - 1, false, Some(5)),
            ("it did so before", LOOK_NS + WAKING_NS, false, Some(9)),
            ("another task has just begun", 100, false, Some(5)),
        ] {
            assert_eq!(running.that_woke(TID, at_ns, is_exact), expected, "{what}");
        }
        assert_eq!(running.that_woke(TID + 1, LOOK_NS, true), None, "another thread");
    }

    #[test]
    fn the_last_switches_are_remembered_and_no_more_threads_than_the_bound() {
        let mut running = Running::default();
        (1..=MAX_SWITCHES as u64 + 1).for_each(|task| to(&mut running, task, task * 10));
        assert_eq!((running.that_woke(TID, 10, true), running.that_woke(TID, 20, true)), (None, Some(2)));
        let mut running = Running::default();
        let count = Tid::try_from(MAX_THREADS).unwrap();
        for (tid, evicted) in (1..=count).map(|tid| (tid, 0)).chain([(count + 1, 1), (count, 1)]) {
            running.switch(&TaskSeen { tgid: 1, tid, task: 5 }, 10);
            assert_eq!(running.evicted(), evicted, "{tid}");
        }
    }

    #[test]
    fn a_request_has_one_task_where_nearly_all_its_writes_are_by_one() {
        for (by_one, by_several, expected) in
            [(0, 0, true), (0, 1, false), (7, 1, false), (8, 1, true), (15, 2, false), (16, 2, true)]
        {
            let mut tasks = Tasks::default();
            (0..by_one).for_each(|_| tasks.wrote(true));
            (0..by_several).for_each(|_| tasks.wrote(false));
            assert_eq!(tasks.are_of_one_request(), expected, "{by_one} {by_several}");
        }
    }

    #[test]
    fn a_task_works_for_the_request_that_it_was_last_seen_at() {
        let mut tasks = Tasks::default();
        assert_eq!((tasks.key(5), tasks.another_until_ns(5)), (None, 0));
        tasks.works_for(5, (1, 10), 100, |_| true);
        tasks.works_for(5, (2, 20), 200, |_| true);
        assert_eq!((tasks.key(5), tasks.another_until_ns(5)), (Some((2, 20)), 200));
    }

    #[test]
    fn tasks_of_requests_that_are_over_make_room() {
        let mut tasks = Tasks::default();
        let count = MAX_TASKS as u64;
        assert!((0..count).all(|task| tasks.works_for(task, (1, task), 100, |_| true)));
        tasks.works_for(count, (1, count), 100, |_| true);
        assert_eq!((tasks.of.len(), tasks.key(count)), (MAX_TASKS, None), "all are at work");
        tasks.works_for(1, (1, 7), 200, |_| true);
        assert_eq!(tasks.key(1), Some((1, 7)), "one that is known changes its request");
        tasks.works_for(count, (1, count), 100, |(_, id)| id >= count - 2);
        assert_eq!((tasks.of.len(), tasks.key(count)), (3, Some((1, count))));
    }
}
