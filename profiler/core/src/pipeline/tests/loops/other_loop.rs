//! A loop that reads requests, and another one of its process that works for them.
//!
//! In: scripts of both threads. Out: assertions. Times are in microseconds in the scripts.

use super::handed::{loop_with_notes, thread_of};
use super::*;

const OTHER_EPOLL: i32 = 6;

/// ```text
/// loop: read 9, look, (woken) read the note, look, write 9
/// other: epoll_wait (`futex`: a lock) ── woken by the loop, python 5 000, note
/// ```
#[test]
fn what_another_loop_does_for_a_request_is_unexplained_and_what_a_thread_of_a_pool_does_is_its_work() {
    for looks in [true, false] {
        let mut work = Vec::new();
        let mut script = loop_with_notes();
        for _ in 0..2 {
            let (loop_tid, came) = (script.tid, script.now_ns);
            let read = script.read(9, GET, came, (1, 0, 0)).cpu(50);
            let handed_ns = read.now_ns + 50 * US;
            let mut other = work.pop().unwrap_or_else(|| thread_of(&read)).woken_by(loop_tid, handed_ns);
            if let Some(Event { body: Body::Slice(slice), .. }) = other.events.last_mut().filter(|_| looks) {
                slice.call = Call::EpollWait { epoll_fd: OTHER_EPOLL, timeout_ms: -1 };
            }
            let other = other.cpu(5000).note();
            let asleep_us = (other.now_ns - handed_ns) / US;
            let woken = read.look(-1, 1, (0, 0, asleep_us)).read_note().look(0, 0, (1, 0, 0));
            script = woken.cpu(20).respond(9).look(-1, 1, (0, 0, 500));
            work.push(other);
        }
        let end_us = (script.now_ns - START) / US + 10;
        work.push(script.look(-1, 0, (0, 0, 10)));
        work.reverse();
        let outcome = run(work, end_us);
        let request = outcome.requests.last().unwrap();
        let explained = us(request, Phase::Cpu);
        assert_eq!(explained > 5000, !looks, "{looks}: {:?}", request.phases);
        assert_eq!(us(request, Phase::Unexplained) > 5000, looks, "{looks}: {:?}", request.phases);
    }
}
