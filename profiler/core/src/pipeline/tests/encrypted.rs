//! Scenarios of servers that do the TLS themselves.
//!
//! In: scripts of threads. Out: assertions.

use super::evidence::connection_evidence;
use super::*;
use crate::event::Sign;
use crate::model::dropped::{Cause, Dropped};

pub(super) fn record(kind: u8, payload_bytes: u8) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3, 0, payload_bytes];
    bytes.resize(5 + usize::from(payload_bytes), crate::redact::FILLER);
    bytes
}

impl Script {
    /// Reads a record as OpenSSL does: its header, then what is behind it.
    pub(super) fn read_record(self, fd: i32, bytes: &[u8], arrival_ns: u64) -> Self {
        let (header, payload) = bytes.split_at(5);
        self.read(fd, header, arrival_ns, (1, 0, 0)).read(fd, payload, 0, (1, 0, 0))
    }

    /// A handshake of TLS 1.3 with two tickets, on a connection just accepted.
    pub(super) fn handshake(self, fd: i32) -> Self {
        let now_ns = self.now_ns;
        let script = self.read_record(fd, &record(22, 200), now_ns).write(fd, 900, (5, 0, 0));
        let now_ns = script.now_ns;
        let script = script.read_record(fd, &record(20, 1), now_ns);
        script.read_record(fd, &record(23, 69), now_ns).write(fd, 255, (2, 0, 0)).write(fd, 255, (2, 0, 0))
    }
}

#[test]
fn a_handshake_is_no_request_and_a_request_is_as_long_as_from_its_record_to_its_answer() {
    let script = Script::new(1).accept(9, (1, 0, 0)).handshake(9);
    let arrival = script.now_ns;
    let script = script.read_record(9, &record(23, 80), arrival).cpu(40).write(9, 150, (5, 0, 0));
    let end_ns = script.now_ns;
    let script = script.write(9, 60, (3, 0, 0)).call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0);
    let outcome = run(vec![script.select((1, 0, 100))], 1000);
    assert_eq!(outcome.requests.len(), 1);
    let request = &outcome.requests[0];
    assert_eq!((request.times.start_ns, request.times.end_ns), (arrival, end_ns + 3 * US));
    assert_eq!(
        (request.http.status, request.http.method.as_str(), request.http.framing),
        (0, "", Framing::NotHttp)
    );
    assert_eq!(outcome.snapshot.dropped.served, 1);
    assert_eq!(outcome.snapshot.coverage.losses.impossible, []);
}

#[test]
fn a_connection_that_only_shakes_hands_asks_for_nothing() {
    let script = Script::new(1).accept(9, (1, 0, 0)).handshake(9);
    let script = script.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0).select((1, 0, 100));
    let outcome = run(vec![script], 1000);
    assert!(outcome.requests.is_empty());
    assert_eq!((outcome.snapshot.dropped.served, outcome.snapshot.dropped.causes.len()), (0, 0));
}

/// How the server ends a connection that it has kept.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The server closes the connection; so many bytes come then, and the kernel answers with a reset.
    Reset(u32),
    /// The server ends its own direction, and reads what still comes.
    ReadsOn(u64),
}

/// A request that is answered; `idle_us` later the server ends the connection. `seeded`: it was there before
/// the watch.
fn ended(idle_us: u64, ending: Ending, finished: u8) -> Dropped {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let now_ns = script.now_ns;
    let script = script.read_record(9, &record(22, 200), now_ns).write(9, 900, (5, 0, 0));
    let script = script.read_record(9, &record(20, 1), now_ns).read_record(9, &record(23, finished), now_ns);
    // A ticket: where the Finished is not told by its length, requests begin behind it.
    let script = script.write(9, 255, (2, 0, 0));
    let arrival = script.now_ns;
    let script = script.read_record(9, &record(23, 80), arrival).cpu(40).write(9, 150, (5, 0, 0));
    let script = script.select((0, 0, idle_us));
    let (mut script, bytes) = match ending {
        Ending::Reset(bytes) => (script.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0), bytes),
        Ending::ReadsOn(bytes) => {
            let script = script.call(Call::Shutdown { fd: 9, how: 1 }, 0, (1, 0, 0), 0);
            let read = Call::Read { fd: 9, arrival_ns: 0, asked_bytes: 4096 };
            let script = script.call(read, i64::try_from(bytes).unwrap(), (1, 0, 0), 0);
            (script.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0), 0)
        }
    };
    if bytes > 0 {
        let now_ns = script.now_ns + 10 * US;
        let reset =
            connection_evidence(Sign::ResetSent, (1, 1), now_ns, |evidence| evidence.unread_bytes = bytes);
        script.events.push(reset);
    }
    run(vec![script], idle_us + 1000).snapshot.dropped
}

const KEPT_US: u64 = 1_000_000;

#[test]
fn what_comes_to_a_kept_connection_that_is_closed_is_a_request_where_it_is_too_long_for_a_farewell() {
    for ending in [Ending::Reset(56), Ending::Reset(53), Ending::ReadsOn(56)] {
        let dropped = ended(KEPT_US, ending, 69);
        assert_eq!((dropped.count(Cause::KeepAliveRace), dropped.total()), (1, 1), "{ending:?}: {dropped:?}");
    }
    // A farewell, one behind another message of TLS, and a FIN.
    for ending in [Ending::Reset(24), Ending::Reset(25), Ending::Reset(52), Ending::ReadsOn(24)] {
        let dropped = ended(KEPT_US, ending, 69);
        assert_eq!((dropped.served, dropped.total()), (1, 0), "{ending:?}: {dropped:?}");
    }
}

#[test]
fn where_a_client_pads_its_records_or_the_connection_was_not_kept_nothing_is_said_of_what_came() {
    for dropped in [ended(KEPT_US, Ending::Reset(512), 200), ended(1_000, Ending::Reset(512), 69)] {
        assert_eq!((dropped.served, dropped.total()), (1, 0), "{dropped:?}");
    }
}
