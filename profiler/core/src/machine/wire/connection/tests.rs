//! Connections by number, and what each is about.
//!
//! In: connections, requests, heads of responses. Out: assertions.

use super::*;
use crate::machine::wire::request::Beginning;

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n";
/// Stands for any bytes of a connection whose server does the TLS itself.
const TLS: &[u8] = b"";

fn open(connections: &mut Connections) -> u32 {
    connections.open(&Opened::accepted(5), 10).unwrap()
}

/// A connection with these requests under way.
fn with(ids: &[u64]) -> Connections {
    let mut connections = Connections::default();
    let number = open(&mut connections);
    let active = |id: &u64| Box::new(Active::new(&Beginning::at(*id, 100), 1, 1));
    connections.get_mut(number).unwrap().requests.extend(ids.iter().map(active));
    connections
}

/// A connection with one request, whose response begins with this head, and then has so many bytes more.
fn responding(head: &[u8], bytes: u64) -> Connections {
    let mut connections = with(&[1]);
    let connection = connections.get_mut(0).unwrap();
    connection.requests[0].response.has_begun = true;
    if head == TLS {
        let _ = connection.outbound.push_encrypted(bytes);
    } else {
        connection.outbound.push(head.len() as u64, head, true, false);
        connection.outbound.push(bytes, b"", false, false);
    }
    connections
}

#[test]
fn the_place_of_a_connection_that_is_closed_is_given_to_a_later_one_and_its_number_is_not() {
    let mut connections = Connections::default();
    let places: Vec<u32> = (0..3).map(|_| open(&mut connections)).collect();
    assert_eq!(places, [0, 1, 2]);
    assert_eq!((connections.close(1), connections.close(1), connections.close(7)), (Some(1), None, None));
    assert_eq!(connections.numbers().collect::<Vec<_>>(), [0, 2]);
    assert_eq!((open(&mut connections), open(&mut connections)), (1, 3));
    assert_eq!(connections.get(1).map(|connection| connection.id), Some(3));
}

#[test]
fn a_full_table_takes_a_connection_only_where_one_was_closed() {
    let mut connections = Connections::default();
    for _ in 0..MAX_CONNECTIONS {
        open(&mut connections);
    }
    assert_eq!((connections.open(&Opened::accepted(5), 10), connections.evicted), (None, 1));
    connections.close(9);
    assert_eq!((connections.open(&Opened::accepted(5), 10), connections.evicted), (Some(9), 1));
    assert_eq!(connections.seen, MAX_CONNECTIONS as u64 + 2, "those without a place were seen");
}

#[test]
fn a_window_counts_clients_connections_that_were_open_or_came() {
    let mut connections = Connections::default();
    for _ in 0..3 {
        open(&mut connections);
    }
    connections.get_mut(1).unwrap().origin.side = Side::Inner { private: false };
    connections.inner = 1;
    assert_eq!((connections.seen_in_window(), connections.clients_open()), (2, 2));
    connections.close(2);
    assert_eq!((connections.seen_in_window(), connections.clients_open()), (2, 1));
    connections.roll(0);
    assert_eq!((connections.seen_in_window(), connections.inner), (1, 1), "the one that stayed");
    open(&mut connections);
    connections.close(1);
    assert_eq!(connections.seen_in_window(), 2, "the front end's has gone, and was no client's");
    for _ in 0..3 {
        connections.count_one();
    }
    assert_eq!(connections.seen_in_window(), 5);
    connections.roll(3);
    assert_eq!((connections.seen_in_window(), connections.inner), (5, 0));
}

#[test]
fn a_connection_is_about_its_oldest_request_alone() {
    let mut connections = with(&[1, 2]);
    connections.get_mut(0).unwrap().requests[1].request.http.path = "/second".to_owned();
    for (what, key, is_it) in [
        ("the oldest", (0, 1), true),
        ("the one behind it", (0, 2), false),
        ("another's number", (0, 3), false),
        ("no connection", (1, 1), false),
    ] {
        assert_eq!(connections.active(key).is_some(), is_it, "{what}");
        assert_eq!(connections.active_mut(key).is_some(), is_it, "{what}");
        assert_eq!((connections.is_live(key), connections.is_open(key)), (is_it, is_it), "{what}");
    }
    assert_eq!(connections.named(0, 2), Some((String::new(), "/second".to_owned())));
    connections.active_mut((0, 1)).unwrap().task = Some(7);
    assert_eq!((connections.is_live((0, 1)), connections.is_open((0, 1))), (true, false));
    connections.close(0);
    open(&mut connections);
    assert!(!connections.is_live((0, 1)), "the place is another connection's");
}

#[test]
fn a_read_is_for_a_request_until_the_response_begins_or_the_server_ends_its_side() {
    for (what, count, has_begun, shut, expected) in [
        ("nothing is under way", 0, false, false, true),
        ("a request is being read", 1, false, false, true),
        ("its response has begun", 1, true, false, false),
        ("the server has ended its side", 0, false, true, false),
        ("the same within a request", 1, false, true, false),
    ] {
        let mut connections = with(&[1, 2][..count]);
        let connection = connections.get_mut(0).unwrap();
        connection.shut = shut;
        connection.requests.iter_mut().for_each(|active| active.response.has_begun = has_begun);
        assert_eq!(connection.expects_request(), expected, "{what}");
    }
}

#[test]
fn a_thread_works_unanswered_on_the_oldest_request_of_its_own() {
    for (what, owner, has_begun, expected) in [
        ("its own", Some(7), false, true),
        ("answered", Some(7), true, false),
        ("another thread's", Some(8), false, false),
        ("nobody's", None, false, false),
    ] {
        let mut connections = with(&[1, 2]);
        let connection = connections.get_mut(0).unwrap();
        connection.requests[0].owner = owner;
        connection.requests[0].response.has_begun = has_begun;
        connection.requests[1].owner = Some(7);
        assert_eq!(connection.works_unanswered(7), expected, "{what}");
    }
}

#[test]
fn a_response_with_an_open_end_to_a_front_end_ends_with_its_connection() {
    let inner = Side::Inner { private: false };
    for (what, side, head, has_begun, owner, expected) in [
        ("by the thread at it", inner, UNTIL_CLOSE, true, 7, (true, true)),
        ("by another thread", inner, UNTIL_CLOSE, true, 8, (false, true)),
        ("nothing is written", inner, UNTIL_CLOSE, false, 7, (false, false)),
        ("its length is known", inner, SIZED, true, 7, (false, false)),
        ("to a client", Side::Whole, UNTIL_CLOSE, true, 7, (false, false)),
        ("of a front end", Side::Front, UNTIL_CLOSE, true, 7, (false, false)),
    ] {
        let mut connections = responding(head, 100);
        let connection = connections.get_mut(0).unwrap();
        connection.origin.side = side;
        connection.requests[0].owner = Some(owner);
        connection.requests[0].response.has_begun = has_begun;
        let works = connection.works_to_the_end(7);
        assert_eq!((works, connection.requests[0].response.ends_with_connection), expected, "{what}");
    }
}

#[test]
fn whether_a_response_that_a_loop_has_left_goes_on_is_only_said_where_it_shows() {
    use LastChunks::{Apart, Joined, Unknown};
    for (what, (head, bytes), left, has_gone_on, last_chunks, continues, lacks_its_end) in [
        ("in chunks, it went on before", (CHUNKED, 100), true, true, Apart, true, true),
        ("it never went on", (CHUNKED, 100), true, false, Apart, false, true),
        ("no last chunk was seen yet", (CHUNKED, 100), true, true, Unknown, true, false),
        ("last chunks come with others", (CHUNKED, 100), true, true, Joined, false, false),
        ("its last chunk is written", (CHUNKED, 5), true, true, Apart, false, false),
        ("the loop is still at it", (CHUNKED, 100), false, true, Apart, false, false),
        ("it ends with its connection", (UNTIL_CLOSE, 100), true, false, Apart, true, false),
        ("its length is known", (SIZED, 100), true, true, Apart, false, false),
        ("it is encrypted", (TLS, 100), true, true, Apart, false, false),
    ] {
        let mut connections = responding(head, bytes);
        let connection = connections.get_mut(0).unwrap();
        let response = &mut connection.requests[0].response;
        (response.may_have_ended, response.has_continued) = (left, has_gone_on);
        response.last_chunks = last_chunks;
        let told = (connection.surely_continues(&connection.requests[0]), connection.lacks_its_end());
        assert_eq!(told, (continues, lacks_its_end), "{what}");
    }
}
