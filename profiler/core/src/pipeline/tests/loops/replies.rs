//! Threads of a pool that report to the loop, wait until it has taken that, and then finish their job, as
//! Twisted's do.
//!
//! In: scripts of a loop's thread and of its pool's. Out: assertions. Times are in microseconds in the
//! scripts.

use super::handed::{loop_with_notes, thread_of};
use super::*;

/// A moment in what the loop does next.
fn now(script: &Script) -> u64 {
    script.now_ns + script.gap.total_ns()
}

/// Two requests come at once. The loop hands the second over first, as the connection of the first one is not
/// free yet. Each thread sleeps that long for its own, and reports. The loop takes both reports, and answers
/// an iteration later.
fn round(script: Script, pool: [Script; 2], sleeps_us: [u64; 2]) -> (Script, [Script; 2]) {
    let (loop_tid, came) = (script.tid, script.now_ns);
    let [first, second] = pool;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(5).read(10, GET, came, (1, 0, 0)).cpu(50);
    let second = second.woken_at(30, loop_tid, now(&script)).asleep(sleeps_us[1]).note();
    let script = script.cpu(50);
    let first = first.woken_at(20, loop_tid, now(&script)).asleep(sleeps_us[0]).note();
    let asleep_us = (second.now_ns.max(first.now_ns) - now(&script)) / US;
    let script = script.look(-1, 1, (0, 0, asleep_us)).read_note().cpu(20);
    let first = first.woken_at(21, loop_tid, now(&script)).cpu(15).note();
    let script = script.cpu(20);
    let second = second.woken_at(31, loop_tid, now(&script)).cpu(15).note();
    let script = script.cpu(40).look(0, 3, (1, 0, 0)).read_note().cpu(5).respond(9).cpu(5).respond(10);
    (script.look(-1, 1, (0, 0, 1000)), [first, second])
}

/// ```text
/// loop: read 9, read 10, wake 3, wake 2, look … read the note, wake 2, wake 3, look, write 9, write 10 │ the
/// same twice more
/// 2:    futex ────────────────────────┘ asleep, note ─ futex ───┘ note, futex
/// 3:    futex ────────────────┘ asleep, note ─ futex ───────────────────┘ note, futex
/// ```
#[test]
fn a_thread_that_waits_until_the_loop_has_taken_its_report_finishes_the_same_job() {
    let script = loop_with_notes();
    let pool = [2, 3].map(|tid| Script { tid, ..thread_of(&script) });
    let (script, pool) = round(script, pool, [300, 330]);
    let (script, pool) = round(script, pool, [400, 450]);
    let (script, pool) = round(script, pool, [500, 570]);
    let [first, second] = pool;
    let (first, second) = (first.job_wait((0, 0, 100)), second.job_wait((0, 0, 100)));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, first, second], end_us);
    let requests = outcome.requests.get(2..).unwrap_or_default();
    let sleeps: Vec<u64> = requests.iter().map(|request| us(request, Phase::Sleep)).collect();
    // What the loop does after it has handed the second one over is part of that until the thread goes on
    // alone.
    assert_eq!(sleeps, [300, 330 - 50, 400, 450 - 50, 500, 570 - 50]);
    for request in requests {
        assert_eq!(us(request, Phase::LockWait) + us(request, Phase::PoolWait), 0, "{:?}", request.phases);
        assert!(us(request, Phase::Unexplained) < 110, "until its thread is woken: {:?}", request.phases);
        assert!(us(request, Phase::LoopWait) < 300, "{:?}", request.phases);
    }
}
