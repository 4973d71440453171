//! Verdicts: who went first is the cause.
//!
//! In: connections that are gone, with their signs, and what is known of their processes. Out: assertions on
//! causes.

mod answers;

use super::*;
use crate::machine::wire::request::{Active, Beginning};
use crate::machine::wire::signs::Failed;
use crate::model::dropped::Asked;

/// What it is, what is known of it beside the base, and the verdict.
type Case = (&'static str, fn(&mut Ended, &mut Scene<'static>), &'static str);

/// A connection made at 10, accepted at 20 and closed by its thread at 1000. Something was read, but no whole
/// head.
fn in_head() -> Ended {
    Ended::in_head(1, 1_000)
}

/// A connection with a request that came at 100, and no response.
fn unanswered() -> Ended {
    let request = Unfinished {
        asked: Asked::default(),
        start_ns: 100,
        responding: false,
        first_write_ns: 0,
        owed_bytes: None,
        in_head: false,
        is_cut: false,
        count: 1,
    };
    Ended { unfinished: Some(Box::new(request)), ..in_head() }
}

/// A connection with a response that began at 200 and is not whole.
fn responding() -> Ended {
    let mut ended = unanswered();
    let request = ended.unfinished.as_mut().unwrap();
    (request.responding, request.first_write_ns) = (true, 200);
    ended
}

/// A connection with a request that was answered from 200 to 300 by 200 OK.
fn answered() -> Ended {
    let mut request = Active::new(&Beginning::at(1, 100), 7, 7).request;
    (request.times.first_write_ns, request.times.end_ns, request.http.status) = (Some(200), 300, 200);
    let mut ended = in_head();
    ended.signs.answers(&request);
    ended
}

fn request(ended: &mut Ended) -> &mut Unfinished {
    ended.unfinished.as_mut().unwrap()
}

fn last(ended: &mut Ended) -> &mut Answered {
    ended.signs.answered.as_mut().unwrap()
}

/// A call that failed, as its client was gone.
fn failed(ended: &mut Ended, at_ns: u64, writing: bool) {
    ended.signs.failed = Some(Failed { at_ns, error: "EPIPE", writing });
}

fn crashed(ended: &mut Ended, scene: &mut Scene<'_>) {
    (ended.how, scene.end) = (How::ProcessGone, Some((Cause::WorkerCrashed, "SIGSEGV")));
}

fn aborted(scene: &mut Scene<'_>) {
    scene.aborted = Some("SIGABRT from its master".to_owned());
}

fn verdict(base: fn() -> Ended, set_up: impl Fn(&mut Ended, &mut Scene<'static>)) -> Verdict {
    let mut scene = Scene {
        end: None,
        aborted: None,
        accept_failed: None,
        gave_up: None,
        inside: None,
        passed_on: false,
        kind: "",
    };
    let mut ended = base();
    set_up(&mut ended, &mut scene);
    judge(&ended, &scene)
}

fn check(base: fn() -> Ended, cases: &[Case]) {
    for (what, set_up, expected) in cases {
        let told = match verdict(base, set_up) {
            Verdict::Served => "served",
            Verdict::NothingAsked => "nothing_asked",
            Verdict::Dropped { cause, .. } => cause.name(),
        };
        assert_eq!(told, *expected, "{what}");
    }
}

#[test]
fn a_connection_without_a_request_is_dropped_only_where_something_was_asked() {
    let cases: &[Case] = &[
        ("nothing came", |ended, _| ended.signs.has_read = false, "nothing_asked"),
        ("the server closed it in the head", |_, _| {}, "closed_without_response"),
        (
            "it was turned away",
            |ended, _| (ended.signs.has_read, ended.signs.turned_away) = (false, true),
            "accept_failed",
        ),
        (
            "it was turned away, and went with its process",
            |ended, _| {
                (ended.signs.has_read, ended.signs.turned_away, ended.how) = (false, true, How::ProcessGone)
            },
            "nothing_asked",
        ),
        (
            "it was not turned away: it was read",
            |ended, _| ended.signs.turned_away = true,
            "closed_without_response",
        ),
        (
            "what came was not read",
            |ended, _| (ended.signs.has_read, ended.signs.reset_sent) = (false, Some((900, 5))),
            "closed_with_unread_data",
        ),
        ("the client left in its head", |ended, _| ended.signs.client_ended_ns = 500, "client_left_waiting"),
        (
            "it left as the server closed",
            |ended, _| ended.signs.client_ended_ns = 1_000,
            "client_left_waiting",
        ),
        (
            "the server closed first",
            |ended, _| ended.signs.client_ended_ns = 1_001,
            "closed_without_response",
        ),
        ("it had left in the queue", |ended, _| ended.signs.client_ended_ns = 15, "client_left_in_queue"),
        ("it left as it was accepted", |ended, _| ended.signs.client_ended_ns = 20, "client_left_in_queue"),
        ("it left right after that", |ended, _| ended.signs.client_ended_ns = 21, "client_left_waiting"),
        (
            "it had left as accept failed",
            |ended, scene| (ended.signs.client_ended_ns, scene.accept_failed) = (20, Some("EMFILE")),
            "accept_failed",
        ),
        (
            "it left later, accept had failed before",
            |ended, scene| (ended.signs.client_ended_ns, scene.accept_failed) = (21, Some("EMFILE")),
            "client_left_waiting",
        ),
        ("the process crashed", crashed, "worker_crashed"),
        (
            "the thread closed it, then the process crashed",
            |ended, scene| {
                crashed(ended, scene);
                ended.how = How::Closed;
            },
            "closed_without_response",
        ),
        (
            "the process gave up, and left it unread",
            |ended, scene| {
                (ended.signs.has_read, ended.signs.reset_sent) = (false, Some((900, 5)));
                scene.gave_up = Some("EMFILE");
            },
            "accept_failed",
        ),
        (
            "the process gave up after it was read",
            |_, scene| scene.gave_up = Some("EMFILE"),
            "closed_without_response",
        ),
        (
            "the other end of a UNIX socket left",
            |ended, _| (ended.origin.is_unix, ended.signs.client_ended_ns) = (true, 500),
            "front_end_gave_up",
        ),
    ];
    check(in_head, cases);
}

#[test]
fn a_request_without_a_response_is_lost_by_whoever_went_first() {
    let cases: &[Case] = &[
        ("the server closed", |_, _| {}, "closed_without_response"),
        ("the client left", |ended, _| ended.signs.client_ended_ns = 500, "client_left_waiting"),
        (
            "the client reset it",
            |ended, _| ended.signs.reset_received = Some((500, 0)),
            "client_left_waiting",
        ),
        ("a call failed", |ended, _| failed(ended, 500, false), "client_left_waiting"),
        (
            "the client left after the close",
            |ended, _| ended.signs.client_ended_ns = 1_001,
            "closed_without_response",
        ),
        (
            "the server left bytes unread",
            |ended, _| ended.signs.reset_sent = Some((1_000, 5)),
            "closed_with_unread_data",
        ),
        ("the master aborted the worker", |_, scene| aborted(scene), "worker_timeout"),
        (
            "aborted with bytes unread",
            |ended, scene| {
                ended.signs.reset_sent = Some((1_000, 5));
                aborted(scene);
            },
            "worker_timeout",
        ),
        (
            "the end of the process says more than that it was aborted",
            |ended, scene| {
                crashed(ended, scene);
                aborted(scene);
            },
            "worker_crashed",
        ),
        (
            "the client left before the process crashed",
            |ended, scene| {
                crashed(ended, scene);
                ended.signs.client_ended_ns = 500;
            },
            "client_left_waiting",
        ),
        (
            "it was read with the one that was answered",
            |ended, _| {
                ended.signs.answered = answered().signs.answered;
                request(ended).start_ns = 300;
            },
            "pipelined_discarded",
        ),
        (
            "it came after that one was answered",
            |ended, _| {
                ended.signs.answered = answered().signs.answered;
                request(ended).start_ns = 301;
            },
            "closed_without_response",
        ),
        (
            "it was read with that one, and the process crashed",
            |ended, scene| {
                ended.signs.answered = answered().signs.answered;
                crashed(ended, scene);
            },
            "worker_crashed",
        ),
    ];
    check(unanswered, cases);
}

#[test]
fn a_response_that_is_not_whole_is_the_clients_doing_only_where_the_client_was_gone() {
    let cases: &[Case] = &[
        ("the server closed", |_, _| {}, "response_cut_short"),
        ("a write failed", |ended, _| failed(ended, 500, true), "client_left_reading"),
        ("a write failed after the close", |ended, _| failed(ended, 1_500, true), "client_left_reading"),
        (
            "the client was gone before the response",
            |ended, _| failed(ended, 199, true),
            "client_left_waiting",
        ),
        ("it was gone as the response began", |ended, _| failed(ended, 200, true), "client_left_reading"),
        (
            "the client reset it",
            |ended, _| ended.signs.reset_received = Some((500, 9)),
            "client_left_reading",
        ),
        (
            "the client only ended its side",
            |ended, _| ended.signs.client_ended_ns = 500,
            "response_cut_short",
        ),
        (
            "it ended its side, and the loop stopped in the middle",
            |ended, _| (ended.signs.client_ended_ns, request(ended).is_cut) = (200, true),
            "client_left_reading",
        ),
        (
            "it had ended its side before",
            |ended, _| (ended.signs.client_ended_ns, request(ended).is_cut) = (199, true),
            "response_cut_short",
        ),
        (
            "the loop stopped in the middle by itself",
            |ended, _| request(ended).is_cut = true,
            "response_cut_short",
        ),
        ("the process crashed", crashed, "worker_crashed"),
        ("the master aborted the worker", |_, scene| aborted(scene), "worker_timeout"),
        (
            "the client was gone before the process crashed",
            |ended, scene| {
                crashed(ended, scene);
                failed(ended, 500, true);
            },
            "client_left_reading",
        ),
    ];
    check(responding, cases);
}

#[test]
fn what_of_a_response_is_missing_is_said() {
    for (owed_bytes, in_head, expected) in [
        (Some(5), false, "5 bytes of its body were never written"),
        (None, true, "its head was never written to the end"),
        (None, false, "its end was never written"),
    ] {
        let told = verdict(responding, |ended, _| {
            (request(ended).owed_bytes, request(ended).in_head) = (owed_bytes, in_head);
        });
        assert_eq!(told, dropped(Cause::ResponseCutShort, expected));
    }
}
