//! Loops of asyncio whose connections are a reactor's: what is written to a client leaves one iteration
//! later, and a task asks for that.
//!
//! In: scripts of a loop's thread and of the tasks that it is at. Out: assertions. Times are in microseconds
//! in the scripts.

use super::tasks::{FIRST, SECOND, THIRD};
use super::unattributed::last_two;
use super::*;

impl Script {
    /// Asks to be told when a client takes bytes, or no longer does.
    fn asks_for(self, fd: i32, events: u32) -> Self {
        self.call(Call::EpollControl { epoll_fd: EPOLL, operation: 3, fd, events }, 0, (1, 0, 0), 0)
    }
}

/// What a client may send and take, as `EPOLLIN` and `EPOLLOUT` say it.
const IN: u32 = 1;
const IN_AND_OUT: u32 = 5;

/// ```text
/// asyncio: (the reactor's contexts) read 9, read 10, look, task 1: python 300, asks for 9, task 2: python
/// 40, asks for 10, look, write 9, asks no more, write 10, asks no more
///                                                          `HUB`: all of that is in the task in which the loop looks
/// ```
#[test]
fn who_asks_when_its_client_takes_bytes_before_any_are_sent_runs() {
    for is_beside in [true, false] {
        let script = loop_that_defers().hub(-1, 1, 1000);
        let came = script.now_ns;
        let task = |script: Script, task: u64| if is_beside { script.task(task) } else { script };
        let script = task(script, THIRD).read(9, GET, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0));
        let script = task(script.hub(0, 0, 0), FIRST).cpu(300).asks_for(9, IN_AND_OUT);
        let script = task(script, SECOND).cpu(40).asks_for(10, IN_AND_OUT).hub(0, 2, 0);
        let script = task(script, THIRD).respond(9).asks_for(9, IN).respond(10).asks_for(10, IN);
        let (first, second, _) = last_two(script.hub(-1, 0, 10));
        let unexplained_us = us(&first, Phase::Unexplained) + us(&second, Phase::Unexplained);
        if is_beside {
            assert!((300..320).contains(&us(&first, Phase::Cpu)), "{:?}", first.phases);
            assert!(us(&second, Phase::LoopWait) >= 300, "{:?}", second.phases);
            // What comes after that is the second one's, unless the first goes on.
            assert_eq!(unexplained_us, 40 + 40, "{:?} {:?}", first.phases, second.phases);
        } else {
            assert!(us(&first, Phase::Cpu) < 300, "{:?}", first.phases);
            assert!(unexplained_us > 300, "{:?} {:?}", first.phases, second.phases);
        }
    }
}
