//! Requests that wait for processes that they started.
//!
//! In: scripts. Out: assertions on the phase of the sleep in calls that are not observed.

use profiler_common::gap_sleep::{CLONE, CLONE3, VFORK, WAIT4, WAITID};
use profiler_common::record::slice::{FLAG_GAP_BLOCKED_MIXED, NO_CALL, PAGE_FAULT};

use super::*;

/// What a request slept for 300 µs in this call, 20 µs of them in page faults: for a child process, in those,
/// and not known.
fn slept(call: i32, flags: u32) -> [u64; 3] {
    let script = Script::new(1).select((0, 0, 100)).accept(9, (10, 0, 0));
    let arrival_ns = script.now_ns;
    let mut script = script.read(9, GET, arrival_ns, (5, 0, 0));
    script.gap.blocked_ns = 300 * US;
    script = script.write_head(9, OK5, (6, 0, 0));
    let place = script.events.len() - 1;
    if let Body::Slice(slice) = &mut script.events[place].body {
        slice.in_gap.blocked_call = call;
        slice.in_gap.fault_ns = 20 * US;
        slice.flags |= flags;
    }
    let script = script.write(9, 5, (4, 0, 0)).call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0);
    let outcome = run(vec![script.select((0, 0, 500))], 3000);
    assert_eq!(outcome.snapshot.coverage.blind_spots, Vec::<String>::new());
    [Phase::ChildWait, Phase::FaultWait, Phase::Unexplained].map(|phase| us(&outcome.requests[0], phase))
}

#[test]
fn only_a_sleep_in_a_call_that_waits_for_a_child_is_a_wait_for_one() {
    const FLOCK: i32 = 73;
    const PAUSE: i32 = 34;
    for call in [VFORK, WAIT4, WAITID] {
        assert_eq!(slept(call, 0), [280, 20, 0], "{call}");
        // In which of several calls it slept for how long is not known.
        assert_eq!(slept(call, FLAG_GAP_BLOCKED_MIXED), [0, 20, 280], "{call}");
    }
    // One that does not wait for its child can sleep for the memory map.
    for call in [CLONE, CLONE3, PAUSE, NO_CALL, PAGE_FAULT] {
        assert_eq!(slept(call, 0), [0, 20, 280], "{call}");
    }
    assert_eq!(slept(FLOCK, 0)[0], 0);
}
