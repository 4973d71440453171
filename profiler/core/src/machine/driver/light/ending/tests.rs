//! What becomes of connections in light mode, by what the kernel shows of their ends.
//!
//! In: messages, ends and evidence made by hand, in the order in which the kernel side tells them. Out:
//! verdicts.

use crate::event::{ConnectionEvidence, Evidence, Head, Light, LightEnd, LightWhat, Sign, Signal, Tid};
use crate::fact::Account;
use crate::machine::driver::state::State;
use crate::model::dropped::Dropped;

const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
const TWO: &[u8] = b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
const HALF: &[u8] = b"GET /a HT";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const SOCKET: u64 = 70;
const WORKER: Tid = 5;
const BY_WORKER: Ends = Ends { error: 0, by_send: false, is_unused: false };
const UNUSED: Ends = Ends { is_unused: true, ..BY_WORKER };
const EPIPE: Ends = Ends { error: -32, by_send: true, ..BY_WORKER };
const ECONNRESET: Ends = Ends { error: -104, ..BY_WORKER };
const EMFILE: i64 = -24;

/// How a connection ends, as in its event.
#[derive(Clone, Copy, Debug)]
struct Ends {
    error: i64,
    by_send: bool,
    is_unused: bool,
}

/// What happens, a millisecond after what came before.
#[derive(Clone, Copy, Debug)]
enum Then {
    Received(&'static [u8]),
    Sent(&'static [u8]),
    Closed(Ends),
    /// The client does this to a connection that is in the queue.
    Waiting(Sign),
    /// The same, accepted and not read yet.
    TakenTime(Sign),
    /// The same, in use or closed.
    Evidence(Sign),
    /// The worker closes it by a reset.
    Reset {
        taken: bool,
    },
    /// A reset answers what came for a socket that is gone: only its ports are known.
    LateReset,
    /// The worker gets a signal of its master, or sends itself one.
    Killed,
    /// The worker ends with this code.
    Exit(i64),
    AcceptFails,
    /// Another connection has the address.
    Next,
}

struct Run {
    state: State,
    now_ns: u64,
    sequence: u32,
    generation: u32,
    is_unix: bool,
}

impl Run {
    fn new(is_unix: bool) -> Self {
        let mut state = State::new(false);
        (state.window_start_ns, state.watch_start_ns, state.time.is_light) = (1, 0, true);
        state.product.drops.start(1);
        state.product.drops.born(WORKER, 1);
        Self { state, now_ns: 1_000_000, sequence: 0, generation: 0, is_unix }
    }

    fn light(&mut self, what: LightWhat, captured: &[u8]) {
        self.sequence += 1;
        let (tgid, tid, sequence) = (WORKER, WORKER, self.sequence);
        let (inbound, bytes) = (what == LightWhat::Received, captured.to_vec());
        let head = Head { tgid, tid, sequence, fd: 9, inbound, offset_bytes: 0, bytes };
        self.state.heads.insert(tid, head);
        let light = Light {
            tgid,
            tid,
            what,
            socket: SOCKET,
            generation: self.generation,
            bytes: captured.len() as u64,
            arrival_ns: 0,
            is_unix: self.is_unix,
            account: Account { cpu_ns: 1_000_000, run_queue_ns: 0, blocked_ns: 0 },
            sequence,
            switches: 0,
            flags: 0,
        };
        self.state.light(&light, self.now_ns, &mut |_| {});
    }

    fn closed(&mut self, Ends { error, by_send, is_unused }: Ends) {
        let end = LightEnd {
            tgid: WORKER,
            socket: (SOCKET, self.generation),
            established_ns: 0,
            error,
            by_send,
            is_unused,
            is_unix: self.is_unix,
            ports: (8000, 40_000),
        };
        self.state.light_closed(&end, self.now_ns, &mut |_| {});
    }

    fn evidence(&mut self, sign: Sign, particular: impl FnOnce(&mut ConnectionEvidence)) {
        let mut of = ConnectionEvidence {
            sign,
            socket: (SOCKET, self.generation),
            is_waiting: false,
            is_taken: false,
            only_ports: false,
            established_ns: 500_000,
            unread_bytes: 3,
            unacknowledged_bytes: 0,
            local_port: 8000,
            peer_port: 40_000,
            closed_by: 0,
        };
        particular(&mut of);
        self.state.evidence(&Evidence::Connection(of), self.now_ns, &mut |_| {});
    }

    fn goes_on(&mut self, then: Then) {
        self.now_ns += 1_000_000;
        match then {
            Then::Received(head) => self.light(LightWhat::Received, head),
            Then::Sent(head) => self.light(LightWhat::Sent, head),
            Then::Closed(how) => self.closed(how),
            Then::Waiting(sign) => self.evidence(sign, |of| of.is_waiting = true),
            Then::TakenTime(sign) => self.evidence(sign, |of| of.is_taken = true),
            Then::Evidence(sign) => self.evidence(sign, |of| of.unacknowledged_bytes = 7),
            Then::Reset { taken } => self.evidence(Sign::ResetSent, |of| {
                (of.is_taken, of.closed_by) = (taken, WORKER);
            }),
            Then::LateReset => self.evidence(Sign::ResetSent, |of| of.only_ports = true),
            Then::Killed => {
                let sender_comm = "gunicorn".to_owned();
                let signal =
                    Signal { tgid: WORKER, number: 9, by_kernel: false, sender_tgid: 1, sender_comm };
                self.state.evidence(&Evidence::Signal(signal), self.now_ns, &mut |_| {});
            }
            Then::Exit(code) => {
                self.state.end_process(WORKER, code, self.now_ns, &mut |_| {});
            }
            Then::AcceptFails => {
                let failed = Evidence::AcceptFailed { tgid: WORKER, listener_fd: 3, result: EMFILE };
                self.state.evidence(&failed, self.now_ns, &mut |_| {});
            }
            Then::Next => self.generation += 1,
        }
    }

    fn ends(mut self) -> Dropped {
        let drops = std::mem::take(&mut self.state.product.drops);
        drops.finish(0, false, self.now_ns + 1_000_000, |_| Some(64), &mut |_| {})
    }
}

/// Served, nothing asked, and the cause of the others.
type Observed = (u64, u64, Option<&'static str>);

fn told(steps: &[Then], is_unix: bool) -> Observed {
    let mut run = Run::new(is_unix);
    for then in steps {
        run.goes_on(*then);
    }
    let dropped = run.ends();
    assert!(dropped.causes.len() <= 1 && dropped.total() <= 1, "{steps:?}: {:?}", dropped.causes);
    (dropped.served, dropped.nothing_asked, dropped.causes.first().map(|counted| counted.cause.name()))
}

#[test]
fn each_connection_has_the_verdict_of_what_became_of_it() {
    use Sign::{ClientEnded, ResetReceived, ResetSent};
    use Then::{
        AcceptFails, Closed, Evidence, Exit, Killed, LateReset, Next, Received, Reset, Sent, TakenTime,
        Waiting,
    };

    const SERVED: Observed = (1, 0, None);
    const NOTHING: Observed = (0, 1, None);
    let lost = |cause| (0, 0, Some(cause));
    let cases: &[(&str, &[Then], Observed)] = &[
        ("answered", &[Received(GET), Sent(OK), Closed(BY_WORKER)], SERVED),
        ("answered twice", &[Received(GET), Sent(OK), Received(GET), Sent(OK), Closed(BY_WORKER)], SERVED),
        ("answered up to the end", &[Received(GET), Sent(UNTIL_CLOSE), Closed(BY_WORKER)], SERVED),
        (
            "the client ends first",
            &[Received(GET), Sent(OK), Evidence(ClientEnded), Closed(BY_WORKER)],
            SERVED,
        ),
        ("its end was not seen", &[Received(GET), Sent(OK), Next, Received(GET)], SERVED),
        (
            "two asked at once, one answered",
            &[Received(TWO), Sent(OK), Closed(BY_WORKER)],
            lost("pipelined_discarded"),
        ),
        ("two asked at once, both answered", &[Received(TWO), Sent(OK), Sent(OK), Closed(BY_WORKER)], SERVED),
        ("nothing came", &[Closed(UNUSED)], NOTHING),
        ("not answered", &[Received(GET), Closed(BY_WORKER)], lost("closed_without_response")),
        ("not even read to the end", &[Received(HALF), Closed(BY_WORKER)], lost("closed_without_response")),
        ("not read", &[Reset { taken: true }], lost("closed_with_unread_data")),
        ("not read whole", &[Received(GET), Reset { taken: false }], lost("closed_with_unread_data")),
        ("cut short", &[Received(GET), Sent(CUT), Closed(BY_WORKER)], lost("response_cut_short")),
        ("raced", &[Received(GET), Sent(OK), Closed(BY_WORKER), LateReset], lost("keep_alive_race")),
        (
            "raced, by its address",
            &[Received(GET), Sent(OK), Closed(BY_WORKER), Evidence(ResetSent)],
            lost("keep_alive_race"),
        ),
        ("left in the queue for good", &[Waiting(ClientEnded)], lost("client_left_in_queue")),
        (
            "left in the queue, served all the same",
            &[Waiting(ClientEnded), Received(GET), Closed(EPIPE)],
            lost("client_left_in_queue"),
        ),
        (
            "left as it was accepted and not read",
            &[TakenTime(ClientEnded), Received(GET), Closed(EPIPE)],
            lost("client_left_waiting"),
        ),
        (
            "left while it waited",
            &[Received(GET), Evidence(ClientEnded), Closed(EPIPE)],
            lost("client_left_waiting"),
        ),
        (
            "reset while it waited",
            &[Received(GET), Evidence(ResetReceived), Closed(ECONNRESET)],
            lost("client_left_waiting"),
        ),
        (
            "reset while it waited, and closed without a word",
            &[Received(GET), Evidence(ResetReceived), Next, Closed(UNUSED)],
            (0, 1, Some("client_left_waiting")),
        ),
        (
            "left in the middle of the response",
            &[Received(GET), Sent(CUT), Evidence(ResetReceived), Closed(EPIPE)],
            lost("client_left_reading"),
        ),
        (
            "the answer was on its way",
            &[Received(GET), Sent(OK), Evidence(ResetReceived)],
            lost("client_left_reading"),
        ),
        ("killed", &[Received(GET), Killed, Exit(9), Closed(BY_WORKER)], lost("worker_timeout")),
        ("crashed", &[Received(GET), Exit(11)], lost("worker_crashed")),
        ("the worker ended", &[Received(GET), Exit(0), Reset { taken: false }], lost("worker_exited")),
        ("the worker gave up", &[AcceptFails, Exit(0x100), Reset { taken: true }], lost("accept_failed")),
        ("left as accept failed", &[AcceptFails, Waiting(ClientEnded)], lost("accept_failed")),
        ("the listener was closed", &[Waiting(ResetSent)], lost("listener_closed")),
    ];
    for (what, steps, expected) in cases {
        assert_eq!(told(steps, false), *expected, "{what}");
    }
}

#[test]
fn a_unix_socket_shows_no_end_and_gets_no_verdict() {
    use Then::{Closed, Next, Received, Sent};
    for steps in [
        &[Received(GET), Sent(OK), Next, Received(GET)][..],
        &[Received(GET), Closed(EPIPE)],
        &[Received(GET), Then::Exit(11)],
    ] {
        assert_eq!(told(steps, true), (0, 0, None), "{steps:?}");
    }
}

#[test]
fn accepts_that_fail_are_counted_with_the_clients_that_their_process_has() {
    let mut run = Run::new(false);
    for then in [Then::Received(GET), Then::AcceptFails, Then::AcceptFails] {
        run.goes_on(then);
    }
    let failures = run.ends().accept_failures;
    let told: Vec<_> = failures
        .iter()
        .map(|failure| (failure.tgid, failure.error, failure.count, failure.clients))
        .collect();
    assert_eq!(told, [(WORKER, "EMFILE", 2, 1)]);
}

#[test]
fn the_end_of_a_worker_names_the_request_at_hand() {
    let mut run = Run::new(false);
    for then in [Then::Received(GET), Then::Exit(11)] {
        run.goes_on(then);
    }
    let ends = run.ends().worker_ends;
    let told: Vec<_> = ends
        .iter()
        .map(|end| (end.cause.name(), end.connections, end.asked.as_ref().map(|asked| asked.path.as_str())))
        .collect();
    assert_eq!(told, [("worker_crashed", 1, Some("/a"))]);
}
