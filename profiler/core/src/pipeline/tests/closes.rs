//! Files that are let go of on the way out of their close.
//!
//! In: scripts. Out: assertions on the phase of the sleep there.

use profiler_common::record::slice::FLAG_GAP_BLOCKED_MIXED;

use super::*;

/// `close` on x86_64.
const CLOSE: i32 = 3;

/// What a request slept for after it closed a descriptor of this class, and called nothing before it slept.
fn slept(class: Option<DescriptorClass>, flags: u32) -> [u64; 2] {
    let script = Script::new(1).select((0, 0, 100)).accept(9, (10, 0, 0));
    let arrival_ns = script.now_ns;
    let mut script = script.read(9, GET, arrival_ns, (5, 0, 0));
    if let Some(class) = class {
        script = script.call(Call::Make { class }, 12, (1, 0, 0), 0);
    }
    script = script.call(Call::Close { fd: 12 }, 0, (1, 0, 0), 0);
    script.gap.blocked_ns = 300 * US;
    script = script.write_head(9, OK5, (6, 0, 0));
    let place = script.events.len() - 1;
    if let Body::Slice(slice) = &mut script.events[place].body {
        (slice.in_gap.blocked_call, slice.flags) = (CLOSE, slice.flags | flags);
    }
    let script = script.write(9, 5, (4, 0, 0)).call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0);
    let outcome = run(vec![script.select((0, 0, 500))], 3000);
    [Phase::FileWait, Phase::Unexplained].map(|phase| us(&outcome.requests[0], phase))
}

#[test]
fn a_sleep_on_the_way_out_of_a_close_is_the_file_system_s_only_where_a_file_was_closed() {
    assert_eq!(slept(Some(DescriptorClass::File), 0), [300, 0]);
    assert_eq!(slept(Some(DescriptorClass::File), FLAG_GAP_BLOCKED_MIXED), [0, 300]);
    assert_eq!(slept(Some(DescriptorClass::Wakeup), 0), [0, 300]);
    assert_eq!(slept(None, 0), [0, 300]);
}
