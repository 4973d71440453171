//! What requests have to do with back ends: round trips, waits and connections, by port.
//!
//! In: scripts of threads that connect and ask. Out: assertions.

use profiler_common::record::slice::FLAG_BACK_END;

use super::*;
use crate::model::round_trips::{RoundTrips, ToPort};

/// A socket to a back end.
const SOCKET: i32 = 12;
const EINPROGRESS: i64 = -115;

impl Script {
    /// A request is read on a client's connection, and its worker has not answered.
    fn begin_request(self) -> Self {
        let script = self.select((0, 0, 10)).accept(9, (0, 0, 0));
        let arrival_ns = script.now_ns;
        script.read(9, GET, arrival_ns, (5, 0, 0)).cpu(10)
    }

    fn end_request(self) -> Self {
        self.cpu(10)
            .write_head(9, OK5, (5, 0, 0))
            .write(9, 5, (5, 0, 0))
            .call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0)
            .select((1, 0, 500))
    }

    fn connect_to(self, port: u16, result: i64, waited_us: u64) -> Self {
        self.call(Call::Make { class: DescriptorClass::Socket }, i64::from(SOCKET), (1, 0, 0), 0).call(
            Call::Connect { fd: SOCKET, port, family: 2, identity: 40_000 },
            result,
            (1, 0, waited_us),
            0,
        )
    }

    /// Sends something and waits for the answer.
    fn ask_socket(self, waited_us: u64, flags: u32) -> Self {
        let read = Call::Read { fd: SOCKET, asked_bytes: 4096, arrival_ns: 0 };
        self.call(Call::Write { fd: SOCKET }, 10, (1, 0, 0), flags).call(read, 20, (1, 0, waited_us), flags)
    }
}

fn poll() -> Call {
    Call::Poll { only_fd: Some(SOCKET), low_fds: 0, for_write: true, is_sleep: false }
}

/// ```text
/// connect 300 | ask 3000 | ask 500 | ask 700
/// ```
#[test]
fn a_connection_that_a_request_sets_up_is_its_own_with_its_waits_and_its_first_answer() {
    let script = Script::new(1).begin_request().connect_to(5432, 0, 300);
    let script =
        script.ask_socket(3000, FLAG_BACK_END).ask_socket(500, FLAG_BACK_END).ask_socket(700, FLAG_BACK_END);
    let outcome = run(vec![script.end_request()], 9000);
    let expected = ToPort {
        port: 5432,
        count: 3,
        waited_ns: 4500 * US,
        connections: 1,
        connecting_ns: 300 * US,
        first_answers_ns: 3000 * US,
    };
    assert_eq!(outcome.requests[0].round_trips.to(5432), expected);
    assert_eq!(outcome.requests[0].phases.get(Phase::BackendWait), expected.waited_ns);
    let endpoint = &outcome.snapshot.by_endpoint.list[0];
    assert_eq!(endpoint.round_trips.to(5432), expected);
    let over_time = endpoint.waits.list[0].total();
    assert_eq!((over_time.requests, over_time.round_trips, over_time.waited_ns), (1, 3, 4200 * US));
    assert_eq!(outcome.snapshot.requests.unattributed, RoundTrips::default());
}

#[test]
fn a_connect_that_does_not_wait_is_waited_for_in_poll() {
    let script = Script::new(1)
        .begin_request()
        .connect_to(80, EINPROGRESS, 0)
        .call(poll(), 1, (1, 0, 400), 0)
        .ask_socket(900, FLAG_BACK_END)
        .end_request();
    let outcome = run(vec![script], 9000);
    let to = outcome.requests[0].round_trips.to(80);
    assert_eq!((to.connections, to.connecting_ns / US, to.first_answers_ns / US), (1, 400, 900));
    assert_eq!(to.waited_ns / US, 1300);
}

/// PostgreSQL: one byte says whether it encrypts, then comes the login.
#[test]
fn an_answer_of_one_byte_is_of_the_connection_and_the_next_one_its_first_answer() {
    let read = Call::Read { fd: SOCKET, asked_bytes: 4096, arrival_ns: 0 };
    let script = Script::new(1)
        .begin_request()
        .connect_to(5432, 0, 300)
        .call(Call::Write { fd: SOCKET }, 8, (1, 0, 0), FLAG_BACK_END)
        .call(read, 1, (1, 0, 2000), FLAG_BACK_END)
        .ask_socket(700, FLAG_BACK_END)
        .ask_socket(90, FLAG_BACK_END)
        .end_request();
    let outcome = run(vec![script], 9000);
    let to = outcome.requests[0].round_trips.to(5432);
    assert_eq!((to.connections, to.connecting_ns / US, to.first_answers_ns / US), (1, 2300, 700));
    assert_eq!((to.count, to.waited_ns / US), (3, 3090));
}

#[test]
fn a_connection_that_is_kept_is_set_up_by_the_first_request_alone() {
    let script = Script::new(1).begin_request().connect_to(5432, 0, 300).ask_socket(3000, FLAG_BACK_END);
    let script = script.end_request().begin_request().ask_socket(500, FLAG_BACK_END).end_request();
    let outcome = run(vec![script], 9000);
    let connections =
        outcome.requests.iter().map(|request| request.round_trips.to(5432).connections).collect::<Vec<_>>();
    assert_eq!(connections, [1, 0]);
    let second = outcome.requests[1].round_trips.to(5432);
    assert_eq!((second.count, second.waited_ns / US, second.first_answers_ns), (1, 500, 0));
}

#[test]
fn a_connect_that_fails_sets_up_nothing() {
    let script = Script::new(1).begin_request().connect_to(5432, -111, 300).end_request();
    let to = run(vec![script], 9000).requests[0].round_trips.to(5432);
    assert_eq!((to.connections, to.waited_ns / US), (0, 300));
}

/// A resolver's socket: the wait for its answer counts, a connection it is not.
#[test]
fn a_datagram_socket_is_waited_for_and_no_connection() {
    let resolver = Script::new(1).begin_request().connect_to(53, 0, 0).ask_socket(2000, 0);
    let script = resolver
        .end_request()
        .begin_request()
        .connect_to(80, 0, 0)
        .ask_socket(5, FLAG_BACK_END)
        .end_request();
    let outcome = run(vec![script], 9000);
    let to = outcome.requests[0].round_trips.to(53);
    assert_eq!((to.count, to.waited_ns / US, to.connections), (1, 2000, 0));
    assert_eq!(outcome.requests[1].round_trips.to(80).connections, 1);
    assert_eq!(outcome.snapshot.requests.unattributed, RoundTrips::default());
}

/// A recording of a version whose kernel side did not tell streams from datagrams.
#[test]
fn where_no_stream_is_marked_connections_are_those_of_nobody_who_is_known() {
    let script = Script::new(1).begin_request().connect_to(5432, 0, 300).ask_socket(3000, 0).end_request();
    let outcome = run(vec![script], 9000);
    assert_eq!(outcome.requests[0].round_trips.to(5432).connections, 0);
    assert_eq!(outcome.snapshot.requests.unattributed.to(0).connections, 1);
}

#[test]
fn what_a_thread_without_a_request_does_is_nobody_s_who_is_known() {
    let served = Script::new(1).begin_request().cpu(3000).end_request();
    let other = Script::new(7).connect_to(6379, 0, 200).ask_socket(1000, FLAG_BACK_END);
    let outcome = run(vec![served, other], 9000);
    assert_eq!(outcome.requests[0].round_trips, RoundTrips::default());
    let to = outcome.snapshot.requests.unattributed.to(6379);
    assert_eq!((to.connections, to.waited_ns / US, to.count), (1, 1200, 0));
}
