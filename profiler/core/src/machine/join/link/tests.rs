//! Pairing: by exact evidence, by order, not at all.
//!
//! In: what a front end and its server did. Out: assertions on what was joined.

use super::*;
use crate::model::request::{Framing, Http, OnGil, Seen, Times};
use crate::phase::{Phase, Phases};

fn request(id: u64, start_ns: u64, end_ns: u64) -> Request {
    let mut phases = Phases::default();
    phases.add(Phase::Cpu, end_ns - start_ns);
    Request {
        id,
        connection: 0,
        index_on_connection: 0,
        tgid: 20,
        tid: 21,
        slot: Some(0),
        phases,
        stretches: Vec::new(),
        round_trips: crate::model::round_trips::RoundTrips::default(),
        times: Times { start_ns, start_is_arrival: true, end_ns, ..Times::default() },
        http: Http { framing: Framing::NotHttp, ..Http::default() },
        gil: OnGil::default(),
        seen: Seen::default(),
    }
}

fn unix(connection: u64, accepted_ns: u64, arrival_ns: u64) -> Evidence {
    Evidence {
        connection,
        seeded: false,
        is_unix: true,
        port: 0,
        identity: 0,
        established_ns: 0,
        accepted_ns,
        arrival_ns: Some(arrival_ns),
        ended: false,
    }
}

fn connected(links: &mut Links, fd: i32, outer: u64, connect_ns: (u64, u64), write_ns: Option<(u64, u64)>) {
    assert!(links.connect((10, fd), Peer::default(), connect_ns, Some((0, outer))));
    if let Some(write_ns) = write_ns {
        assert!(
            !links.wrote((10, fd), Peer::default(), write_ns, Some((0, outer))),
            "already counted at the connect"
        );
    }
}

/// A request that the server is done with.
fn half(request: Request) -> CompletedHalf {
    (Box::new(request), Tail::default())
}

fn done(links: &mut Links, evidence: &Evidence) -> Vec<u64> {
    let arrival_ns = evidence.arrival_ns.unwrap();
    match links.inner_done(evidence, half(request(99, arrival_ns, arrival_ns + 50)), false) {
        Half::Joined(ready) => ready.iter().map(|request| request.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn hold(links: &mut Links, outer: u64, end_ns: u64) -> Option<Request> {
    links.outer_done(request(outer, 0, end_ns), Some(Trail::new(Phases::default(), 0)))
}

#[test]
fn two_at_the_same_time_are_distinguished_by_the_write_that_the_first_byte_came_with() {
    let mut links = Links::default();
    connected(&mut links, 5, 1, (10, 20), Some((30, 60)));
    connected(&mut links, 6, 2, (12, 22), Some((50, 80)));
    assert!(hold(&mut links, 1, 200).is_none() && hold(&mut links, 2, 200).is_none());
    // Accepted in the other order than connected: the bytes show whose it is.
    assert_eq!(done(&mut links, &unix(1, 90, 70)), [2]);
    assert_eq!(done(&mut links, &unix(2, 91, 40)), [1]);
    assert_eq!(links.counts, Counts { joined: 2, ambiguous: 0, unpaired: 0 });
}

#[test]
fn what_fits_two_is_given_to_the_older_and_counted() {
    let mut links = Links::default();
    connected(&mut links, 5, 1, (10, 20), Some((30, 60)));
    connected(&mut links, 6, 2, (12, 22), Some((31, 61)));
    assert!(hold(&mut links, 1, 200).is_none() && hold(&mut links, 2, 200).is_none());
    assert_eq!(done(&mut links, &unix(1, 90, 40)), [1]);
    assert_eq!(done(&mut links, &unix(2, 91, 45)), [2]);
    assert_eq!((links.counts.joined, links.counts.ambiguous), (2, 1));
}

#[test]
fn server_that_is_done_before_the_write_returned_waits_for_it() {
    let mut links = Links::default();
    connected(&mut links, 5, 1, (10, 20), None);
    connected(&mut links, 6, 2, (11, 21), None);
    let evidence = unix(1, 40, 35);
    assert!(links.outer_of(&evidence).is_none());
    assert!(matches!(links.inner_done(&evidence, half(request(99, 35, 80)), false), Half::Pending));
    links.wrote((10, 6), Peer::default(), (30, 90), Some((0, 2)));
    assert!(hold(&mut links, 2, 100).is_none());
    let ready: Vec<u64> = links.retry().iter().map(|request| request.id).collect();
    assert_eq!(ready, [2]);
    assert!(!links.has_orphans());
}

#[test]
fn a_write_that_returns_after_the_server_was_done_asks_for_nothing_more() {
    let mut links = Links { ports: [8000].into_iter().collect(), ..Links::default() };
    let peer = Peer { port: Some(8000), identity: 40_001 };
    assert!(links.connect((10, 5), peer, (10, 20), Some((0, 1))));
    let evidence = Evidence { is_unix: false, port: 8000, identity: 40_001, ..unix(1, 25, 35) };
    assert!(done(&mut links, &evidence).is_empty(), "the front end is not");
    assert!(!links.wrote((10, 5), peer, (30, 90), Some((0, 1))), "what the server has answered");
    links.read((10, 5), 1, 100);
    links.close((10, 5), 105);
    assert_eq!(hold(&mut links, 1, 110).map(|request| request.id), Some(1), "nothing is waited for");
    assert_eq!(links.counts, Counts { joined: 1, ambiguous: 0, unpaired: 0 });
}

#[test]
fn kept_connection_carries_one_request_after_the_other() {
    let mut links = Links { ports: [8000].into_iter().collect(), ..Links::default() };
    let inner = |arrival_ns| Evidence {
        connection: 7,
        seeded: true,
        is_unix: false,
        port: 8000,
        identity: 0,
        established_ns: 0,
        accepted_ns: 0,
        arrival_ns: Some(arrival_ns),
        ended: false,
    };
    let peer = Peer { port: Some(8000), identity: 0 };
    for (outer, at_ns) in [(1, 100), (2, 300)] {
        assert!(links.wrote((10, 5), peer, (at_ns, at_ns + 10), Some((0, outer))));
        assert!(!links.wrote((10, 5), peer, (at_ns + 11, at_ns + 12), Some((0, outer))), "its body");
        links.read((10, 5), 1, at_ns + 80);
        assert!(hold(&mut links, outer, at_ns + 100).is_none());
        assert_eq!(done(&mut links, &inner(at_ns + 5)), [outer]);
    }
    assert_eq!(links.counts, Counts { joined: 2, ambiguous: 0, unpaired: 0 });
}

#[test]
fn on_a_kept_connection_a_write_may_return_after_the_server_was_done_and_each_has_its_own_half() {
    let mut links = Links { ports: [8000].into_iter().collect(), ..Links::default() };
    let peer = Peer { port: Some(8000), identity: 40_001 };
    let evidence =
        |arrival_ns| Evidence { is_unix: false, port: 8000, identity: 40_001, ..unix(7, 25, arrival_ns) };
    let inner = |links: &mut Links, arrival_ns| {
        let request = Request { tid: 1000 + arrival_ns as u32, ..request(99, arrival_ns, arrival_ns + 50) };
        links.inner_done(&evidence(arrival_ns), half(request), false)
    };
    let answered = |links: &mut Links, outer, at_ns| {
        links.read((10, 5), 1, at_ns);
        hold(links, outer, at_ns + 5).map(|request| (request.id, request.tid))
    };
    assert!(links.connect((10, 5), peer, (10, 20), Some((0, 1))));
    links.wrote((10, 5), peer, (30, 40), Some((0, 1)));
    assert!(matches!(inner(&mut links, 35), Half::Joined(_)));
    assert_eq!(answered(&mut links, 1, 100), Some((1, 1035)));
    // The second is done before it is known that anybody asked. Its time may begin before the write does. The
    // server may close the connection after it.
    for (start_ns, is_last) in [(135, false), (125, false), (135, true)] {
        let mut links = links.clone();
        assert!(matches!(inner(&mut links, start_ns), Half::Pending), "{start_ns}");
        if is_last {
            links.connection_gone(7);
        }
        assert!(links.wrote((10, 5), peer, (130, 190), Some((0, 2))));
        assert!(links.retry().is_empty(), "the front end is not done");
        assert_eq!(answered(&mut links, 2, 200), Some((2, 1000 + start_ns as u32)));
        if is_last {
            assert_eq!(links.counts, Counts { joined: 2, ambiguous: 0, unpaired: 0 });
            continue;
        }
        // Of the third nobody saw the write. It is not the fourth, which was asked later.
        assert!(matches!(inner(&mut links, 235), Half::Pending));
        assert!(links.wrote((10, 5), peer, (330, 390), Some((0, 4))));
        assert!(links.retry().is_empty());
        assert!(matches!(inner(&mut links, 335), Half::Joined(_)));
        assert_eq!(answered(&mut links, 4, 400), Some((4, 1335)));
        assert!(links.expire(2_000_000_000, &FxHashSet::default()).is_empty());
        assert_eq!(links.counts, Counts { joined: 3, ambiguous: 0, unpaired: 1 });
    }
}

#[test]
fn a_half_that_never_comes_does_not_take_the_place_of_the_next_one_on_a_kept_connection() {
    for (is_arrival, joined) in [(true, 2), (false, 1)] {
        let mut links = Links { ports: [8000].into_iter().collect(), ..Links::default() };
        let peer = Peer { port: Some(8000), identity: 40_001 };
        for (outer, at_ns) in [(1, 100), (2, 300)] {
            assert!(links.wrote((10, 5), peer, (at_ns, at_ns + 10), Some((0, outer))));
            links.read((10, 5), 1, at_ns + 80);
            assert!(hold(&mut links, outer, at_ns + 100).is_none());
        }
        let evidence =
            Evidence { is_unix: false, seeded: true, port: 8000, identity: 40_001, ..unix(7, 0, 305) };
        let mut inner = request(99, 305, 350);
        inner.times.start_is_arrival = is_arrival;
        let Half::Joined(ready) = links.inner_done(&evidence, half(inner), false) else {
            panic!("{is_arrival}")
        };
        // Only if it is known that its bytes came after the first was over.
        assert_eq!(ready.iter().map(|request| request.id).collect::<Vec<_>>(), [joined]);
        links.expire(2_000_000_000, &FxHashSet::default());
        assert_eq!(links.counts, Counts { joined: 1, ambiguous: 0, unpaired: 1 });
    }
}

#[test]
fn connection_that_both_sides_know_is_paired_whatever_the_order_in_time_suggests() {
    let mut links = Links { ports: [8000].into_iter().collect(), ..Links::default() };
    // The handshake of a listener that waits for data ends with the first byte, long after the connect.
    for (fd, port, outer, at_ns) in [(5, 40_001, 1, 10), (6, 40_002, 2, 12)] {
        let peer = Peer { port: Some(8000), identity: port };
        assert!(links.connect((10, fd), peer, (at_ns, at_ns + 5), Some((0, outer))));
    }
    assert!(hold(&mut links, 1, 300).is_none() && hold(&mut links, 2, 300).is_none());
    let inner = |connection, identity, arrival_ns| Evidence {
        is_unix: false,
        port: 8000,
        identity,
        established_ns: arrival_ns,
        ..unix(connection, arrival_ns + 5, arrival_ns)
    };
    assert_eq!(links.outer_of(&inner(1, 40_002, 90)), Some((0, 2)));
    assert_eq!(done(&mut links, &inner(1, 40_002, 90)), [2]);
    assert_eq!(done(&mut links, &inner(2, 40_001, 100)), [1]);
    assert_eq!(links.counts, Counts { joined: 2, ambiguous: 0, unpaired: 0 });
    // What was accepted before the connect was an earlier connection from the same port.
    let peer = Peer { port: Some(8000), identity: 40_003 };
    assert!(links.connect((10, 7), peer, (500, 505), Some((0, 3))));
    let own = Evidence { accepted_ns: 400, ..inner(3, 40_003, 390) };
    assert!(matches!(links.inner_done(&own, half(request(99, 390, 600)), true), Half::Own(_)));
}

#[test]
fn an_answer_that_ends_with_its_connection_has_come_once_the_front_end_has_closed_that() {
    for ends_with_connection in [false, true] {
        let mut links = Links::default();
        links.ports.insert(9000);
        connected(&mut links, 12, 1, (100, 110), Some((120, 130)));
        assert!(!links.has_all(1));
        let evidence = Evidence { ended: ends_with_connection, ..unix(7, 105, 125) };
        links.inner_done(&evidence, half(request(50, 125, 200)), false);
        assert_eq!(links.has_all(1), !ends_with_connection);
        links.close((10, 12), 220);
        assert!(links.has_all(1));
    }
}

#[test]
fn time_between_is_what_neither_side_had() {
    let mut links = Links::default();
    connected(&mut links, 5, 1, (10, 20), Some((30, 60)));
    assert_eq!(done(&mut links, &unix(1, 90, 40)), [] as [u64; 0]);
    links.read((10, 5), 1, 110);
    links.read((10, 5), 1, 115);
    assert!(hold(&mut links, 1, 200).is_some());
    let crossed = links.crossed;
    // In the server from 40 to 90.
    assert_eq!((crossed.requests, crossed.server_ns, crossed.between_ns), (1, 50, (40 - 30) + (115 - 90)));
    assert_eq!(crossed.front_end_ns, 200 - 50 - 35);
}

#[test]
fn client_that_goes_round_the_front_end_is_nobody_s_half() {
    let mut links = Links { ports: [8000].into_iter().collect(), ..Links::default() };
    let evidence = Evidence { is_unix: false, port: 8000, established_ns: 50, ..unix(1, 60, 70) };
    let outcome = links.inner_done(&evidence, half(request(99, 70, 90)), true);
    assert!(matches!(outcome, Half::Own(_)));
    assert_eq!(links.counts, Counts::default());
}

#[test]
fn half_whose_other_never_comes_is_let_go_and_counted() {
    let mut links = Links::default();
    connected(&mut links, 5, 1, (10, 20), Some((30, 60)));
    assert!(hold(&mut links, 1, 200).is_none());
    links.close((10, 5), 210);
    assert!(links.expire(300, &FxHashSet::default()).is_empty());
    let ready = links.expire(3_000_000_000, &FxHashSet::default());
    assert_eq!(ready.len(), 1);
    assert_eq!(ready[0].phases.total_ns(), ready[0].total_ns());
    assert_eq!(links.counts, Counts { joined: 0, ambiguous: 0, unpaired: 1 });
    assert!(links.ends.is_empty() && links.waiting.is_empty() && links.unpaired.is_empty());
}

#[test]
fn what_ended_before_the_watch_began_counts_nowhere() {
    for (watch_start_ns, joined, unpaired) in [(200, 1, 1), (201, 0, 0)] {
        let mut links = Links { watch_start_ns, ..Links::default() };
        connected(&mut links, 5, 1, (10, 20), Some((30, 60)));
        connected(&mut links, 6, 2, (70, 75), Some((80, 85)));
        assert_eq!(done(&mut links, &unix(1, 25, 40)), [] as [u64; 0]);
        assert!(hold(&mut links, 1, 200).is_some() && hold(&mut links, 2, 200).is_none());
        assert_eq!(links.expire(3_000_000_000, &FxHashSet::default()).len(), 1);
        assert_eq!(links.counts, Counts { joined, ambiguous: 0, unpaired }, "{watch_start_ns}");
        assert_eq!(links.crossed.requests, joined, "{watch_start_ns}");
        links.start(3_000_000_000);
        assert_eq!((links.counts, links.crossed), Default::default(), "what was known before it began");
    }
}

#[test]
fn an_error_is_the_server_s_own_where_it_gave_the_answer_that_the_front_end_passed_on() {
    let mut links = Links::default();
    // Bytes of the server's answer, its status (0: its protocol shows none), and the status that the client
    // got.
    let cases = [
        (1, (300, 0, 504), true),
        (2, (23, 0, 504), false),
        (3, (300, 504, 504), true),
        (4, (300, 200, 502), false),
    ];
    for (number, (bytes_out, status, told), is_own) in cases {
        let at_ns = number * 1000;
        let fd = i32::try_from(number).unwrap();
        connected(&mut links, fd, number, (at_ns, at_ns + 10), Some((at_ns + 20, at_ns + 30)));
        let outer = Request {
            http: Http { status: told, ..request(number, at_ns, at_ns + 90).http },
            ..request(number, at_ns, at_ns + 90)
        };
        assert!(links.outer_done(outer, Some(Trail::new(Phases::default(), 0))).is_none());
        let inner = Request {
            http: Http { bytes_out, status, ..request(99, at_ns + 25, at_ns + 80).http },
            ..request(99, at_ns + 25, at_ns + 80)
        };
        links.inner_done(&unix(number, at_ns + 15, at_ns + 25), half(inner), false);
        assert_eq!(links.take_errors(), if is_own { vec![number] } else { vec![] }, "{number}");
    }
}

#[test]
fn a_request_of_the_front_end_that_ends_without_a_trail_leaves_nothing_behind() {
    let mut links = Links::default();
    connected(&mut links, 7, 1, (100, 110), Some((120, 130)));
    connected(&mut links, 8, 2, (100, 110), Some((120, 130)));
    assert!(links.outer_done(request(1, 90, 500), None).is_some());
    assert_eq!(links.waiting.keys().collect::<Vec<_>>(), [&2], "the other one still waits");
}

#[test]
fn requests_that_wait_for_their_other_half_are_bounded_and_counted() {
    let mut links = Links::default();
    connected(&mut links, 7, 0, (100, 110), None);
    let outer_of = |number: u64| Some((0, number));
    for number in 1..MAX_ENDS as u64 {
        links.read((10, 7), 1, 200);
        assert!(links.wrote((10, 7), Peer::default(), (210, 220), outer_of(number)));
    }
    links.read((10, 7), 1, 200);
    assert!(!links.wrote((10, 7), Peer::default(), (210, 220), outer_of(MAX_ENDS as u64)));
    assert_eq!((links.waiting.len(), links.evicted()), (MAX_ENDS, 1));
}

#[test]
fn what_a_front_end_gave_up_waits_for_the_server_as_long_as_that_is_at_it() {
    let peer = Peer { port: Some(8000), identity: 40_001 };
    let evidence = Evidence { is_unix: false, port: 8000, identity: 40_001, ..unix(7, 25, 35) };
    let given_up = || {
        let mut links = Links { ports: [8000].into_iter().collect(), ..Links::default() };
        assert!(links.connect((10, 5), peer, (10, 20), Some((0, 1))));
        links.wrote((10, 5), peer, (30, 40), Some((0, 1)));
        links.close((10, 5), 195);
        assert!(hold(&mut links, 1, 200).is_none());
        links
    };
    let at_it = |links: &mut Links| links.end_of(&evidence).into_iter().collect();
    let mut links = given_up();
    assert!(!links.is_late(1_000_000_200) && links.is_late(1_000_000_201));
    let in_hand = at_it(&mut links);
    assert!(links.expire(5_000_000_000, &in_hand).is_empty());
    let Half::Joined(ready) = links.inner_done(&evidence, half(request(99, 35, 5_000_000_100)), true) else {
        panic!("the other half is there")
    };
    let told: Vec<_> = ready.iter().map(|request| (request.id, request.tid, request.total_ns())).collect();
    assert_eq!(told, [(1, 21, 200)], "as long as its client waited");
    assert_eq!(links.counts, Counts { joined: 1, ambiguous: 0, unpaired: 0 });
    // Nobody is at it, or the window ends.
    assert_eq!(given_up().expire(5_000_000_000, &FxHashSet::default()).len(), 1);
    assert_eq!(given_up().expire(u64::MAX, &FxHashSet::default()).len(), 1);
}
