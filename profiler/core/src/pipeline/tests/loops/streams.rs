//! Responses that a loop sends in pieces, of a length that their head does not say: where they end, and what
//! is theirs.
//!
//! In: scripts of a loop's thread. Out: assertions. Times are in microseconds in the scripts.

use super::*;
use crate::event::{ConnectionEvidence, Sign};
use crate::machine::driver::now::now;
use crate::model::dropped::Cause;
use crate::pipeline::tests::evidence::connection_evidence;
use DescriptorSeen;

const CHUNKED: &[u8] = b"HTTP/1.1 200 xx\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 xx\r\nConnection: close\r\n\r\n";
const UPGRADE: &[u8] = b"HTTP/1.1 101 xx\r\nConnection: Upgrade\r\n\r\n";
const LAST_CHUNK: i64 = 5;

impl Script {
    fn close(self, fd: i32) -> Self {
        self.call(Call::Close { fd }, 0, (1, 0, 0), 0)
    }

    /// A pause until a timer comes due, and the next piece.
    fn pause_and_write(self, fd: i32, bytes: i64) -> Self {
        self.look(20, 0, (0, 0, 20_000)).cpu(40).write(fd, bytes, (5, 0, 0))
    }
}

fn of(requests: &[Request], start_ns: u64) -> &Request {
    let mut found = requests.iter().filter(|request| request.times.start_ns == start_ns);
    let (first, second) = (found.next().unwrap(), found.next());
    assert!(second.is_none(), "{second:?}");
    first
}

fn end_ns(request: &Request) -> u64 {
    request.times.start_ns + request.total_ns()
}

/// ```text
/// loop: read 9, write 9 (head), write 9 (a piece), look 20 000, write 9 (a piece), look 20 000, write 9 (the
/// last chunk), python 30, look
/// ```
#[test]
fn a_response_in_chunks_lasts_until_its_last_chunk_and_its_pauses_are_its_own() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(30).write_head(9, CHUNKED, (5, 0, 0));
    let script = script.write(9, 12, (5, 0, 0)).pause_and_write(9, 12).pause_and_write(9, LAST_CHUNK);
    let ended = script.now_ns;
    let (requests, _) = requests_of(script.cpu(30).look(-1, 0, (0, 0, 50_000)));
    let stream = of(&requests, came);
    assert_eq!(end_ns(stream), ended);
    assert_eq!(stream.http.bytes_out, CHUNKED.len() as u64 + 12 + 12 + 5);
    assert_eq!(us(stream, Phase::Sleep), 40_000, "{:?}", stream.phases);
    assert_eq!(us(stream, Phase::Cpu), 30 + 40 + 40);
    assert_eq!(us(stream, Phase::Write), 20);
    assert_eq!(us(stream, Phase::Unexplained), 0);
    assert!(!stream.seen.open);
}

/// ```text
/// loop: read 9, write 9 (head and a piece), look 20 000, write 9 (a piece and the last chunk at once),
/// python 700, look 50 000, read 9 or close 9
/// ```
#[test]
fn a_last_chunk_that_comes_with_a_piece_is_the_end_once_the_connection_s_next_request_or_its_close_tells() {
    for closes in [false, true] {
        let script = loop_of_two();
        let came = script.now_ns;
        let script = script.read(9, GET, came, (1, 0, 0)).write_head(9, CHUNKED, (5, 0, 0));
        let script = script.pause_and_write(9, 17);
        let ended = script.now_ns;
        let script = script.cpu(700).look(-1, 1, (0, 0, 50_000));
        let next = script.now_ns;
        let script =
            if closes { script.close(9) } else { script.read(9, GET, next, (1, 0, 0)).cpu(9).respond(9) };
        let (requests, snapshot) = requests_of(script.look(-1, 0, (0, 0, 10)));
        let stream = of(&requests, came);
        assert_eq!(end_ns(stream), ended, "{closes}");
        assert_eq!(us(stream, Phase::Cpu), 40, "{:?}", stream.phases);
        assert_eq!(us(stream, Phase::Sleep), 20_000);
        assert_eq!(requests.len(), if closes { 3 } else { 4 });
        if !closes {
            let after = of(&requests, next);
            assert_eq!((us(after, Phase::Cpu), us(after, Phase::PoolWait)), (9, 0), "{:?}", after.phases);
        }
        assert_eq!(snapshot.event_loops.len(), 1);
    }
}

/// ```text
/// loop: read 9, write 9 (head), look 20 000, write 9 (a piece), look 20 000, write 9 (five bytes), look 20
/// 000, write 9 (a piece), close 9
/// ```
#[test]
fn a_response_until_the_connection_s_end_lasts_until_its_last_piece_however_long_its_pieces_are() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).write_head(9, UNTIL_CLOSE, (5, 0, 0));
    let script = script.pause_and_write(9, 12).pause_and_write(9, LAST_CHUNK).pause_and_write(9, 12);
    let ended = script.now_ns;
    let (requests, _) = requests_of(script.cpu(30).close(9).look(-1, 0, (0, 0, 10)));
    let stream = of(&requests, came);
    assert_eq!(end_ns(stream), ended);
    assert_eq!(us(stream, Phase::Sleep), 60_000, "{:?}", stream.phases);
    assert_eq!((requests.len(), stream.http.bytes_out), (3, UNTIL_CLOSE.len() as u64 + 12 + 5 + 12));
}

/// ```text
/// loop: accept 9, read 9 (hello), write 9, look, read 9 (the end of the handshake and a request), write 9
/// (tickets), look 300,
///       write 9 (a piece), look 20 000, write 9 (a piece), look 50 000 (nothing more comes), write 9 (a farewell), close 9
/// ```
#[test]
fn an_encrypted_response_begins_after_the_tickets_and_ends_before_the_farewell() {
    let hello = [22, 3, 1, 0, 1, crate::redact::FILLER];
    let mut rest = Vec::new();
    for (kind, payload_bytes) in [(20, 1), (23, 69), (23, 80)] {
        rest.extend_from_slice(&[kind, 3, 3, 0, payload_bytes]);
        rest.resize(rest.len() + usize::from(payload_bytes), crate::redact::FILLER);
    }
    let script = loop_of_two();
    let hello_ns = script.now_ns;
    let script = script.accept(11, (1, 0, 0)).read(11, &hello, hello_ns, (1, 0, 0)).write(11, 900, (5, 0, 0));
    let script = script.watch(11).look(-1, 1, (0, 0, 100));
    let came = script.now_ns;
    let script = script.read(11, &rest, came, (1, 0, 0)).write(11, 510, (5, 0, 0)).look(1, 0, (0, 0, 300));
    let script = script.write(11, 150, (5, 0, 0));
    let first_write_ns = script.now_ns;
    let script = script.pause_and_write(11, 60);
    let ended = script.now_ns;
    let script = script.look(-1, 1, (0, 0, 50_000)).write(11, 24, (5, 0, 0)).close(11);
    let (requests, snapshot) = requests_of(script.look(-1, 0, (0, 0, 10)));
    let encrypted = of(&requests, came);
    assert_eq!((requests.len(), encrypted.http.framing), (3, Framing::NotHttp));
    assert_eq!((encrypted.times.first_write_ns, end_ns(encrypted)), (Some(first_write_ns), ended));
    assert_eq!(snapshot.coverage.losses.impossible, []);
}

#[test]
fn what_follows_a_change_of_protocol_is_no_part_of_the_response() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).write_head(9, UPGRADE, (5, 0, 0));
    let ended = script.now_ns;
    let (requests, _) = requests_of(script.pause_and_write(9, 12).pause_and_write(9, 12));
    let upgraded = of(&requests, came);
    assert_eq!((upgraded.http.status, end_ns(upgraded), requests.len()), (101, ended, 3));
}

/// ```text
/// loop: read 9, write 9 (head), read 10, write 10 (head), look 7 000 (a timer), write 10, look 8 000 (a
/// timer), write 9, look 9 000 (a timer),
///       write 10 (the last chunk), look 10 000 (a timer), write 9 (the last chunk)
/// ```
#[test]
fn two_responses_that_interleave_have_each_their_own_pieces_and_pauses() {
    let script = loop_of_two();
    let first = script.now_ns;
    let script = script.read(9, GET, first, (1, 0, 0)).cpu(20).write_head(9, CHUNKED, (5, 0, 0));
    let second = script.now_ns;
    let script = script.read(10, GET, second, (1, 0, 0)).cpu(30).write_head(10, CHUNKED, (5, 0, 0));
    let script = script.look(7, 0, (0, 0, 7000)).cpu(3).write(10, 12, (5, 0, 0));
    let script = script.look(8, 0, (0, 0, 8000)).cpu(4).write(9, 13, (5, 0, 0));
    let script = script.look(9, 0, (0, 0, 9000)).cpu(5).write(10, LAST_CHUNK, (5, 0, 0));
    let second_ended = script.now_ns;
    let script = script.look(10, 0, (0, 0, 10_000)).cpu(6).write(9, LAST_CHUNK, (5, 0, 0));
    let first_ended = script.now_ns;
    let (requests, _) = requests_of(script.look(-1, 0, (0, 0, 10)));
    let (first, second) = (of(&requests, first), of(&requests, second));
    assert_eq!((end_ns(first), end_ns(second)), (first_ended, second_ended));
    let head_bytes = CHUNKED.len() as u64;
    assert_eq!((first.http.bytes_out, second.http.bytes_out), (head_bytes + 13 + 5, head_bytes + 12 + 5));
    assert_eq!((us(first, Phase::Cpu), us(second, Phase::Cpu)), (20 + 4 + 6, 30 + 3 + 5));
    assert_eq!((us(first, Phase::Unexplained), us(second, Phase::Unexplained)), (0, 0));
    let paused = [first, second].map(|stream| us(stream, Phase::Sleep) + us(stream, Phase::LoopWait));
    assert!((33_900..35_100).contains(&paused[0]), "{:?}", first.phases);
    assert!((23_900..24_100).contains(&paused[1]), "{:?}", second.phases);
}

/// ```text
/// loop: read 9, write 9 (head), write 9 (as much as is taken), registers 9 for writing, look 2 000 000,
/// write 9, registers 9, look 20 000, write 9
/// ```
#[test]
fn a_client_that_takes_a_response_in_pieces_slowly_does_not_end_it() {
    let register = |events| Call::EpollControl { epoll_fd: EPOLL, operation: 3, fd: 9, events };
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).write_head(9, CHUNKED, (5, 0, 0));
    let script = script.write(9, 400, (5, 0, 0)).call(register(1 | 4), 0, (0, 0, 0), 0);
    let script = script.look(-1, 1, (0, 0, 2_000_000)).write(9, 600, (5, 0, 0));
    let script = script.call(register(1), 0, (0, 0, 0), 0).pause_and_write(9, LAST_CHUNK);
    let ended = script.now_ns;
    let (requests, snapshot) = requests_of(script.look(-1, 0, (0, 0, 10)));
    let stream = of(&requests, came);
    assert_eq!((end_ns(stream), requests.len()), (ended, 3));
    assert_eq!(us(stream, Phase::ClientWriteStall), 2_000_000, "{:?}", stream.phases);
    assert_eq!((us(stream, Phase::Sleep), us(stream, Phase::Unexplained)), (20_000, 0));
    assert_eq!(snapshot.slots.held_ns(Holding::ClientWriteStall), 0);
}

/// ```text
/// loop: read 9, write 9 (head), look 20 000, write 9 (a piece), look 20 000 …, and here the window ends
/// ```
#[test]
fn a_response_in_pieces_that_the_window_s_end_meets_is_open_where_it_is_sure_that_it_continues() {
    // Of chunks it is, once it has gone on after a pause, unless the loop has written a last chunk that could
    // not be told.
    let first = [(CHUNKED, 0, false), (CHUNKED, 1, true), (UNTIL_CLOSE, 0, true), (UNTIL_CLOSE, 1, true)];
    for (head, pauses, is_open) in first {
        let script = loop_of_two();
        let came = script.now_ns;
        let mut script = script.read(9, GET, came, (1, 0, 0)).write_head(9, head, (5, 0, 0));
        for _ in 0..pauses {
            script = script.pause_and_write(9, 12);
        }
        let written = script.now_ns;
        let (requests, _) = requests_of(script.look(20, 0, (0, 0, 20_000)));
        let stream = of(&requests, came);
        assert_eq!((requests.len(), stream.seen.open), (3, is_open), "{pauses} pauses: {stream:?}");
        assert_eq!(end_ns(stream) > written, is_open);
    }
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.read(10, GET, came, (1, 0, 0)).write_head(10, CHUNKED, (5, 0, 0));
    let script = script.pause_and_write(10, 17).look(-1, 1, (0, 0, 1000));
    let came = script.now_ns;
    let script = script.read(10, GET, came, (1, 0, 0)).respond(10);
    let came = script.now_ns;
    let script =
        script.read(9, GET, came, (1, 0, 0)).write_head(9, CHUNKED, (5, 0, 0)).pause_and_write(9, 12);
    let (requests, _) = requests_of(script.look(20, 0, (0, 0, 20_000)));
    assert!(!of(&requests, came).seen.open);
}

/// ```text
/// loop on gevent: look (for the listener alone), accept 9, read 9, write 9 (head), accept 10, read 10, write
/// 10 (head), registers 9 and 10, look 20 000,
///                 write 9 (the last chunk), write 10 (the last chunk)
/// ```
#[test]
fn responses_in_pieces_that_gevent_serves_before_it_has_looked_once_last_to_their_end() {
    let register = |fd| Call::EpollControl { epoll_fd: EPOLL, operation: 1, fd, events: 0 };
    let script = gevent::on_gevent(Script::new(1)).watch(LISTENER);
    let came = script.now_ns;
    let mut script = script;
    for fd in [9, 10] {
        script =
            script.accept(fd, (1, 0, 0)).read(fd, GET, came, (1, 0, 0)).write_head(fd, CHUNKED, (5, 0, 0));
    }
    script = script.call(register(9), 0, (0, 0, 0), 0).call(register(10), 0, (0, 0, 0), 0);
    script = script.pause_and_write(9, LAST_CHUNK);
    let first_ended = script.now_ns;
    script = script.cpu(7).write(10, LAST_CHUNK, (5, 0, 0));
    let second_ended = script.now_ns;
    let (requests, _) = requests_of(script.look(-1, 0, (0, 0, 10)));
    let ends: Vec<u64> = requests.iter().map(end_ns).collect();
    assert_eq!(ends, [first_ended, second_ended]);
    assert!(requests.iter().all(|request| us(request, Phase::Sleep) >= 20_000), "{requests:?}");
}

/// ```text
/// loop: read 9, write 9 (head), look 20 000, write 9 (the last chunk, by itself or with a piece); read 10,
/// write 10 (head), look 20 000, write 10 (a piece),
///       look 5 000 (its client ends the connection, or not), close 10
/// ```
#[test]
fn a_response_in_pieces_is_cut_short_where_its_last_chunk_would_have_been_seen() {
    for (last, client_ends, cause) in [
        (LAST_CHUNK, true, Some(Cause::ClientLeftReading)),
        (LAST_CHUNK, false, Some(Cause::ResponseCutShort)),
        (17, true, None),
        (17, false, None),
    ] {
        let mut script = loop_of_two();
        for event in &mut script.events {
            if let Body::Connection(opened) = &mut event.body {
                opened.socket = (u64::from(opened.fd.unsigned_abs()), 1);
            }
        }
        let came = script.now_ns;
        let script = script.read(9, GET, came, (1, 0, 0)).write_head(9, CHUNKED, (5, 0, 0));
        let script = script.pause_and_write(9, last).look(-1, 1, (0, 0, 1000));
        let came = script.now_ns;
        let script = script.read(10, GET, came, (1, 0, 0)).write_head(10, CHUNKED, (5, 0, 0));
        let mut script = script.pause_and_write(10, 12).look(-1, 1, (0, 0, 5000));
        if client_ends {
            let left = |evidence: &mut ConnectionEvidence| evidence.established_ns = START;
            script.events.push(connection_evidence(Sign::ClientEnded, (10, 1), script.now_ns - US, left));
        }
        let (_, snapshot) = requests_of(script.close(10).look(-1, 0, (0, 0, 10)));
        let dropped = &snapshot.dropped;
        assert_eq!(dropped.total(), u64::from(cause.is_some()), "{last} {client_ends}: {dropped:?}");
        assert!(cause.is_none_or(|cause| dropped.count(cause) == 1), "{last} {client_ends}: {dropped:?}");
    }
}

/// What is listed of the moment in which this script has come to its end.
fn listed_after(script: Script) -> Vec<String> {
    let mut pipeline = Pipeline::new(Settings { thread_slices: false });
    let listener = DescriptorSeen {
        tgid: 1,
        fd: LISTENER,
        class: DescriptorClass::Listener,
        interest: Vec::new(),
        interest_events: Vec::new(),
        shared: false,
        local_port: 0,
    };
    let facts = [Fact::Attached(Attached::default()), Fact::WindowStarted, Fact::DescriptorSeen(listener)];
    let facts = facts.map(|fact| Event { time_ns: START, body: Body::Fact(Box::new(fact)) });
    let at_ns = script.now_ns;
    for event in facts.into_iter().chain(script.events) {
        pipeline.machines.event(&mut Some(event), &mut |_| {});
    }
    let listed = now(&pipeline.machines.state, &[], at_ns);
    listed.requests.into_iter().map(|request| request.path).collect()
}

#[test]
fn a_response_in_pieces_is_listed_where_it_is_sure_that_it_continues() {
    let script = || loop_of_two().read(9, GET, START, (1, 0, 0)).write_head(9, CHUNKED, (5, 0, 0));
    let pause = |script: Script| script.look(20, 0, (0, 0, 20_000));
    assert_eq!(listed_after(pause(script())), [""; 0], "that may have been all");
    assert_eq!(listed_after(pause(script().pause_and_write(9, 12))), ["/a"]);
    assert_eq!(listed_after(pause(script().pause_and_write(9, LAST_CHUNK))), [""; 0]);
}
