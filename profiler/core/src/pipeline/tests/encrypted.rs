//! Scenarios of servers that do the TLS themselves.
//!
//! In: scripts of threads. Out: assertions.

use super::*;

fn record(kind: u8, payload_bytes: u8) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3, 0, payload_bytes];
    bytes.resize(5 + usize::from(payload_bytes), crate::redact::FILLER);
    bytes
}

impl Script {
    /// Reads a record as OpenSSL does: its header, then what is behind it.
    fn read_record(self, fd: i32, bytes: &[u8], arrival_ns: u64) -> Self {
        let (header, payload) = bytes.split_at(5);
        self.read(fd, header, arrival_ns, (1, 0, 0)).read(fd, payload, 0, (1, 0, 0))
    }

    /// A handshake of TLS 1.3 with two tickets, on a connection just accepted.
    fn handshake(self, fd: i32) -> Self {
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
    assert_eq!((request.start_ns, request.end_ns), (arrival, end_ns + 3 * US));
    assert_eq!((request.status, request.method.as_str(), request.framing), (0, "", Framing::NotHttp));
    assert_eq!(outcome.snapshot.dropped.served, 1);
    assert_eq!(outcome.snapshot.losses.impossible, []);
}

#[test]
fn a_connection_that_only_shakes_hands_asks_for_nothing() {
    let script = Script::new(1).accept(9, (1, 0, 0)).handshake(9);
    let script = script.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0).select((1, 0, 100));
    let outcome = run(vec![script], 1000);
    assert!(outcome.requests.is_empty());
    assert_eq!((outcome.snapshot.dropped.served, outcome.snapshot.dropped.causes.len()), (0, 0));
}
