//! Tasks that a request's own task has made: `asyncio.gather`, and `wait_for` before CPython 3.12. They
//! answer no client.
//!
//! In: scripts of a loop's thread and of the tasks that it is at. Out: assertions. Times are in microseconds
//! in the scripts.

use super::tasks::{FIRST, SECOND, THIRD};
use super::*;

/// The first child of the first request, and of the second one. Each further one has the address behind it.
const CHILDREN: [u64; 2] = [0x7f10_0000, 0x7f20_0000];
/// What the children of both ask: the descriptor of the first child of each.
const BACKENDS: [i32; 2] = [30, 40];

fn gathers(script: Script, of: usize, count: u64) -> Script {
    let mut script = script;
    for (child, fd) in (0..count).zip(BACKENDS[of]..) {
        script = script.task(CHILDREN[of] + child).connect(fd);
    }
    script
}

fn sends(script: Script, of: usize, count: u64) -> Script {
    let mut script = script;
    for (child, fd) in (0..count).zip(BACKENDS[of]..) {
        script = script.task(CHILDREN[of] + child).send(fd);
    }
    script
}

fn receives(script: Script, of: usize, child: u64) -> Script {
    script.task(THIRD).receive(BACKENDS[of] + child as i32)
}

/// The task ends; its callback runs; the one that waits for it resumes.
fn passes_on(script: Script) -> Script {
    script.hub(0, 0, 0).cpu(5).hub(0, 0, 0).cpu(2).hub(0, 0, 0)
}

fn of(requests: &[Request], came: u64) -> &Request {
    requests.iter().find(|request| request.times.start_ns == came).unwrap()
}

/// ```text
/// asyncio: read 9, look, (task 1 makes two), look, one connects A, the other B, look 300, they send, look 4
/// 000, receive A, look, python 5, look,
///          python 2, look 2 000, receive B, look, python 5, look, python 2, look, task 1: python 20, writes 9
/// ```
#[test]
fn two_tasks_of_a_request_that_is_alone_ask_for_it() {
    let script = loop_that_defers();
    let came = script.now_ns;
    let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).hub(0, 0, 0).cpu(20).hub(0, 0, 0);
    let script = sends(gathers(script, 0, 2).hub(-1, 2, 300), 0, 2).hub(-1, 1, 4000);
    let script = passes_on(receives(script, 0, 0)).hub(-1, 1, 2000);
    let script = passes_on(receives(script, 0, 1)).task(FIRST).cpu(20).respond(9);
    let (requests, snapshot) = requests_of(script.hub(-1, 0, 10));
    let request = of(&requests, came);
    // The loop was at the end of the first task for another 2, while the second one waited.
    assert_eq!(us(request, Phase::BackendWait), 300 + 4000 + 2 + 2000, "{:?}", request.phases);
    assert_eq!(us(request, Phase::Unexplained), 0, "{:?}", request.phases);
    // That the back ends are its own is only likely.
    let report = &snapshot.event_loops[0];
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (2, 0));
}

/// Two requests at once, each with two such tasks. Either the second one comes while those of the first one
/// wait for their answers (`apart`), or both are read in one iteration: then any of the four tasks may be of
/// either.
#[test]
fn what_tasks_of_one_of_two_requests_ask_is_nobody_s_unless_the_other_cannot_have_made_them() {
    for apart in [false, true] {
        let script = loop_that_defers();
        let came = script.now_ns;
        let mut script = script.task(THIRD).read(9, GET, came, (1, 0, 0));
        if apart {
            script = script.hub(0, 0, 0).cpu(20).hub(0, 0, 0);
            script = sends(gathers(script, 0, 2).hub(-1, 2, 300), 0, 2).hub(-1, 1, 1000);
        }
        let second = script.now_ns;
        let script = script.task(THIRD).read(10, GET, second, (1, 0, 0)).hub(0, 0, 0).cpu(20).hub(0, 0, 0);
        let script = if apart {
            sends(gathers(script, 1, 2).hub(-1, 2, 300), 1, 2).hub(-1, 1, 1000)
        } else {
            let script = gathers(gathers(script, 0, 2), 1, 2).hub(-1, 4, 300);
            sends(sends(script, 0, 2), 1, 2).hub(-1, 1, 1000)
        };
        let script = passes_on(receives(script, 0, 0)).hub(-1, 1, 500);
        let script = passes_on(receives(script, 1, 0)).hub(-1, 1, 500);
        let script = passes_on(receives(script, 0, 1)).task(FIRST).cpu(20).respond(9).hub(-1, 1, 2000);
        let script = passes_on(receives(script, 1, 1)).task(SECOND).cpu(20).respond(10);
        let (requests, snapshot) = requests_of(script.hub(-1, 0, 10));
        let (first, other) = (of(&requests, came), of(&requests, second));
        let unknown = snapshot.event_loops[0].back_ends_unknown;
        let waited = [first, other].map(|request| us(request, Phase::BackendWait));
        let unexplained = [first, other].map(|request| us(request, Phase::Unexplained));
        // From its first question to its last answer each waited for its back ends, except for its own steps.
        let all_us = [first.total_ns() / US - 66 - 1 - 10 - 2, other.total_ns() / US - 66 - 1 - 10 - 2];
        if apart {
            assert_eq!((waited, unexplained, unknown), (all_us, [0, 0], 0));
        } else {
            // The last of the four answers can only be the second one's, as the first one has resumed before
            // it.
            assert_eq!((waited[0], unknown), (0, 3), "{:?}", first.phases);
            assert!(waited[1] > 4000 && waited[1] <= all_us[1], "{:?}", other.phases);
            assert!(unexplained[0] > 2000, "{:?}", first.phases);
        }
        assert_eq!([first, other].map(|request| us(request, Phase::Sleep)), [0, 0]);
    }
}
