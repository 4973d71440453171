//! asyncio's loop with timers that come due while it is busy.
//!
//! In: scripts of a loop's thread, of the tasks that it is at, and of its timers. Out: assertions. Times are
//! in microseconds in the scripts.

use super::tasks::{FIRST, SECOND, THIRD};
use super::*;
use crate::event::TimerSeen;

impl Script {
    /// As the next call begins, a timer of this task is found due, since then.
    fn timer(mut self, task: u64, due_ns: u64) -> Self {
        let seen = TimerSeen { tgid: self.tgid, tid: self.tid, task, due_ns };
        self.events.push(Event { time_ns: self.now_ns + self.gap.total_ns(), body: Body::Timer(seen) });
        self
    }
}

/// ```text
/// asyncio: read 9, look, look 2 000, read 10, look, python 20 000 (a timer comes due), 2 writes 10, look,
///          look, 1 writes 9
/// ```
#[test]
fn who_slept_until_a_timer_that_a_busy_loop_ran_late_waited_for_the_loop_from_then_on() {
    const DUE_US: u64 = 5000;
    for (what, task, expected_us) in [("its own", FIRST, Some(DUE_US)), ("another's", SECOND, None)] {
        let script = loop_of_two();
        let first = script.now_ns;
        let script = script.task(THIRD).read(9, GET, first, (1, 0, 0)).hub(0, 0, 0).hub(90, 1, 2000);
        let second = script.now_ns;
        let script = script.task(THIRD).read(10, GET, second, (1, 0, 0)).hub(0, 0, 0);
        let due_ns = script.now_ns + DUE_US * US;
        let left_us = (due_ns - first) / US;
        let script = script.task(SECOND).cpu(20_000).respond(10);
        let busy_until_ns = script.now_ns;
        let script = script.timer(task, due_ns).hub(0, 0, 0).hub(0, 0, 0).task(FIRST).cpu(20).respond(9);
        let (requests, _) = requests_of(script.hub(-1, 0, 10));
        let slept = requests.iter().find(|request| request.times.start_ns == first).unwrap();
        let waited_us = us(slept, Phase::LoopWait);
        match expected_us {
            Some(_) => {
                // What it computed before it slept is not seen.
                assert!(left_us.abs_diff(us(slept, Phase::Sleep)) < 20, "{what}: {slept:?}");
                assert!(((busy_until_ns - due_ns) / US).abs_diff(waited_us) < 40, "{what}: {slept:?}");
                assert!(us(slept, Phase::Unexplained) < 20, "{what}: {slept:?}");
            }
            None => assert!(us(slept, Phase::Unexplained) > 15_000, "{what}: {slept:?}"),
        }
    }
}
