//! Threads that a loop makes for one request each, as asgiref does for Django's views.
//!
//! In: scripts of a loop's thread and of those that it makes. Out: assertions. Times are in microseconds in
//! the scripts.

use super::handed::{loop_with_notes, thread_of};
use super::*;
use crate::event::{Change, Lifecycle};

impl Script {
    /// Makes a thread; returns its script, which begins at its birth.
    fn make(mut self, child_tid: u32) -> (Self, Self) {
        let (time_ns, tgid) = (self.now_ns + self.gap.total_ns(), self.tgid);
        let change = Change::Fork { child_tgid: tgid, child_tid, child_number: 0 };
        let body = Body::Lifecycle(Lifecycle { tgid, tid: self.tid, change, comm: "python".to_owned() });
        self.events.push(Event { time_ns, body });
        let mut child = thread_of(&self);
        (child.tid, child.now_ns) = (child_tid, time_ns);
        (self, child)
    }

    pub(super) fn asleep(self, us: u64) -> Self {
        self.call(Call::Sleep, 0, (0, 0, us), 0)
    }

    /// Looks and sleeps until `until_ns`, and reads what it was woken by.
    fn sleep_until(self, until_ns: u64) -> Self {
        let us = (until_ns - self.now_ns - self.gap.total_ns()) / US;
        self.look(-1, 1, (0, 0, us)).read_note().look(0, 0, (1, 0, 0))
    }
}

/// ```text
/// loop:  read 9, look, make 2, look …    wake 2, look …                read the note, look, write 9
/// 2:                   python 60, note, futex ──┘ python 20, asleep 300, note, futex
/// ```
#[test]
fn a_thread_made_for_a_request_does_all_its_parts_and_keeps_it_waiting_for_nobody_else() {
    let script = loop_with_notes();
    let loop_tid = script.tid;
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(50).look(0, 0, (1, 0, 0)).cpu(20);
    let (script, own) = script.make(2);
    let own = own.cpu(60).note();
    let script = script.cpu(5).sleep_until(own.now_ns).cpu(10);
    let woken = script.now_ns + script.gap.total_ns();
    let own = own.woken_by(loop_tid, woken).cpu(20).asleep(300).note();
    let script = script.cpu(5).sleep_until(own.now_ns).cpu(20).respond(9).look(-1, 0, (0, 0, 200));
    let own = own.job_wait((0, 0, 150));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, own], end_us);
    let request = &outcome.requests[2];
    assert_eq!(us(request, Phase::Sleep), 300, "{:?}", request.phases);
    assert_eq!(us(request, Phase::PoolWait) + us(request, Phase::LockWait), 0, "{:?}", request.phases);
    assert_eq!(us(request, Phase::Unexplained), 0, "{:?}", request.phases);
    assert!(us(request, Phase::Cpu) >= 50 + 60 + 20 + 20, "{:?}", request.phases);
    assert_eq!(outcome.snapshot.event_loops[0].paired_by_order, 0);
}

/// ```text
/// loop:  read 9, read 10, look, make 2, make 3, look …  read the note, write 10, look … read the note, write 9
/// 2:                            asleep 900 ……………………………………………………………… note
/// 3:                                    asleep 300, note
/// ```
#[test]
fn of_two_threads_made_at_once_each_is_that_of_the_request_which_is_answered_when_it_has_told() {
    let script = loop_with_notes();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(10).read(10, GET, came, (1, 0, 0)).cpu(10);
    let (script, long) = script.look(0, 0, (1, 0, 0)).cpu(20).make(2);
    let (script, short) = script.cpu(20).make(3);
    let long = long.asleep(900).note();
    let short = short.asleep(300).note();
    let script = script.cpu(5).sleep_until(short.now_ns).cpu(20).respond(10);
    let script = script.sleep_until(long.now_ns).cpu(20).respond(9).look(-1, 0, (0, 0, 200));
    let (long, short) = (long.job_wait((0, 0, 150)), short.job_wait((0, 0, 600)));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, long, short], end_us);
    let [.., first, second] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    assert_eq!(us(first, Phase::Sleep), 300, "{:?}", first.phases);
    assert_eq!(us(second, Phase::Sleep), 900, "{:?}", second.phases);
    assert_eq!(us(first, Phase::PoolWait) + us(second, Phase::PoolWait), 0);
}

/// ```text
/// loop:  read 9, look, make 2, look … note, write 9, look (asleep), read 10, look, wake 2, look … note, write 10
/// 2:                   asleep 300, note, futex ──────────────────────────────────────┘ asleep 500, note
/// ```
#[test]
fn a_thread_that_is_kept_for_later_requests_works_for_those_it_is_woken_for() {
    let script = loop_with_notes();
    let loop_tid = script.tid;
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(50).look(0, 0, (1, 0, 0)).cpu(20);
    let (script, own) = script.make(2);
    let own = own.asleep(300).note();
    let script = script.cpu(5).sleep_until(own.now_ns).cpu(20).respond(9).look(-1, 1, (0, 0, 2000));
    let came = script.now_ns;
    let script = script.read(10, GET, came, (1, 0, 0)).cpu(50).look(0, 0, (1, 0, 0)).cpu(20);
    let woken = script.now_ns + script.gap.total_ns();
    let own = own.woken_by(loop_tid, woken).asleep(500).note();
    let script = script.cpu(5).sleep_until(own.now_ns).cpu(20).respond(10).look(-1, 0, (0, 0, 200));
    let own = own.job_wait((0, 0, 150));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, own], end_us);
    let [.., first, second] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    assert_eq!((us(first, Phase::Sleep), us(second, Phase::Sleep)), (300, 500), "{:?}", second.phases);
}
