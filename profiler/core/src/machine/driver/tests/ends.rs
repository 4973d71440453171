//! Ends that are not a response.
//!
//! In: processes that end, descriptors whose numbers are given again, the end of the window. Out: assertions
//! on the requests.

use super::serving::poll_of;
use super::*;
use crate::machine::driver::unserved::Unserved;

#[test]
fn a_request_under_way_at_the_end_of_the_window_is_open_unless_its_answer_may_be_over() {
    let waits: SetUp = |run| {
        run.ask(0, 1, 100);
    };
    // What happened before the window ends at 300, and what is reported of the request.
    let cases: &[(&str, SetUp, Observed)] = &[
        ("nobody has read it", waits, (300, vec![("pool_wait", 200)], true)),
        (
            "a loop has left it",
            |run| run.ask(0, 1, 100).left_by = Some(1),
            (300, vec![("unexplained", 200)], true),
        ),
        (
            "its beginning was not seen",
            |run| run.ask(0, 1, 100).request.seen.truncated = true,
            (300, vec![("unexplained", 200)], true),
        ),
        (
            "nobody knows where its answer ends",
            |run| {
                run.reads_request();
                run.moves(Call::Write { fd: CLIENT }, (130, 150, 160), CHUNKED);
            },
            (160, vec![("cpu", 20), ("read_head", 10), ("write", 10)], false),
        ),
        (
            "its answer is not whole",
            |run| {
                run.reads_request();
                run.moves(Call::Write { fd: CLIENT }, (130, 150, 160), &OK5[..OK5.len() - 1]);
            },
            (300, vec![("cpu", 20), ("read_head", 10), ("unexplained", 140), ("write", 10)], true),
        ),
    ];
    for (what, set_up, expected) in cases {
        let mut run = Run::new(1);
        set_up(&mut run);
        let Run { state, entries, .. } = &mut run;
        state.end_window((&[], &Unserved::default()), 300, &mut |entry| entries.push(entry));
        assert_eq!(run.requests(), std::slice::from_ref(expected), "{what}");
        assert_eq!(run.state.runtime.threads.len(), 0, "{what}: threads end with it");
    }
}

#[test]
fn the_call_under_way_at_the_end_of_the_window_is_part_of_what_its_thread_serves() {
    // What the thread is in the middle of since 150, after a request that was read at 130; and what that has.
    let sleep = Call::Sleep;
    for (what, call, system_call, sequence, expected) in [
        ("a sleep", sleep, 35, 2, vec![("cpu", 20), ("read_head", 10), ("sleep", 150)]),
        ("no call", Call::Other, u32::MAX, 2, vec![("cpu", 170), ("read_head", 10)]),
        ("its slice has come after all", sleep, 35, 1, vec![("read_head", 10), ("unexplained", 170)]),
    ] {
        let mut run = Run::new(1);
        run.reads_request();
        let enter_ns = if system_call == u32::MAX { 300 } else { 150 };
        let gap = Account { cpu_ns: enter_ns - 130, ..Account::default() };
        let inside = Account { blocked_ns: 300 - enter_ns, ..Account::default() };
        let open = Slice { sequence, system_call, ..Slice::blank(call) };
        let open = Slice { enter_ns, exit_ns: 300, gap, inside, ..open };
        let Run { state, entries, .. } = &mut run;
        state.end_window((&[(open, false)], &Unserved::default()), 300, &mut |entry| entries.push(entry));
        assert_eq!(run.requests(), [(300, expected, true)], "{what}");
    }
}

#[test]
fn a_slot_is_busy_once_up_to_the_end_of_the_window_or_of_what_is_known_of_it() {
    let open = |call, sequence| {
        let inside = Account { blocked_ns: 120, ..Account::default() };
        let gap = Account { cpu_ns: 20, ..Account::default() };
        let open = Slice { sequence, system_call: 35, ..Slice::blank(call) };
        (Slice { enter_ns: 180, exit_ns: 300, gap, inside, ..open }, false)
    };
    // What is open at the end, and for how long the slot was busy since 100; its last slice ended at 160.
    for (what, open, expected_ns) in [
        ("nothing: its last slice came while it was looked at", vec![], 60),
        ("what has come as a slice", vec![open(Call::Sleep, 2)], 60),
        ("a sleep", vec![open(Call::Sleep, 3)], 200),
        ("a wait for work", vec![open(poll_of(LISTENER), 3)], 80),
    ] {
        let mut run = Run::new(1);
        run.call(Call::Other, (100, 120, 130), 0);
        run.call(Call::Other, (130, 140, 160), 0);
        run.thread().slot = Some(0);
        let sequence = run.thread().row.sequence;
        let open: Vec<_> = open
            .into_iter()
            .map(|(slice, unknown)| (Slice { sequence: slice.sequence - 2 + sequence, ..slice }, unknown))
            .collect();
        let state = &mut run.state;
        state.end_window((&open, &Unserved::default()), 300, &mut |_| {});
        state.settle(Some(300), &mut |_| {});
        assert_eq!(state.time.busy.at_least_ns(1), expected_ns, "{what}");
    }
}

#[test]
fn what_a_process_was_about_ends_with_it() {
    let ends: SetUp = |run| {
        let Run { state, entries, .. } = run;
        state.end_process(1, 9, 300, &mut |entry| entries.push(entry));
    };
    let given_again: SetUp = |run| {
        let Run { state, entries, .. } = run;
        state.end_predecessor(1, CLIENT, 300, &mut |entry| entries.push(entry));
    };
    let another: SetUp = |run| {
        let Run { state, entries, .. } = run;
        state.end_process(2, 9, 300, &mut |entry| entries.push(entry));
    };
    for (what, end, is_over) in [
        ("the process", ends, true),
        ("its descriptor", given_again, true),
        ("another process", another, false),
    ] {
        let mut run = Run::new(1);
        run.reads_request();
        assert!(run.state.runtime.pools.has_loop(1, 1));
        end(&mut run);
        let told = (300, vec![("read_head", 10), ("unexplained", 170)], false);
        assert_eq!(run.requests(), if is_over { vec![told] } else { vec![] }, "{what}");
        assert_eq!(run.state.wire.connections.get(0).is_none(), is_over, "{what}");
        let key: RequestKey = (0, 0);
        assert_eq!(run.thread().serving, (!is_over).then_some(key), "{what}");
    }
    let mut run = Run::new(1);
    assert!(run.state.runtime.pools.has_loop(1, 1));
    ends(&mut run);
    assert!(run.state.runtime.pools.get(1).is_none(), "its pool goes with it");
}

#[test]
fn a_thread_that_ends_in_its_first_request_was_busy_with_it() {
    let mut run = Run::new(1);
    run.state.time.busy.start(0);
    run.reads_request();
    run.state.end_thread(1, 1_000);
    run.state.settle(Some(1_000), &mut |_| {});
    assert_eq!(run.state.time.busy.at_least_ns(1), 900);
}
