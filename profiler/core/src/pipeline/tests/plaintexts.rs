//! Requests over TLS that the server's OpenSSL names: which they are, and which stay without a name.
//!
//! In: scripts of threads that read records, and what OpenSSL has of them. Out: assertions.

use super::encrypted::record;
use super::*;
use crate::event::Plaintext;

/// What a thread does.
#[derive(Clone, Copy, Debug)]
enum Do {
    /// Accepts a connection, and shakes hands.
    Accept(i32),
    /// Reads a request there, as OpenSSL reads records.
    Read(i32),
    /// Reads the header of its record alone.
    Begin(i32),
    /// OpenSSL has this on the connection of its object.
    Asked(u64, &'static str),
    /// The object has these bytes to be sent.
    Answers(u64, &'static str),
    /// Sends an answer.
    Write(i32),
    Close(i32),
}

use Do::{Accept, Answers, Asked, Begin, Close, Read, Write};

const A: &str = "GET /a HTTP/1.1\r\nxxxx:x\r\n\r\n";
const B: &str = "POST /b?xx HTTP/1.1\r\nContent-Length: 70000\r\n\r\n";
const C: &str = "GET /c HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 xx\r\nxxxxxx: x";
const GONE: &str = "HTTP/1.1 410 xxxx\r\n\r\n";

impl Script {
    fn plaintext(mut self, session: u64, inbound: bool, text: &str) -> Self {
        let script = &mut self;
        script.gap.cpu_ns += US;
        let time_ns = script.now_ns + script.gap.total_ns();
        let (tgid, tid) = (script.tgid, script.tid);
        let seen = Plaintext { tgid, tid, session, inbound, bytes: text.as_bytes().to_vec() };
        script.events.push(Event { time_ns, body: Body::Plaintext(seen) });
        self
    }

    fn all(self, steps: &[Do]) -> Self {
        steps.iter().fold(self, |script, step| {
            let now_ns = script.now_ns;
            match *step {
                Accept(fd) => script.accept(fd, (1, 0, 0)).handshake(fd),
                Read(fd) => script.read_record(fd, &record(23, 80), now_ns),
                Begin(fd) => script.read(fd, &record(23, 80)[..5], now_ns, (1, 0, 0)),
                Asked(session, text) => script.plaintext(session, true, text),
                Answers(session, text) => script.plaintext(session, false, text),
                Write(fd) => script.cpu(30).write(fd, 900, (5, 0, 0)),
                Close(fd) => script.call(Call::Close { fd }, 0, (1, 0, 0), 0),
            }
        })
    }
}

/// Probes are placed from the start on.
fn placed() -> Event {
    let programs = vec![Attached::TLS_READS.to_owned()];
    let attached = Attached { arrival_measured: true, programs, ..Attached::default() };
    Event { time_ns: START, body: Body::Fact(Box::new(Fact::Attached(attached))) }
}

fn requests_of(threads: &[&[Do]], is_placed: bool) -> Vec<Request> {
    let mut scripts: Vec<Script> =
        (1..).zip(threads).map(|(tid, steps)| Script::new(tid).all(steps)).collect();
    if is_placed {
        scripts[0].events.insert(0, placed());
    }
    let outcome = run(scripts, 10_000);
    assert_eq!(outcome.snapshot.coverage.losses.impossible, []);
    let mut requests = outcome.requests;
    requests.sort_by_key(|request| request.id);
    let sums = &outcome.snapshot.requests;
    let hidden = requests.iter().filter(|request| request.http.method.is_empty()).count() as u64;
    assert_eq!((sums.not_http, sums.inferred_framing), (hidden, requests.len() as u64 - hidden));
    requests
}

/// Method, path and status of each request; a hidden one has none.
fn names(threads: &[&[Do]]) -> Vec<String> {
    let name = |request: Request| {
        let http = request.http;
        let is_hidden = http.framing == Framing::NotHttp;
        assert_eq!(is_hidden, http.method.is_empty(), "{http:?}");
        format!("{} {} {}", http.method, http.path, http.status).trim().to_owned()
    };
    requests_of(threads, true).into_iter().map(name).collect()
}

const HIDDEN: &str = "0";

#[test]
fn a_request_is_what_openssl_has_after_its_thread_has_read_it_and_its_status_what_is_then_sent() {
    let once: &[Do] = &[Accept(9), Read(9), Asked(7, A), Answers(7, OK), Write(9)];
    assert_eq!(names(&[once]), ["GET /a 200"]);
    let again: &[Do] = &[Read(9), Asked(7, B), Asked(7, "xxxx"), Answers(7, GONE), Write(9), Close(9)];
    assert_eq!(names(&[&[once, again].concat()]), ["GET /a 200", "POST /b 410"]);
    // Threads that serve others at the same time.
    let other: &[Do] = &[Accept(10), Read(10), Asked(8, C), Answers(8, GONE), Write(10)];
    assert_eq!(names(&[once, other]), ["GET /a 200", "GET /c 410"]);
    // More reads than one, or fewer, for a head: the header of its record alone is no candidate.
    let both: &[Do] = &[Accept(9), Accept(10), Begin(9), Read(10), Asked(8, C), Answers(8, OK), Write(10)];
    assert_eq!(names(&[both]), [HIDDEN, "GET /c 200"]);
}

#[test]
fn where_two_could_be_meant_neither_is_named_until_one_is_known() {
    let start: &[Do] = &[Accept(9), Accept(10)];
    let at_once: &[Do] = &[Read(9), Read(10), Asked(7, A), Asked(8, B), Write(9), Write(10)];
    let names_after = |steps: &[&[Do]]| {
        let all: Vec<Do> = [start].iter().chain(steps).flat_map(|part| part.iter().copied()).collect();
        names(&[&all])
    };
    assert_eq!(names_after(&[at_once]), [HIDDEN, HIDDEN]);
    let one_by_one: &[Do] = &[Read(9), Asked(7, C), Write(9), Read(10), Asked(8, C), Write(10)];
    assert_eq!(names_after(&[at_once, one_by_one]), [HIDDEN, HIDDEN, "GET /c 0", "GET /c 0"]);
    // Once the objects are known, the order says nothing.
    let crossed: &[Do] = &[Read(9), Read(10), Asked(8, B), Asked(7, A), Answers(8, GONE), Answers(7, OK)];
    let written: &[Do] = &[Write(9), Write(10)];
    let expected = ["GET /c 0", "GET /c 0", "GET /a 200", "POST /b 410"];
    assert_eq!(names_after(&[one_by_one, crossed, written]), expected);
    // One that is answered or gone is no candidate any more.
    let missed: &[Do] = &[Read(9), Write(9), Read(10), Asked(8, B)];
    assert_eq!(names_after(&[missed]), [HIDDEN, "POST /b 0"]);
    let gone: &[Do] = &[Read(9), Close(9), Read(10), Asked(8, B)];
    assert_eq!(names_after(&[gone]), [HIDDEN, "POST /b 0"]);
}

#[test]
fn what_openssl_is_not_seen_to_have_costs_a_name_and_what_it_has_besides_changes_none() {
    let opening: &[Do] = &[Accept(9), Read(9), Asked(7, A), Answers(7, OK), Write(9)];
    let of = |steps: &[Do]| names(&[&[opening, steps].concat()])[1..].to_vec();
    assert_eq!(
        of(&[Read(9), Answers(7, OK), Write(9), Read(9), Asked(7, C), Write(9)]),
        [HIDDEN, "GET /c 0"]
    );
    // An interim answer; a second head before the answer, and one behind it; another client's objects.
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(of(&[Read(9), Asked(7, B), Answers(7, interim), Answers(7, OK), Write(9)]), ["POST /b 200"]);
    let more = [Read(9), Asked(7, B), Asked(7, A), Answers(7, OK), Answers(7, GONE), Write(9), Asked(7, C)];
    assert_eq!(of(&more), ["POST /b 200"]);
    assert_eq!(of(&[Read(9), Answers(8, OK), Asked(8, C), Write(9)]), [HIDDEN]);
    // Not HTTP/1, or redacted.
    for text in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "xxx xx xxxxxxxx\r\n\r\n", "GET /a", ""] {
        assert_eq!(of(&[Read(9), Asked(7, text), Write(9)]), [HIDDEN], "{text:?}");
    }
}

#[test]
fn an_object_whose_connection_is_gone_is_that_of_the_next_one() {
    let steps = [Accept(9), Read(9), Asked(7, A), Write(9), Close(9)];
    let next = [Accept(9), Read(9), Asked(7, C), Answers(7, OK), Write(9)];
    assert_eq!(names(&[&[steps, next].concat()]), ["GET /a 0", "GET /c 200"]);
    // An object may be given away before its connection is closed, if that has been answered; never by the
    // rest of a request.
    let other = [Accept(10), Read(10), Asked(7, C), Answers(7, OK), Write(10)];
    assert_eq!(names(&[&[&steps[..4], &other].concat()]), ["GET /a 0", "GET /c 200"]);
    assert_eq!(names(&[&[&steps[..3], &other].concat()]), ["GET /a 200", HIDDEN]);
    let rest = [Accept(10), Read(10), Asked(7, "xxxx"), Answers(7, OK), Write(10)];
    assert_eq!(names(&[&[&steps[..4], &rest].concat()]), ["GET /a 0", HIDDEN]);
}

#[test]
fn names_change_no_time_and_nothing_is_named_where_no_probe_is_placed() {
    let steps: &[Do] = &[
        Accept(9),
        Read(9),
        Asked(7, A),
        Answers(7, OK),
        Write(9),
        Read(9),
        Asked(7, B),
        Answers(7, GONE),
        Write(9),
        Close(9),
    ];
    let named = requests_of(&[steps], true);
    let hidden = requests_of(&[steps], false);
    assert!(named.iter().all(|request| request.http.status != 0));
    for (named, hidden) in named.into_iter().zip(hidden) {
        assert_eq!((hidden.http.method.as_str(), hidden.http.framing), ("", Framing::NotHttp));
        assert_eq!(Request { http: hidden.http.clone(), ..named }, hidden);
    }
}
