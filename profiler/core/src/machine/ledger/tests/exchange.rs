//! Bytes on connections.
//!
//! In: reads and writes of a thread. Out: assertions on requests that begin, advance and finish.

use super::*;
use crate::machine::ledger::exchange::{advance, write_within};

#[test]
fn what_is_read_begins_requests_of_which_the_oldest_takes_the_time_of_the_thread() {
    let two: Vec<u8> = [GET, GET].concat();
    let post = b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\n".as_slice();
    let whole: Vec<u8> = [post, b"abcd"].concat();
    let (half, rest) = GET.split_at(7);
    // What is read at 130 and at 160, how many requests there are, and when the head of the first was whole.
    for (what, bytes, began, whole_ns) in [
        ("a head", vec![GET], 1, Some(130)),
        ("a head in two pieces", vec![half, rest], 1, Some(160)),
        ("a part of a head", vec![half], 1, None),
        ("two heads at once", vec![&two], 2, Some(130)),
        ("a head with its body", vec![&whole], 1, Some(130)),
        ("its body after it", vec![post, b"abcd"], 1, Some(130)),
        ("the next one before the answer", vec![GET, GET], 2, Some(130)),
    ] {
        let mut scene = Scene::new(1);
        let mut until_ns = 100;
        for part in &bytes {
            scene.reads(0, (until_ns, until_ns + 20, until_ns + 30), 110, part);
            until_ns += 30;
        }
        let expected: Vec<&str> = core::iter::once("1 reads").chain((0..began).map(|_| "began")).collect();
        assert_eq!(scene.told(), expected, "{what}");
        let connection = scene.connection(0);
        assert_eq!((connection.requests.len(), connection.last_read_ns), (began, until_ns), "{what}");
        let front = &connection.requests[0];
        assert_eq!(
            (front.request.times.start_ns, front.cursor_ns, front.owner),
            (110, until_ns, Some(1)),
            "{what}"
        );
        assert_eq!(front.request.times.service_start_ns, whole_ns, "{what}");
        assert_eq!(front.request.http.method.is_empty(), whole_ns.is_none(), "{what}");
        let (key, others) = ((0, front.request.id), connection.requests.iter().skip(1));
        assert!(others.map(|active| active.owner).all(|owner| owner.is_none()), "{what}");
        assert_eq!((scene.thread.serving, scene.thread.signs.reads), (Some(key), true), "{what}");
    }
}

#[test]
fn a_loop_that_has_read_a_part_of_a_request_waits_for_its_client() {
    let part = b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nab";
    for (what, is_loop, bytes, wants) in [
        ("a part", true, part.as_slice(), Wants::ClientRead),
        ("all of it", true, GET, Wants::Unknown),
        ("a part, and the thread runs no loop", false, part, Wants::Unknown),
    ] {
        let mut scene = if is_loop { Scene::of_loop(1) } else { Scene::new(1) };
        scene.reads(0, (100, 120, 130), 110, bytes);
        assert_eq!(scene.connection(0).requests[0].wants, wants, "{what}");
    }
}

#[test]
fn a_request_begins_with_its_first_byte_at_the_socket_as_far_as_that_is_known() {
    for (what, arrival_ns, is_measured, last_read_ns, slept_ns, expected) in [
        ("the kernel saw it", 110, true, 0, 0, (110, true)),
        ("the kernel saw it after the read, as another CPU counts", 140, true, 0, 0, (130, true)),
        ("it came with what was read before", 0, true, 90, 0, (90, true)),
        ("the read slept until it came", 0, true, 90, 6, (126, false)),
        ("arrivals are not seen", 0, false, 90, 0, (120, false)),
        ("nothing was read before", 0, true, 0, 0, (120, false)),
    ] {
        let mut scene = Scene::new(1);
        scene.ledger.world.arrival_measured = is_measured;
        scene.connection(0).last_read_ns = last_read_ns;
        let mut slice = slice(read_of(CLIENT), (100, 120, 130), GET.len() as i64);
        slice.inside = Account { cpu_ns: 10 - slept_ns, blocked_ns: slept_ns, ..Account::default() };
        let bytes = Bytes { moved: GET.len() as u64, captured: GET };
        read(&mut scene.ledger.context(), &mut scene.thread, 0, &slice, arrival_ns, &bytes);
        let times = &scene.connection(0).requests[0].request.times;
        assert_eq!((times.start_ns, times.start_is_arrival), expected, "{what}");
    }
}

#[test]
fn what_comes_after_the_server_has_ended_its_direction_is_no_request() {
    let (half, rest) = GET.split_at(7);
    for (what, before, bytes, discarded) in
        [("another request", None, GET, GET.len() as u64), ("the rest of one", Some(half), rest, 0)]
    {
        let mut scene = Scene::new(1);
        if let Some(before) = before {
            scene.reads(0, (100, 120, 130), 110, before);
            scene.told();
        }
        scene.connection(0).shut = true;
        let count = scene.connection(0).requests.len();
        scene.reads(0, (130, 150, 160), 140, bytes);
        assert_eq!((scene.told(), scene.connection(0).requests.len()), (Vec::new(), count), "{what}");
        assert_eq!(scene.connection(0).signs.discarded_bytes, discarded, "{what}");
    }
}

/// What is written, call by call.
type Written<'a> = Vec<&'a [u8]>;

#[test]
fn a_response_answers_the_oldest_request_and_ends_where_its_head_says() {
    let (head, body) = OK5.split_at(OK5.len() - 5);
    let two: Vec<u8> = [OK5, OK5].concat();
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".as_slice();
    let first = "request 1 until 160: cpu 60";
    // How many requests were read at 130, what is written from 150 to 160 and from 180 to 190, and what is
    // told.
    let cases: &[(&str, u32, Written<'_>, &[&str])] = &[
        ("all at once", 1, vec![OK5], &[first]),
        ("its head, and then its body", 1, vec![head, body], &["request 1 until 190: cpu 90"]),
        ("its head alone", 1, vec![head], &[]),
        ("no end is known", 1, vec![CHUNKED], &[]),
        ("an interim one goes before it", 1, vec![interim, OK5], &["request 1 until 190: cpu 90"]),
        ("an interim one alone", 1, vec![interim], &[]),
        ("the first of two", 2, vec![OK5], &[first]),
        ("two one after the other", 2, vec![OK5, OK5], &[first, "request 2 until 190: pool_wait 60, cpu 30"]),
        ("two in one write", 2, vec![&two], &[first, "request 2 until 160: pool_wait 60"]),
        ("more follows that answers nothing", 1, vec![OK5, body], &[first]),
        (
            "another follows that nobody was seen to ask for",
            1,
            vec![OK5, OK5],
            &[first, "began", "request 3"],
        ),
    ];
    for (what, count, written, expected) in cases {
        let mut scene = Scene::new(1);
        for id in 1..=u64::from(*count) {
            scene.ask(0, id, 100);
        }
        scene.ledger.wire.request_count = 3;
        let mut until_ns = 130;
        for bytes in written {
            scene.writes(
                0,
                (if until_ns == 130 { 100 } else { until_ns }, until_ns + 20, until_ns + 30),
                bytes,
            );
            until_ns += 30;
        }
        let told = scene.told();
        let fits = told.iter().zip(*expected).all(|(told, expected)| told.starts_with(expected));
        assert!(fits && told.len() == expected.len(), "{what}: {told:?}");
        let is_open = scene.connection(0).requests.front().is_some_and(|active| active.owner == Some(1));
        assert_eq!(scene.thread.serving.is_some(), is_open, "{what}: the thread serves what is not over");
    }
}

#[test]
fn a_response_without_a_request_is_that_of_one_that_was_not_seen() {
    for (what, is_seeded, is_status, expected) in [
        ("the connection was open before", true, true, Some(true)),
        ("the middle of one", true, false, Some(true)),
        ("the server speaks first", false, true, Some(false)),
    ] {
        let mut scene = Scene::new(1);
        if is_seeded {
            scene.connection(0).origin.accepted_ns = None;
        }
        scene.writes(0, (100, 120, 130), if is_status { CHUNKED } else { b"12345" });
        let front = scene.connection(0).requests.front();
        assert_eq!(front.map(|active| active.request.seen.truncated), expected, "{what}");
        assert!(scene.thread.slot.is_some(), "{what}: whoever answers is a slot");
    }
    let mut scene = Scene::new(1);
    scene.connection(0).finished = 1;
    scene.writes(0, (100, 120, 130), b"12345");
    assert!(scene.told().is_empty() && scene.connection(0).requests.is_empty(), "it was for the one before");
}

#[test]
fn a_write_under_way_at_the_first_sight_is_that_of_a_request_that_began_before() {
    for (what, is_open, expected) in [("nothing else is known", false, 1), ("a request is", true, 0)] {
        let mut scene = Scene::new(1);
        if is_open {
            scene.ask(0, 1, 100);
        }
        let slice = slice(Call::Write { fd: CLIENT }, (100, 100, 130), 5);
        scene.takes(&slice);
        write_within(&mut scene.ledger.context(), &mut scene.thread, 0, &slice);
        assert_eq!(scene.told().len(), expected, "{what}");
        let front = &scene.connection(0).requests[0];
        assert_eq!((front.response.has_begun, front.owner.is_some()), (!is_open, !is_open), "{what}");
    }
}

#[test]
fn requests_beyond_the_bound_of_a_connection_are_counted() {
    let mut scene = Scene::new(1);
    for id in 1..=1024 {
        scene.ask(0, id, 100);
    }
    scene.reads(0, (100, 120, 130), 110, GET);
    assert_eq!((scene.connection(0).requests.len(), scene.ledger.evicted), (1024, 1));
    assert_eq!(scene.told(), ["1 reads"], "it has not begun");
}

#[test]
fn a_thread_that_turns_to_another_request_leaves_the_one_that_it_served() {
    // Of the request that it leaves: whether its response has begun, and what is reported of it. Whether the
    // thread then hands requests over.
    for (what, has_begun, response, told, hands_over) in [
        ("it was not answered", false, None, vec![], true),
        (
            "its answer goes on",
            true,
            Some(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".as_slice()),
            vec![],
            false,
        ),
        (
            "nobody knows where its answer ends",
            true,
            Some(CHUNKED),
            vec!["request 1 until 160: cpu 60"],
            false,
        ),
    ] {
        let mut scene = Scene::new(2);
        scene.ask(0, 1, 100);
        scene.ask(1, 2, 100);
        let call = slice(read_of(CLIENT), (100, 120, 130), 1);
        scene.takes(&call);
        advance(&mut scene.ledger.context(), &mut scene.thread, 0, &call);
        if let Some(bytes) = response {
            scene.writes(0, (130, 150, 160), bytes);
        }
        let call = slice(read_of(CLIENT + 1), (160, 180, 190), 1);
        scene.takes(&call);
        advance(&mut scene.ledger.context(), &mut scene.thread, 1, &call);
        assert_eq!(scene.told(), told, "{what}");
        assert_eq!(
            (scene.thread.serving, scene.thread.signs.hands_over),
            (Some((1, 2)), hands_over),
            "{what}"
        );
        if let Some(left) = scene.connection(0).requests.front() {
            assert_eq!((left.owner, left.left_by), (None, Some(1)), "{what}");
            assert_eq!(left.response.has_begun, has_begun, "{what}");
        }
        assert_eq!(scene.active((1, 2)).cursor_ns, 190, "{what}: the other has the time from there on");
    }
}

#[test]
fn who_answers_is_a_slot_and_is_fed_by_whoever_read_the_request() {
    // Who read the request and still owns it, or has left it; whether its answer has begun; who then feeds
    // the thread.
    for (what, owner, left_by, has_begun, expected) in [
        ("another that has left it", None, Some(5), false, Some(5)),
        ("another that is still in the wait after it", Some(5), None, false, Some(5)),
        ("itself", Some(1), None, false, None),
        ("nobody known", None, None, false, None),
        ("its answer has begun", None, Some(5), true, None),
    ] {
        let mut scene = Scene::new(1);
        scene.ledger.runtime.threads.put(5, Box::new(Thread { tgid: 1, ..Thread::default() }));
        assert!(scene.ledger.runtime.pools.has_loop(1, 5));
        let active = scene.ask(0, 1, 100);
        (active.owner, active.left_by, active.response.has_begun) = (owner, left_by, has_begun);
        scene.writes(0, (100, 120, 130), OK5);
        assert_eq!(scene.thread.job.fed_by, expected, "{what}");
        assert_eq!(scene.thread.slot.is_some(), !has_begun, "{what}");
        let feeds = expected == Some(5);
        let reader: Tid = 5;
        assert_eq!(scene.ledger.runtime.threads.get(reader).unwrap().signs.hands_over, feeds, "{what}");
        assert_eq!(scene.ledger.runtime.pools.get(1).unwrap().answers_elsewhere, feeds, "{what}");
    }
}
