//! Threads that a request starts itself.
//!
//! In: scripts. Out: assertions on whom it waited for.

use super::*;
use crate::event::{Change, Lifecycle};

fn wait(script: Script, us: u64, waker_tid: u32) -> Script {
    let call = Call::FutexWait { address: 77, operation: 393, has_timeout: false };
    let mut script = script.call(call, 0, (0, 0, us), 0);
    if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
        slice.woken.by_tid = waker_tid;
    }
    script
}

fn start(mut script: Script, child_tid: u32) -> Script {
    let change = Change::Fork { child_tgid: script.tgid, child_tid, child_number: 0 };
    let lifecycle = Lifecycle { tgid: script.tgid, tid: script.tid, change, comm: "Thread-1".into() };
    script.events.push(Event { time_ns: script.now_ns, body: Body::Lifecycle(lifecycle) });
    script
}

/// ```text
/// sync worker: accept 9, recv, starts 5 ─ waits for 5 ─ waits for 7 ─ send, close │ accept 10, recv ─ waits
/// for 5 ─ send, close
/// ```
#[test]
fn a_wait_that_a_thread_of_the_request_s_own_ends_is_for_that_thread_and_no_other_wait_is() {
    let serve = |script: Script, fd: i32| {
        let script = script.accept(fd, (10, 0, 0));
        let arrival_ns = script.now_ns;
        script.read(fd, GET, arrival_ns, (5, 0, 0))
    };
    let answer = |script: Script, fd: i32| {
        script.write_head(fd, OK5, (6, 0, 0)).write(fd, 5, (4, 0, 0)).call(
            Call::Close { fd },
            0,
            (2, 0, 0),
            0,
        )
    };
    let first = start(serve(Script::new(1).select((0, 0, 100)), 9), 5);
    let first = answer(wait(wait(first, 500, 5), 90, 7), 9);
    let second = answer(wait(serve(first.select((0, 0, 100)), 10), 40, 5), 10);
    let outcome = run(vec![second.select((0, 0, 500))], 3000);
    let waits: Vec<u64> = outcome.requests.iter().map(|request| us(request, Phase::LockWait)).collect();
    assert_eq!(waits, [590, 40]);
    assert_eq!(outcome.snapshot.requests.helper_wait_ns / US, 500);
}
