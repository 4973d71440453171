//! Causes of dropped connections that no test can bring about on a healthy machine, replayed.
//!
//! In: scripts of threads and evidence of the kernel. Out: assertions.

use super::evidence::connection_evidence;
use super::*;
use crate::event::Sign;
use crate::model::dropped::Cause;

/// Evidence about a connection that nobody has accepted: established at `START`.
fn in_queue(sign: Sign, socket: u64, after_us: u64) -> Event {
    connection_evidence(sign, (socket, 0), START + after_us * US, |evidence| {
        (evidence.is_waiting, evidence.established_ns) = (true, START);
    })
}

fn failing_accept(script: Script, error: i64) -> Script {
    script.call(Call::Accept { listener_fd: LISTENER }, error, (1, 0, 0), 0)
}

#[test]
fn clients_that_leave_the_queue_while_accept_fails_are_lost_to_what_it_failed_with() {
    let errors = [
        (-24, "EMFILE"),
        (-23, "ENFILE"),
        (-12, "ENOMEM"),
        (-105, "ENOBUFS"),
        (-103, "ECONNABORTED"),
        (-71, "EPROTO"),
    ];
    for (error, name) in errors {
        let script = failing_accept(Script::new(1).cpu(10), error).cpu(10);
        let mut script = failing_accept(script, error);
        script.events.push(in_queue(Sign::ClientEnded, 7, 15));
        let dropped = run(vec![script], 1000).snapshot.dropped;
        let failure = &dropped.accept_failures[0];
        assert_eq!((failure.error, failure.count, failure.tgid), (name, 2, 1));
        assert_eq!((dropped.count(Cause::AcceptFailed), dropped.total()), (1, 1), "{name}: {dropped:?}");
        let first = &dropped.of(Cause::AcceptFailed).unwrap().examples[0];
        assert!(first.evidence.contains(name), "{first:?}");
        assert_eq!(first.waited_ns, Some(15 * US));
    }
}

#[test]
fn an_accept_that_fails_for_any_other_reason_drops_nobody() {
    // EAGAIN, EINTR, EINVAL: nothing there, a signal, a listener that is shut down.
    for error in [-11, -4, -22] {
        let mut script = failing_accept(Script::new(1).cpu(10), error);
        script.events.push(in_queue(Sign::ClientEnded, 7, 15));
        let dropped = run(vec![script], 1000).snapshot.dropped;
        assert_eq!(dropped.accept_failures, []);
        assert_eq!(
            (dropped.count(Cause::ClientLeftInQueue), dropped.total()),
            (1, 1),
            "{error}: {dropped:?}"
        );
    }
}

#[test]
fn a_connection_that_waited_while_accept_failed_and_was_accepted_later_is_served() {
    let script = failing_accept(Script::new(1).cpu(10), -24).cpu(10).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let script = script.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0);
    let dropped = run(vec![script], 1000).snapshot.dropped;
    assert_eq!((dropped.served, dropped.total(), dropped.accept_failures[0].count), (1, 0, 1));
}

/// gunicorn's gthread worker serves what it has read when accept fails for want of a descriptor, closes the
/// rest and ends.
#[test]
fn connections_that_a_worker_closes_unread_as_accept_failed_and_it_ends_are_lost_to_that() {
    let close = Call::Close { fd: 9 };
    let script = failing_accept(Script::new(1).accept(9, (1, 0, 0)), -24).call(close, 0, (1, 0, 0), 0);
    let mut worker = script.cpu(10);
    let reset =
        connection_evidence(Sign::ResetSent, (1, 1), worker.now_ns, |evidence| evidence.unread_bytes = 60);
    worker.events.insert(worker.events.len() - 1, reset);
    let mut events = worker.events.clone();
    let (tgid, tid, change) = (1, 1, Change::Exit { code: 255 << 8 });
    let body = Body::Lifecycle(Lifecycle { tgid, tid, comm: String::new(), change });
    worker.events.push(Event { time_ns: worker.now_ns + 10 * US, body });
    let dropped = run(vec![worker], 1000).snapshot.dropped;
    assert_eq!((dropped.count(Cause::AcceptFailed), dropped.total()), (1, 1), "{dropped:?}");
    // A worker that accepts again has not given up.
    let again = Script { now_ns: START + 50 * US, ..Script::new(1) }.accept(11, (1, 0, 0));
    events.extend(again.events);
    let dropped = run(vec![Script { events, ..Script::new(1) }], 1000).snapshot.dropped;
    assert_eq!((dropped.count(Cause::ClosedWithUnreadData), dropped.total()), (1, 1), "{dropped:?}");
}

#[test]
fn a_connection_that_is_reset_in_the_queue_was_lost_with_its_listener() {
    let mut script = Script::new(1).cpu(10).call(Call::Close { fd: LISTENER }, 0, (1, 0, 0), 0);
    script.events.push(in_queue(Sign::ResetSent, 7, 11));
    let dropped = run(vec![script], 1000).snapshot.dropped;
    assert_eq!((dropped.count(Cause::ListenerClosed), dropped.total()), (1, 1), "{dropped:?}");
}

/// ```text
/// thread 1: … close(9) enters                     returns
/// thread 2:             openat = 9, write, close(9)
/// ```
#[test]
fn a_connection_whose_number_is_another_thread_s_file_before_its_close_returns_has_ended() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let other = Script { now_ns: script.now_ns + 10 * US, ..Script::new(2) };
    let script = script.call(Call::Close { fd: 9 }, 0, (1, 99, 0), 0);
    let other = other.call(Call::Make { class: DescriptorClass::File }, 9, (1, 0, 0), 0);
    let other = other.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0);
    let dropped = run(vec![script, other], 1000).snapshot.dropped;
    assert_eq!((dropped.served, dropped.open, dropped.total()), (1, 0, 0), "{dropped:?}");
}

/// A reading of the kernel side's counters.
fn counters(after_us: u64, lost: u64) -> Event {
    let lost = vec![("ring_full_slice".to_owned(), lost)];
    let fact = Fact::Counters(Counters { lost, ..Counters::default() });
    Event { time_ns: START + after_us * US, body: Body::Fact(Box::new(fact)) }
}

/// Reads a request and closes without an answer, 100 µs after the start.
fn unanswered() -> Script {
    let script = Script::new(1).cpu(80).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    script.read(9, GET, arrival, (5, 0, 0)).cpu(10).call(Call::Close { fd: 9 }, 0, (4, 0, 0), 0)
}

#[test]
fn an_end_that_what_was_lost_meanwhile_could_explain_is_undecided() {
    for (readings, undecided) in [
        // Nothing was lost; only before the connection came; between two readings around its end.
        ([(50, 0), (200, 0)], 0),
        ([(50, 7), (200, 7)], 0),
        ([(50, 7), (200, 8)], 1),
    ] {
        let mut script = unanswered();
        script.events.extend(readings.map(|(after_us, lost)| counters(after_us, lost)));
        let dropped = run(vec![script], 1000).snapshot.dropped;
        let counted = (dropped.undecided, dropped.count(Cause::ClosedWithoutResponse), dropped.ended());
        assert_eq!(counted, (undecided, 1 - undecided, 1), "{readings:?}: {dropped:?}");
        assert_eq!(dropped.total(), 1 - undecided, "what is undecided is not said to be dropped");
    }
}

#[test]
fn a_slice_that_is_missing_leaves_the_end_of_what_its_thread_had_at_hand_undecided() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0));
    // Its write of the response never came.
    let script = Script { sequence: script.sequence + 1, now_ns: script.now_ns + 30 * US, ..script };
    let dropped = run(vec![script.call(Call::Close { fd: 9 }, 0, (4, 0, 0), 0)], 1000).snapshot.dropped;
    assert_eq!((dropped.undecided, dropped.total()), (1, 0), "{dropped:?}");
}

#[test]
fn a_connection_that_was_seen_to_be_served_is_served_whatever_was_lost() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let mut script = script.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0);
    script.events.push(counters(500, 3));
    let dropped = run(vec![script], 1000).snapshot.dropped;
    assert_eq!((dropped.served, dropped.undecided, dropped.total()), (1, 0, 0), "{dropped:?}");
}

#[test]
fn a_client_that_left_the_queue_may_have_been_accepted_where_records_were_lost() {
    let mut script = Script::new(1).cpu(10);
    script.events.push(in_queue(Sign::ClientEnded, 7, 15));
    script.events.push(counters(500, 3));
    let dropped = run(vec![script], 1000).snapshot.dropped;
    assert_eq!((dropped.undecided, dropped.total()), (1, 0), "{dropped:?}");
}

#[test]
fn a_verdict_waits_until_it_is_known_what_was_lost() {
    let mut script = unanswered();
    let second_us = 1_000_000;
    let tick = |after_us| Event { time_ns: START + after_us * US, body: Body::Fact(Box::new(Fact::Tick)) };
    // The counters are read late: not before the second that verdicts wait anyway.
    script.events.extend([counters(50, 0), tick(second_us + 200), tick(second_us + 300)]);
    script.events.push(counters(second_us + 400, 1));
    let dropped = run(vec![script], second_us + 500).snapshot.dropped;
    assert_eq!((dropped.undecided, dropped.total()), (1, 0), "{dropped:?}");
}
