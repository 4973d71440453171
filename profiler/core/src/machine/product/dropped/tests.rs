//! What becomes of connections: when each gets its verdict, what that rests on, and what is counted.
//!
//! In: ends of connections, evidence of the kernel, losses. Out: assertions on what is counted.

use super::*;
use crate::machine::wire::ending::Unfinished;
use crate::machine::wire::request::{Active, Beginning};

const SECOND: u64 = 1_000_000_000;
/// When connections end here.
const END_NS: u64 = 2 * SECOND;

/// What was counted: served, nothing asked, undecided, and the causes of those that were dropped.
type Observed = (u64, u64, u64, Vec<(&'static str, u64)>);

/// What is particular to a connection.
type SetUp = fn(&mut Ended);

fn started(from_ns: u64) -> Drops {
    let mut drops = Drops::default();
    drops.start(from_ns);
    drops
}

/// A connection made at 10, accepted at 20 and closed by its thread in the middle of a head.
fn ended(id: u64, at_ns: u64) -> Ended {
    let mut ended = Ended::in_head(id, at_ns);
    ended.signs.socket = (id, 0);
    ended
}

/// A connection that ended, with a request that came at 100 and was answered from 200 to 300.
fn answered(id: u64, status: u16) -> Ended {
    let mut request = Active::new(&Beginning::at(id, 100), 7, 7).request;
    (request.times.first_write_ns, request.times.end_ns, request.http.status) = (Some(200), 300, status);
    let mut ended = ended(id, END_NS);
    ended.signs.answers(&request);
    ended
}

fn evidence(sign: Sign, socket: (u64, u32)) -> ConnectionEvidence {
    ConnectionEvidence {
        sign,
        socket,
        is_waiting: false,
        is_taken: false,
        only_ports: false,
        established_ns: 100,
        unread_bytes: 5,
        unacknowledged_bytes: 9,
        local_port: 8000,
        peer_port: 40_000,
        closed_by: 0,
    }
}

fn see(drops: &mut Drops, evidence: ConnectionEvidence, at_ns: u64) -> Option<u32> {
    drops.evidence(&Evidence::Connection(evidence), at_ns, &mut |_| {}).map(|(number, _)| number)
}

fn accept_fails(drops: &mut Drops, at_ns: u64) {
    drops.accept_failed((7, 3), -24, at_ns, || 0);
}

fn finish(drops: Drops, next_follows: bool) -> Dropped {
    drops.finish(0, next_follows, END_NS + SECOND, |_| None, &mut |_| {})
}

fn told(dropped: &Dropped) -> Observed {
    let causes = dropped.causes.iter().map(|counted| (counted.cause.name(), counted.count)).collect();
    (dropped.served, dropped.nothing_asked, dropped.undecided, causes)
}

#[test]
fn a_sign_that_comes_after_the_end_counts_where_it_is_of_the_same_connection() {
    let (counts, not) = ((0, 0, 0, vec![("client_left_reading", 1)]), (1, 0, 0, Vec::new()));
    for (what, socket, only_ports, peer_port, expected) in [
        ("its socket", (1, 0), false, 40_000, &counts),
        ("its socket, of which the peer is not known", (1, 0), false, 0, &counts),
        ("a later socket at its address, for another client", (1, 1), false, 50_000, &not),
        ("the same address for another client", (1, 0), false, 50_000, &not),
        ("its ports, on the socket that lingers", (9, 4), false, 40_000, &counts),
        ("its ports alone", (0, 0), true, 40_000, &counts),
        ("another's ports", (1, 0), true, 50_000, &not),
    ] {
        let mut drops = started(0);
        drops.opened(&Opened::accepted(10), 3);
        assert_eq!(see(&mut drops, evidence(Sign::ClientEnded, (1, 0)), 50), Some(3), "it is open");
        let mut one = answered(1, 200);
        one.signs.ports = (8000, 40_000);
        drops.ended(Box::new(one), &mut |_| {});
        let late = ConnectionEvidence { only_ports, peer_port, ..evidence(Sign::ResetReceived, socket) };
        assert_eq!(see(&mut drops, late, END_NS + 5), None, "{what}");
        assert_eq!(told(&finish(drops, false)), *expected, "{what}");
    }
}

#[test]
fn a_verdict_waits_for_a_second_and_for_what_was_lost_until_then() {
    for (what, now_ns, read_ns, decided) in [
        ("at once", END_NS, None, 0),
        ("within the second", END_NS + GRACE_NS - 1, None, 0),
        ("after it", END_NS + GRACE_NS, None, 1),
        ("losses are read up to its end", END_NS + GRACE_NS, Some(END_NS), 1),
        ("losses are read up to before", END_NS + GRACE_NS, Some(END_NS - 1), 0),
        ("the run is over", u64::MAX, Some(END_NS - 1), 1),
    ] {
        let mut drops = started(0);
        if let Some(read_ns) = read_ns {
            drops.lost.count(&crate::fact::Counters::default(), 0, read_ns);
        }
        drops.ended(Box::new(answered(1, 200)), &mut |_| {});
        drops.expire(now_ns, &mut |_| {});
        assert_eq!(drops.counted.served, decided, "{what}");
    }
}

#[test]
fn what_ended_before_the_window_is_no_part_of_it() {
    for (from_ns, expected) in [(END_NS, 1), (END_NS + 1, 0)] {
        let mut drops = started(from_ns);
        drops.ended(Box::new(ended(1, END_NS)), &mut |_| {});
        let dropped = finish(drops, false);
        assert_eq!((dropped.total(), dropped.ended()), (expected, expected), "{from_ns}");
    }
}

#[test]
fn what_was_lost_meanwhile_leaves_undecided_what_was_not_seen_to_be_served() {
    let idle = |id| {
        let mut idle = ended(id, END_NS);
        idle.signs.has_read = false;
        idle
    };
    let own_error = || {
        let mut own_error = answered(1, 400);
        own_error.signs.answered.as_mut().unwrap().connection_first = true;
        own_error
    };
    let undecided = || (0, 0, 1, Vec::new());
    for (what, one, lost, expected) in [
        ("dropped", ended(1, END_NS), (50, 60), undecided()),
        ("lost as it was made", ended(1, END_NS), (5, 10), undecided()),
        ("lost before", ended(1, END_NS), (5, 9), (0, 0, 0, vec![("closed_without_response", 1)])),
        ("lost as it ended", ended(1, END_NS), (END_NS, END_NS), undecided()),
        (
            "lost after",
            ended(1, END_NS),
            (END_NS + 1, END_NS + 1),
            (0, 0, 0, vec![("closed_without_response", 1)]),
        ),
        ("nothing was asked", idle(1), (50, 60), undecided()),
        ("nothing was asked, nothing lost", idle(1), (5, 9), (0, 1, 0, Vec::new())),
        ("served", answered(1, 200), (150, 160), (1, 0, 0, Vec::new())),
        ("the answer itself says it", own_error(), (150, 160), (0, 0, 0, vec![("server_error", 1)])),
    ] {
        let mut drops = started(0);
        drops.is_of("gunicorn", None);
        drops.lost.between(lost.0, lost.1);
        drops.ended(Box::new(one), &mut |_| {});
        assert_eq!(told(&finish(drops, false)), expected, "{what}");
    }
}

#[test]
fn a_connection_that_nobody_accepted_is_lost_to_its_client_or_its_listener_or_a_failing_accept() {
    use Sign::{ClientEnded, ResetReceived, ResetSent};
    for (what, signs, fails_ns, expected) in [
        ("its listener was closed", &[(ResetSent, 500, false)][..], None, Some(("listener_closed", 400))),
        ("the same as accept failed", &[(ResetSent, 500, false)], Some(300), Some(("listener_closed", 400))),
        (
            "its client had ended it",
            &[(ClientEnded, 300, false), (ResetSent, 500, false)],
            None,
            Some(("client_left_in_queue", 200)),
        ),
        ("its client reset it", &[(ResetReceived, 300, false)], None, Some(("client_left_in_queue", 200))),
        ("accept failed by then", &[(ResetReceived, 300, false)], Some(300), Some(("accept_failed", 200))),
        (
            "accept failed later",
            &[(ResetReceived, 300, false)],
            Some(301),
            Some(("client_left_in_queue", 200)),
        ),
        ("somebody has it", &[(ClientEnded, 300, true)], None, None),
        ("somebody takes it", &[(ClientEnded, 300, false), (ClientEnded, 400, true)], None, None),
    ] {
        let mut drops = started(0);
        if let Some(at_ns) = fails_ns {
            accept_fails(&mut drops, at_ns);
        }
        for (sign, at_ns, is_taken) in signs {
            let sign =
                ConnectionEvidence { is_waiting: !is_taken, is_taken: *is_taken, ..evidence(*sign, (4, 0)) };
            assert_eq!(see(&mut drops, sign, *at_ns), None, "{what}");
        }
        let mut undecided = drops.clone();
        let dropped = finish(drops, false);
        let found = dropped.causes.first().map(|counted| (counted.cause.name(), counted.waited_ns));
        assert_eq!(found, expected, "{what}");
        if fails_ns.is_none() && expected.is_some() && signs.iter().all(|(sign, ..)| *sign != ResetSent) {
            // Whoever accepted it may not have been seen.
            undecided.lost.between(150, 160);
            assert_eq!(told(&finish(undecided.clone(), false)), (0, 0, 1, Vec::new()), "{what}");
            assert_eq!(told(&finish(undecided, true)), (0, 0, 0, Vec::new()), "{what}: it waits on");
        }
    }
}

#[test]
fn what_happened_in_the_queue_stays_with_the_connection_that_is_accepted() {
    let mut drops = started(0);
    for (sign, at_ns) in [(Sign::ClientEnded, 50), (Sign::ResetReceived, 60)] {
        see(&mut drops, ConnectionEvidence { is_waiting: true, ..evidence(sign, (1, 0)) }, at_ns);
    }
    let signs = drops.opened(&Opened::accepted(10), 3);
    assert_eq!((signs.client_ended_ns, signs.reset_received), (50, Some((60, 9))));
    assert!(finish(drops, false).causes.is_empty(), "it is no longer one that nobody accepted");
}

#[test]
fn a_connection_is_turned_away_where_it_is_accepted_as_the_process_fails_to_accept() {
    let mut drops = started(0);
    let accepted = Opened::accepted(10);
    assert!(!drops.opened(&accepted, 3).turned_away);
    accept_fails(&mut drops, 30);
    assert!(drops.opened(&Opened { listener_fd: 3, ..accepted }, 4).turned_away);
    assert!(!drops.opened(&Opened { listener_fd: 5, ..accepted }, 5).turned_away, "at another listener");
    drops.serves(7);
    assert!(!drops.opened(&Opened { listener_fd: 3, ..accepted }, 6).turned_away, "it serves again");
}

#[test]
fn the_verdict_of_a_connection_leaves_a_later_one_at_its_address_as_it_is() {
    let mut drops = started(0);
    let first = Opened::accepted(10);
    drops.opened(&first, 3);
    let mut one = ended(1, END_NS);
    (one.signs.socket, one.signs.ports) = (first.socket, (8000, 40_000));
    drops.ended(Box::new(one), &mut |_| {});
    drops.opened(&Opened { socket: (1, 1), peer_port: 50_000, ..first }, 4);
    drops.expire(END_NS + GRACE_NS, &mut |_| {});
    assert_eq!(drops.gone.len(), 0);
    let sign = ConnectionEvidence { peer_port: 50_000, ..evidence(Sign::ClientEnded, (1, 1)) };
    assert_eq!(see(&mut drops, sign, END_NS + GRACE_NS), Some(4));
    assert_eq!(see(&mut drops, evidence(Sign::ClientEnded, (1, 0)), END_NS + GRACE_NS), None, "it is judged");
}

#[test]
fn a_client_waits_until_it_leaves_or_else_until_the_end() {
    for (what, client_ended_ns, how_long_ns) in [
        ("the server closed", 0, END_NS - 10),
        ("the client left first", 500, 490),
        ("the client left afterwards", END_NS + 7, END_NS + 7 - 10),
    ] {
        let mut one = ended(1, END_NS);
        one.signs.client_ended_ns = client_ended_ns;
        let mut drops = started(0);
        drops.ended(Box::new(one), &mut |_| {});
        let mut examples = Vec::new();
        drops.expire(u64::MAX, &mut |entry| {
            if let Entry::Dropped { example, .. } = entry {
                examples.push((example.connection, example.waited_ns));
            }
        });
        assert_eq!(examples, [(Some(1), Some(how_long_ns))], "{what}");
    }
}

#[test]
fn other_clients_came_after_the_first_that_left() {
    for (what, left_ns, came_ns, expected) in [
        ("one came later", 500, 501, true),
        ("one came as it left", 500, 500, false),
        ("nobody came", 500, 499, false),
        ("nobody left", 0, 501, false),
    ] {
        let mut drops = started(0);
        let mut one = ended(1, 500);
        (one.signs.has_read, one.signs.client_ended_ns) = (left_ns > 0, left_ns);
        drops.ended(Box::new(one), &mut |_| {});
        drops.opened(&Opened { socket: (2, 0), ..Opened::accepted(came_ns) }, 4);
        assert_eq!(finish(drops, false).came_after_left, expected, "{what}");
    }
}

#[test]
fn all_are_counted_and_the_first_are_examples() {
    let mut drops = started(0);
    for id in 0..7 {
        drops.ended(Box::new(ended(id, END_NS + id)), &mut |_| {});
    }
    let mut rolled = drops.clone();
    let counted = finish(drops, false).causes.pop().unwrap();
    let ids: Vec<_> = counted.examples.iter().map(|example| example.connection).collect();
    assert_eq!((counted.count, counted.waited_ns), (7, (0..7).map(|id| END_NS + id - 10).sum::<u64>()));
    assert_eq!(ids, [0, 1, 2, 3, 4].map(Some));
    // Those that wait are open as long as another window follows, and count there.
    assert_eq!(finish(rolled.clone(), true).open, 7);
    rolled.expire(END_NS + GRACE_NS + 1, &mut |_| {});
    rolled.roll();
    assert_eq!(told(&finish(rolled, false)), (0, 0, 0, vec![("closed_without_response", 5)]));
}

#[test]
fn the_oldest_gets_its_verdict_at_once_where_too_many_wait() {
    let mut drops = started(0);
    for id in 0..=MAX_ENDED as u64 {
        assert_eq!((drops.counted.nothing_asked, drops.causes.len()), (0, 0));
        drops.ended(Box::new(ended(id, END_NS)), &mut |_| {});
    }
    assert_eq!((drops.gone.len(), drops.gone.oldest_ns()), (MAX_ENDED, Some(END_NS)));
    assert_eq!(drops.causes.values().map(|counted| counted.count).sum::<u64>(), 1);
}

#[test]
fn an_error_of_a_front_end_is_by_what_became_of_the_connection_behind_it() {
    let cases: [(&str, SetUp, &str); 4] = [
        ("the server closed it", |_| {}, "closed_without_response"),
        ("the front end left", |inner| inner.signs.client_ended_ns = 500, "front_end_gave_up"),
        (
            "the front end left a UNIX socket",
            |inner| (inner.origin.is_unix, inner.signs.client_ended_ns) = (true, 500),
            "front_end_gave_up",
        ),
        ("another one used it", |inner| inner.origin.identity = 8, "front_end_gave_up"),
    ];
    for (what, set_up, expected) in cases {
        let mut drops = started(0);
        let mut inner = ended(2, END_NS);
        (inner.origin.side, inner.origin.identity) = (Side::Inner { private: false }, 7);
        let asked = Asked::default();
        inner.unfinished = Some(Box::new(Unfinished {
            asked,
            start_ns: 150,
            responding: false,
            first_write_ns: 0,
            owed_bytes: None,
            in_head: false,
            is_cut: false,
            count: 1,
        }));
        set_up(&mut inner);
        drops.ended(Box::new(inner), &mut |_| {});
        let mut front = answered(1, 502);
        (front.origin.side, front.signs.behind) = (Side::Front, 7);
        drops.ended(Box::new(front), &mut |_| {});
        assert_eq!(told(&finish(drops, false)), (0, 0, 0, vec![(expected, 1)]), "{what}");
    }
    let mut drops = started(0);
    drops.errors_of_server(vec![1]);
    let mut front = answered(1, 502);
    front.origin.side = Side::Front;
    drops.ended(Box::new(front), &mut |_| {});
    assert_eq!(told(&finish(drops, false)), (1, 0, 0, Vec::new()), "the server's own answer");
}
