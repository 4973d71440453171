//! The next slice of a thread.
//!
//! In: slices that follow, that leave holes, that break the laws; threads seen for the first time. Out:
//! assertions on the thread and on what is counted.

use super::*;
use crate::event::TaskSeen;

#[test]
fn a_slice_that_does_not_follow_the_one_before_leaves_a_hole_that_its_request_has_as_unexplained() {
    // The number of the next slice after the first, its times, and: whether the request is lossy, what is
    // missing, which laws broke, whether tasks stay known.
    for (what, sequence, times, expected) in [
        ("it follows", 2, (130, 150, 160), (false, 0, 0, true)),
        ("two are missing", 4, (140, 150, 160), (true, 2, 0, false)),
        ("time is missing", 2, (140, 150, 160), (true, 0, 1, true)),
        ("it begins before", 2, (120, 150, 160), (false, 0, 1, true)),
    ] {
        let mut run = Run::new(1);
        run.reads_request();
        run.state.runtime.tasks.switch(&TaskSeen { tgid: 1, tid: 1, task: 7 }, 130);
        run.sequence = sequence - 1;
        run.call(Call::Sleep, times, 0);
        let lossy = run.connection(0).requests[0].request.seen.lossy;
        let laws = run.state.time.conservation.clone();
        let told =
            (lossy, run.state.time.sequence_holes, laws.slices_broken, run.state.runtime.tasks.follows(1));
        assert_eq!(told, expected, "{what}");
        assert_eq!(laws.slices, 2, "{what}");
        run.moves(Call::Write { fd: CLIENT }, (160, 180, 190), OK5);
        let requests = run.requests();
        let (_, phases, _) = &requests[0];
        let total_ns: u64 = phases.iter().map(|(_, length_ns)| length_ns).sum();
        assert_eq!(total_ns, 190 - 120, "{what}: it adds up: {phases:?}");
        let unexplained = phases.iter().find(|(name, _)| *name == "unexplained").map_or(0, |(_, ns)| *ns);
        assert_eq!(unexplained, if lossy { 10 } else { 0 }, "{what}");
    }
}

#[test]
fn a_thread_for_which_there_is_no_room_is_counted_and_left_out() {
    let mut run = Run::new(1);
    (1000..1000 + 16_384).for_each(|tid| run.state.runtime.threads.put(tid, Box::default()));
    run.reads_request();
    assert_eq!((run.state.evicted, run.state.runtime.threads.get(1).is_none()), (1, true));
    assert!(run.connection(0).requests.is_empty());
    run.state.runtime.threads.remove(1000);
    run.reads_request();
    assert_eq!((run.state.evicted, run.connection(0).requests.len()), (1, 1));
}

#[test]
fn a_thread_that_was_in_a_call_at_the_first_sight_was_busy_since_the_watch_began_unless_it_waited_for_work() {
    const FLOCK: u32 = 73;
    // The call that it was in, its next one, since when it was at work, and whether that was for a request.
    for (what, call, number, next, since_ns, has_request) in [
        ("it slept", Call::Sleep, 35, Call::Sleep, 50, false),
        ("it accepted", Call::Accept { listener_fd: LISTENER }, 43, Call::Sleep, 100, false),
        ("it wrote to a client", Call::Write { fd: CLIENT }, 1, Call::Sleep, 50, true),
        ("it read from a client", read_of(CLIENT), 0, Call::Sleep, 50, false),
        (
            "it was in a lock before it accepts",
            Call::Other,
            FLOCK,
            Call::Accept { listener_fd: LISTENER },
            100,
            false,
        ),
        ("it was in no call", Call::Other, u32::MAX, Call::Sleep, 100, false),
    ] {
        let mut run = Run::new(1);
        run.state.watch_start_ns = 50;
        run.state.runtime.initial.insert(1, Slice { system_call: number, ..Slice::blank(call) });
        run.call(next, (100, 120, 130), 0);
        let is_idle = matches!(next, Call::Accept { .. });
        let busy_ns = run.thread().busy_since_ns;
        assert_eq!(busy_ns, Some(if is_idle { 130 } else { since_ns }), "{what}");
        let expected_since = if number == u32::MAX { 100 } else { 50 };
        assert_eq!(run.thread().since_ns, expected_since, "{what}: it was there before");
        let front = run.connection(0).requests.front();
        assert_eq!(front.map(|active| active.response.has_begun), has_request.then_some(true), "{what}");
        assert_eq!(run.thread().slot.is_some(), has_request, "{what}");
        assert!(run.state.runtime.initial.is_empty(), "{what}: it says something once");
    }
}

#[test]
fn a_capture_is_that_of_the_slice_with_its_number() {
    for (what, sequence, has_head) in
        [("its own", 1, true), ("of one before", 0, false), ("of one after", 2, false)]
    {
        let mut run = Run::new(1);
        let bytes = GET.to_vec();
        let head = Head { tgid: 1, tid: 1, sequence, fd: 0, inbound: true, offset_bytes: 0, bytes };
        run.state.heads.insert(1, head);
        let mut read = slice(read_of(CLIENT), (100, 120, 130), GET.len() as i64);
        read.flags = FLAG_CLIENT;
        run.take(&read);
        let method = &run.connection(0).requests[0].request.http.method;
        assert_eq!(!method.is_empty(), has_head, "{what}");
    }
}
