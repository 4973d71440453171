//! Whose the task is that woke a thread, and what its request waited for until then.
//!
//! In: tasks that are known to work for requests, looks of the loop. Out: assertions on the request and its
//! phases.

use super::*;
use crate::event::{Call, Slice};
use crate::fact::Account;
use crate::loop_kind::gevent::GEVENT;
use crate::machine::runtime::tests::{FIRST, LOOP, Stages, TGID};
use crate::phase::Phases;

/// A loop that slept until 200 and from 300 to 400. Its request came at 90, ran, and was left at 250; task 5
/// works for it.
fn stages() -> Stages {
    let mut stages = Stages::new(1);
    stages.active(FIRST).pass(250, Phase::Cpu);
    assert!(stages.event_loop().tasks.works_for(5, FIRST, 100, |_| true));
    stages.sleep(100, 200);
    stages.sleep(300, 400);
    stages
}

impl Stages {
    /// Tasks were seen to resume with the results of their own threads.
    fn tasks_tell(&mut self) {
        let givers = &mut self.pool().givers;
        for task in 100..110 {
            givers.has_result(Some(task), 50);
            givers.resumed(Some(task), 0);
        }
    }
}

type Then = fn(&mut Stages);
/// Phases of a request, and how long they were.
type Parts = &'static [(Phase, u64)];

#[test]
fn a_task_tells_whose_a_thread_is_where_it_is_surely_that_of_one_request() {
    let cases: &[(&str, Then, Option<u64>, Option<RequestKey>)] = &[
        ("tasks wait for their threads", Stages::tasks_tell, Some(5), Some(FIRST)),
        ("that is not known", |_| {}, Some(5), None),
        (
            "they are greenlets",
            |stages| stages.event_loop().recognition.may_be_of(&GEVENT, false),
            Some(5),
            Some(FIRST),
        ),
        ("no task is known", Stages::tasks_tell, None, None),
        ("another task", Stages::tasks_tell, Some(6), None),
        (
            "its request is over",
            |stages| {
                stages.tasks_tell();
                stages.wire.connections.get_mut(FIRST.0).unwrap().requests.clear();
            },
            Some(5),
            None,
        ),
        (
            "the loop has ended",
            |stages| {
                stages.tasks_tell();
                stages.runtime.threads.remove(LOOP);
            },
            Some(5),
            None,
        ),
    ];
    for (what, then, task, expected) in cases {
        let mut stages = stages();
        then(&mut stages);
        assert_eq!(key(stages.view(), TGID, LOOP, *task), *expected, "{what}");
    }
}

#[test]
fn a_request_whose_task_wakes_a_thread_has_resumed_by_then() {
    // What happened since it was left, when its task woke the thread, and what it waited for until then.
    let cases: &[(&str, Then, u64, Parts)] = &[
        ("in this iteration", |_| {}, 420, &[(Phase::Unexplained, 150), (Phase::LoopWait, 20)]),
        (
            "as its loop was woken by a timer",
            |stages| {
                let inside = Account { blocked_ns: 9_000_000, ..Account::default() };
                let call = Call::EpollWait { epoll_fd: 4, timeout_ms: 9 };
                let slice = Slice { enter_ns: 500, exit_ns: 9_000_500, inside, ..Slice::blank(call) };
                stages.event_loop().has_looked(&slice, 0);
            },
            9_000_520,
            &[(Phase::Sleep, 9_000_250), (Phase::LoopWait, 20)],
        ),
        ("before it was left", |_| {}, 240, &[]),
        ("in the iteration in which it was left", |_| {}, 260, &[]),
        (
            "the loop has looked since",
            |stages| {
                let call = Call::EpollWait { epoll_fd: 4, timeout_ms: 0 };
                let slice = Slice { enter_ns: 430, exit_ns: 430, ..Slice::blank(call) };
                stages.event_loop().has_looked(&slice, 0);
            },
            420,
            &[(Phase::Unexplained, 170)],
        ),
        ("a thread works on it", |stages| stages.active(FIRST).owner = Some(LOOP), 420, &[]),
        ("it waits for a back end", |stages| stages.active(FIRST).wants = Wants::Backend, 420, &[]),
        ("the loop has ended", |stages| drop(stages.runtime.threads.remove(LOOP)), 420, &[]),
    ];
    for (what, then, woken_ns, expected) in cases {
        let mut stages = stages();
        then(&mut stages);
        has_resumed(&mut stages.runtime_context(), FIRST, LOOP, *woken_ns);
        let mut phases = Phases::default();
        phases.add(Phase::Cpu, 160);
        expected.iter().for_each(|(phase, length_ns)| phases.add(*phase, *length_ns));
        assert_eq!(stages.active(FIRST).request.phases, phases, "{what}");
    }
    let mut stages = stages();
    has_resumed(&mut stages.runtime_context(), (FIRST.0, 11), LOOP, 420);
    assert_eq!(stages.active(FIRST).cursor_ns, 250, "another request of the connection");
}
