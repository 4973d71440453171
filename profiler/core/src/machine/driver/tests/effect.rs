//! What a call does beside taking time.
//!
//! In: calls on listeners, connections and other descriptors. Out: assertions on these.

use super::*;
use crate::machine::runtime::event_loop::EventLoop;

const BEFORE: Times = (100, 120, 130);
const TIMES: Times = (130, 150, 160);

fn has_connection(run: &Run, number: u32) -> bool {
    run.state.wire.connections.get(number).is_some()
}

/// What a call does: the call, its result, and what holds then.
type Case = (&'static str, SetUp, Call, i64, fn(&mut Run) -> bool);

fn check(cases: &[Case]) {
    for (what, set_up, call, result, holds) in cases {
        let mut run = Run::new(2);
        set_up(&mut run);
        run.call(*call, TIMES, *result);
        assert!(holds(&mut run), "{what}");
    }
}

const NOTHING: SetUp = |_| {};

#[test]
fn accepts_are_counted_by_what_they_brought() {
    let accept = Call::Accept { listener_fd: LISTENER };
    let counts = |run: &Run| run.state.world.accepts.get(&(1, LISTENER)).copied();
    let told: [(&str, i64, Option<[u64; 3]>); 3] =
        // One that brought a connection counts with that.
        [("a connection", 9, None), ("nothing", EAGAIN, Some([0, 1, 0])), ("an error", -24, Some([0, 0, 1]))];
    for (what, result, expected) in told {
        let mut run = Run::new(0);
        run.call(accept, TIMES, result);
        assert_eq!(counts(&run), expected, "{what}");
        assert!(run.thread().signs.accepts, "{what}");
    }
}

#[test]
fn a_connection_is_gone_with_the_last_descriptor_of_it() {
    let copied: SetUp = |run| run.call(Call::Duplicate { fd: CLIENT }, BEFORE, 30);
    let both_gone: fn(&mut Run) -> bool = |run| !has_connection(run, 0) && !has_connection(run, 1);
    let first_gone: fn(&mut Run) -> bool = |run| !has_connection(run, 0) && has_connection(run, 1);
    let none_gone: fn(&mut Run) -> bool = |run| has_connection(run, 0) && has_connection(run, 1);
    check(&[
        ("it is closed", NOTHING, Call::Close { fd: CLIENT }, 0, first_gone),
        ("a copy of it is closed", copied, Call::Close { fd: 30 }, 0, none_gone),
        ("it is closed, and a copy is left", copied, Call::Close { fd: CLIENT }, 0, none_gone),
        (
            "both are closed",
            |run| {
                run.call(Call::Duplicate { fd: CLIENT }, (100, 105, 110), 30);
                run.call(Call::Close { fd: CLIENT }, (110, 120, 130), 0);
            },
            Call::Close { fd: 30 },
            0,
            first_gone,
        ),
        ("a range of them is closed", NOTHING, Call::CloseRange { first: 9, last: u32::MAX }, 0, both_gone),
        ("the range begins behind it", NOTHING, Call::CloseRange { first: 11, last: 20 }, 0, none_gone),
        ("the range is refused", NOTHING, Call::CloseRange { first: 9, last: 20 }, -22, none_gone),
        ("another is copied to its number", NOTHING, Call::Duplicate { fd: CLIENT + 1 }, 9, first_gone),
        ("it is copied to its own number", NOTHING, Call::Duplicate { fd: CLIENT }, 9, none_gone),
        ("the copy fails", NOTHING, Call::Duplicate { fd: CLIENT }, -24, none_gone),
        ("its number is given again", NOTHING, Call::Make { class: DescriptorClass::Socket }, 9, first_gone),
        ("a pair has its number", NOTHING, Call::MakePair { fds: [8, 9] }, 0, first_gone),
        ("the pair fails", NOTHING, Call::MakePair { fds: [8, 9] }, -24, none_gone),
        ("its copy is a descriptor of it", NOTHING, Call::Duplicate { fd: CLIENT }, 30, |run| {
            run.state.world.descriptors.connection(1, 30) == Some(0) && run.connection(0).copies == 1
        }),
    ]);
}

#[test]
fn what_a_server_does_to_a_connection_is_noted_there() {
    let control = |operation, events| Call::EpollControl { epoll_fd: EPOLL, operation, fd: CLIENT, events };
    let with_loop: SetUp = |run| {
        run.call(Call::Sleep, BEFORE, 0);
        let event_loop = EventLoop::confirmed();
        run.thread().event_loop = Some(Box::new(event_loop));
    };
    let as_slot: SetUp = |run| {
        run.call(Call::Sleep, BEFORE, 0);
        run.thread().slot = Some(0);
    };
    check(&[
        ("it ends its direction", NOTHING, Call::Shutdown { fd: CLIENT, how: 1 }, 0, |run| {
            run.connection(0).shut && run.connection(0).signs.shut_ns == 160
        }),
        ("it ends the client's direction only", NOTHING, Call::Shutdown { fd: CLIENT, how: 0 }, 0, |run| {
            !run.connection(0).shut
        }),
        (
            "it ends it again",
            |run| run.call(Call::Shutdown { fd: CLIENT, how: 1 }, BEFORE, 0),
            Call::Shutdown { fd: CLIENT, how: 2 },
            0,
            |run| run.connection(0).signs.shut_ns == 130,
        ),
        ("a loop waits until it takes more", with_loop, control(3, 5), 0, |run| {
            run.connection(0).awaits_writable
        }),
        ("a loop waits until it sends more", with_loop, control(3, 1), 0, |run| {
            !run.connection(0).awaits_writable
        }),
        ("that fails", with_loop, control(3, 5), -2, |run| !run.connection(0).awaits_writable),
        ("a thread that runs none does", NOTHING, control(3, 5), 0, |run| !run.connection(0).awaits_writable),
        ("a thread that is no slot takes it off its list", NOTHING, control(2, 0), 0, |run| {
            run.connection(0).dispatched_ns == 160
        }),
        ("a slot does", as_slot, control(2, 0), 0, |run| run.connection(0).dispatched_ns == 0),
        ("it is put on a list", NOTHING, control(1, 1), 0, |run| run.connection(0).dispatched_ns == 0),
        ("the client is gone as it writes", NOTHING, Call::Write { fd: CLIENT }, -32, |run| {
            run.connection(0).signs.failed.is_some_and(|failed| failed.writing)
        }),
        ("it can write no more for now", NOTHING, Call::Write { fd: CLIENT }, EAGAIN, |run| {
            run.connection(0).signs.failed.is_none()
        }),
    ]);
}

#[test]
fn a_client_that_leaves_has_the_time_of_the_thread_up_to_the_call_that_met_it() {
    // The call after the request was read at 130, its result, and up to when the request has time then.
    for (what, call, result, expected) in [
        ("the read finds its end", read_of(CLIENT), 0, 160),
        ("the write fails", Call::Write { fd: CLIENT }, -32, 160),
        ("there is nothing to read yet", read_of(CLIENT), EAGAIN, 130),
        ("a signal came", read_of(CLIENT), -4, 130),
        ("it is another's", read_of(CLIENT + 1), 0, 130),
    ] {
        let mut run = Run::new(2);
        run.reads_request();
        run.call(call, TIMES, result);
        assert_eq!(run.connection(0).requests[0].cursor_ns, expected, "{what}");
    }
}

#[test]
fn calls_on_other_descriptors_are_told_apart() {
    check(&[
        ("one that is not known", NOTHING, read_of(77), 5, |run| {
            run.state.world.foreign_descriptor_calls == 1
        }),
        ("it gives nothing", NOTHING, read_of(77), 0, |run| run.state.world.foreign_descriptor_calls == 0),
        ("one that is known", NOTHING, read_of(WAKEUP), 5, |run| {
            run.state.world.foreign_descriptor_calls == 0
        }),
        ("it wakes another thread", NOTHING, Call::Write { fd: WAKEUP }, 8, |run| run.thread().job.has_told),
        ("it reads what woke it", NOTHING, read_of(WAKEUP), 8, |run| !run.thread().job.has_told),
        ("a file is opened", NOTHING, Call::Make { class: DescriptorClass::File }, 40, |run| {
            run.state.world.descriptors.class(1, 40) == Some(DescriptorClass::File)
        }),
        ("it is closed", NOTHING, Call::Close { fd: WAKEUP }, 0, |run| {
            run.state.world.descriptors.class(1, WAKEUP).is_none()
        }),
    ]);
}
