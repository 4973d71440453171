//! Whether a wakeup, or a further report, shows that a thread waits for its loop.
//!
//! In: what a thread has reported, what its loop did before it woke the thread. Out: assertions on whether
//! that was the same job, and on what its pool is known for.

use super::*;
use crate::event::{Call, Woken as WokenBy};
use crate::fact::DescriptorClass;
use crate::machine::runtime::handoff::{begin, note};
use crate::machine::runtime::report::Report;
use crate::machine::runtime::tests::{FIRST, LOOP, Stages, TGID};

const WORKER: Tid = 6;
const NOTES: i32 = 30;

type Then = fn(&mut Stages, &mut Thread);

/// A loop that has slept until 210, a request that it read at 255, and a thread that has reported at 250.
fn stages() -> (Stages, Thread) {
    let mut stages = Stages::slept(1).read_at(255);
    stages.world.descriptors.open(TGID, NOTES, DescriptorClass::Wakeup, 0);
    let mut thread = Thread { tgid: TGID, ..Thread::default() };
    thread.pooled.report = Report { notes: 1, noted_ns: 250, ..Report::default() };
    (stages, thread)
}

#[test]
fn a_wakeup_shows_whether_a_thread_waited_for_its_loop_with_its_report() {
    let was_taken: Then = |stages, _| stages.pool().reports.was_taken();
    let reads: Then = |stages, _| stages.event_loop().left.turns_to(FIRST, 256);
    // What happened before it was woken at 260; whether that was for the same job, and whether its pool is
    // then known to wait.
    let cases: &[(&str, &[Then], bool, bool)] = &[
        ("nothing", &[], true, true),
        ("the loop has slept", &[|stages, _| stages.sleep(255, 258)], false, false),
        ("a request has resumed", &[|_, thread| thread.pooled.report.resumed_ns = 255], false, false),
        ("the loop has read a request", &[reads], false, false),
        ("the same in a pool that waits", &[was_taken, reads], true, true),
        (
            "the loop has slept, in a pool that waits",
            &[was_taken, |stages, _| stages.sleep(255, 258)],
            false,
            false,
        ),
        (
            "the loop has slept, in a pool that nearly always waits",
            &[was_taken, was_taken, |stages, _| stages.sleep(255, 258)],
            false,
            true,
        ),
        ("it has reported twice", &[|_, thread| thread.pooled.report.notes = 2], false, false),
    ];
    for (what, then, is_same, is_awaited) in cases {
        let (mut stages, mut thread) = stages();
        then.iter().for_each(|then| then(&mut stages, &mut thread));
        let call = Call::FutexWait { address: 16, operation: 9, has_timeout: false };
        let woken = WokenBy { by_tid: LOOP, at_ns: 260 };
        let slice = Slice { tid: WORKER, enter_ns: 251, exit_ns: 265, woken, ..Slice::blank(call) };
        begin(&mut stages.runtime_context(), &mut thread, &slice);
        let (notes, taken_ns) = if *is_same { (1, 260) } else { (0, 0) };
        let report = thread.pooled.report;
        assert_eq!((report.notes, report.taken_ns), (notes, taken_ns), "{what}");
        assert_eq!(stages.pool().reports.are_awaited(), *is_awaited, "{what}");
    }
}

#[test]
fn a_further_report_after_the_loop_slept_shows_that_the_one_before_was_not_taken_unless_a_request_resumed() {
    let cases: &[(&str, &[Then], bool)] = &[
        ("the loop has not slept", &[], true),
        ("it has", &[|stages, _| stages.sleep(270, 290)], false),
        (
            "it has, and a request had resumed",
            &[|stages, _| stages.sleep(270, 290), |_, thread| thread.pooled.report.resumed_ns = 265],
            true,
        ),
        (
            "it has, and two others were taken",
            &[
                |stages, _| stages.sleep(270, 290),
                |stages, _| stages.pool().reports.was_taken(),
                |stages, _| stages.pool().reports.was_taken(),
            ],
            true,
        ),
    ];
    for (what, then, is_awaited) in cases {
        let (mut stages, mut thread) = stages();
        stages.pool().reports.was_taken();
        thread.pooled.report.taken_ns = 260;
        then.iter().for_each(|then| then(&mut stages, &mut thread));
        let call = Call::Write { fd: NOTES };
        let slice = Slice { tid: WORKER, enter_ns: 299, exit_ns: 300, result: 1, ..Slice::blank(call) };
        note(&mut stages.runtime_context(), &mut thread, &slice);
        assert_eq!(stages.pool().reports.are_awaited(), *is_awaited, "{what}");
    }
}
