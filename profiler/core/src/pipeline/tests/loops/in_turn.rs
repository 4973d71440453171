//! Loops of asyncio whose requests each run in a task of their own, which then wakes the loop to have the
//! response written.
//!
//! In: scripts of a loop's thread and of the tasks that it is at. Out: assertions. Times are in microseconds
//! in the scripts.

use super::handed::NOTES;
use super::tasks::{FIRST, SECOND, THIRD};
use super::unattributed::last_two;
use super::*;

impl Script {
    /// Reads the answer of the back end, asleep so long.
    fn answered_after(self, us: u64) -> Self {
        self.call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, us), 0)
    }

    /// The loop's callbacks write these responses, one after the other; then it handles what has woken it,
    /// and waits.
    fn answers(self, fds: &[i32]) -> Self {
        let all = fds.iter().fold(self.task(THIRD), |script, fd| script.respond(*fd));
        all.read_note().hub(-1, 1, 1000)
    }
}

/// A loop whose requests were seen so often to run up to a wakeup of its own, after one that was not.
fn loop_that_wakes_itself(seen: usize) -> Script {
    let script = Script::new(1).call(Call::MakePair { fds: [NOTES, NOTES + 1] }, 0, (0, 0, 0), 0);
    let script =
        script.watch(LISTENER).hub(-1, 1, 100).task(THIRD).accept(9, (1, 0, 0)).accept(10, (1, 0, 0));
    let came = script.now_ns;
    let script =
        script.watch(9).watch(10).read(9, GET, came, (1, 0, 0)).cpu(1).hub(0, 0, 0).task(FIRST).respond(9);
    (0..seen).fold(script.hub(-1, 1, 1000), |script, _| {
        let came = script.now_ns;
        let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).hub(0, 0, 0);
        script.task(FIRST).asleep(50).note().hub(0, 1, 0).answers(&[9])
    })
}

/// ```text
/// loop: (read 9, look, task 1 asleep 50, wakes the loop, look, write 9, read the note, look) eight times or
/// less
///       read 9, read 10, look, task 1 asleep 300, wakes the loop, task 2 asks a back end, 500, wakes the loop, look, write 9, write 10 …
/// ```
#[test]
fn requests_that_run_up_to_a_wakeup_of_their_own_loop_do_so_in_the_order_in_which_they_were_read() {
    for (seen, is_known) in [(8, true), (7, false)] {
        let script = loop_that_wakes_itself(seen);
        let came = script.now_ns;
        let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0));
        let script = script.hub(0, 0, 0).task(FIRST).cpu(10).asleep(300).note();
        let script = script.task(SECOND).cpu(20).connect(BACKEND).send(BACKEND).answered_after(500).note();
        let (first, second, report) = last_two(script.hub(0, 1, 0).answers(&[9, 10]));
        if is_known {
            assert_eq!(us(&first, Phase::Sleep), 300, "{:?}", first.phases);
            assert_eq!(us(&second, Phase::BackendWait), 500, "{:?}", second.phases);
            assert!(us(&second, Phase::LoopWait) >= 300, "it waits for the first: {:?}", second.phases);
            assert!(
                us(&first, Phase::LoopWait) >= 500,
                "its answer waits for the second: {:?}",
                first.phases
            );
            assert_eq!(report.back_ends_unknown, 0);
        } else {
            assert_eq!(us(&first, Phase::Sleep) + us(&second, Phase::Sleep), 0);
        }
        let unexplained_us = us(&first, Phase::Unexplained) + us(&second, Phase::Unexplained);
        assert_eq!(unexplained_us == 0, is_known, "{seen}: {:?} {:?}", first.phases, second.phases);
    }
}

/// ```text
/// loop: (as above, eight times)
///       read a part of 10, read 9, look, the loop's own task asleep 100, task 1 asleep 300, wakes the loop, look, write 9, read the rest of 10, look,
///       task 2 asleep 700, wakes the loop, look, write 10
/// ```
#[test]
fn what_the_loop_does_between_two_tasks_is_nobody_s_and_who_is_not_whole_does_not_run() {
    let script = loop_that_wakes_itself(8);
    let came = script.now_ns;
    let part = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n";
    let script = script.task(THIRD).read_part(10, part, part.len() as i64 + 2, came);
    let script = script.read(9, GET, came, (1, 0, 0)).hub(0, 0, 0);
    let script = script.asleep(100).task(FIRST).asleep(300).note();
    let script =
        script.hub(0, 1, 0).task(THIRD).respond(9).read(10, b"abcdefg", came, (1, 0, 0)).hub(0, 0, 0);
    let script = script.task(SECOND).asleep(700).note().hub(0, 1, 0).answers(&[10]);
    let (first, second, _) = last_two(script);
    assert_eq!(us(&first, Phase::Sleep), 300, "{:?}", first.phases);
    assert_eq!(us(&second, Phase::Sleep), 700, "{:?}", second.phases);
}
