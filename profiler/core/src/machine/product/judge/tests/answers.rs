//! Verdicts on connections whose last request was answered.
//!
//! In: what became of the answer, and what came behind it. Out: assertions on causes.

use super::*;

#[test]
fn an_answer_is_lost_where_the_client_did_not_take_it_and_served_where_it_did() {
    let cases: &[Case] = &[
        ("all is well", |_, _| {}, "served"),
        ("the client closes with its answer", |ended, _| ended.signs.client_ended_ns = 500, "served"),
        ("it resets, and has all", |ended, _| ended.signs.reset_received = Some((900, 0)), "served"),
        (
            "it resets without the last byte",
            |ended, _| ended.signs.reset_received = Some((900, 1)),
            "client_left_reading",
        ),
        (
            "only the server's FIN was on its way",
            |ended, _| ended.signs.reset_received = Some((1_001, 1)),
            "served",
        ),
        ("and a byte more", |ended, _| ended.signs.reset_received = Some((1_001, 2)), "client_left_reading"),
        ("a read failed", |ended, _| failed(ended, 500, false), "served"),
        ("a write failed", |ended, _| failed(ended, 500, true), "client_left_reading"),
        ("the worker was aborted after it answered", |_, scene| aborted(scene), "served"),
        (
            "the worker was aborted and answered an error",
            |ended, scene| {
                last(ended).status = 500;
                aborted(scene);
            },
            "worker_timeout",
        ),
        ("the process ended later", crashed, "served"),
    ];
    check(answered, cases);
}

#[test]
fn what_came_behind_an_answer_is_a_race_on_a_kept_connection_and_thrown_away_on_another() {
    let cases: &[Case] = &[
        ("on a kept connection", |ended, _| ended.signs.reset_sent = Some((1_001, 5)), "keep_alive_race"),
        ("read and thrown away there", |ended, _| ended.signs.discarded_bytes = 5, "keep_alive_race"),
        (
            "the client then closed",
            |ended, _| (ended.signs.discarded_bytes, ended.signs.client_ended_ns) = (5, 990),
            "keep_alive_race",
        ),
        (
            "the client had closed behind it",
            |ended, _| (ended.signs.reset_sent, ended.signs.client_ended_ns) = (Some((1_001, 5)), 990),
            "keep_alive_race",
        ),
        (
            "behind an answer that ended the connection",
            |ended, _| (ended.signs.reset_sent, last(ended).closes) = (Some((1_001, 5)), true),
            "pipelined_discarded",
        ),
        (
            "read and thrown away there, too",
            |ended, _| (ended.signs.discarded_bytes, last(ended).closes) = (5, true),
            "pipelined_discarded",
        ),
        (
            "the rest of the answered request, unread",
            |ended, _| (ended.signs.reset_sent, ended.in_request) = (Some((900, 5)), true),
            "closed_with_unread_data",
        ),
        (
            "the rest of it, thrown away",
            |ended, _| (ended.signs.discarded_bytes, ended.in_request) = (5, true),
            "served",
        ),
        (
            "the process crashed with it",
            |ended, scene| {
                ended.signs.reset_sent = Some((1_001, 5));
                crashed(ended, scene);
            },
            "worker_crashed",
        ),
        (
            "the front end passed on the answer before",
            |ended, scene| (ended.signs.reset_sent, scene.passed_on) = (Some((1_001, 5)), true),
            "keep_alive_race",
        ),
    ];
    check(answered, cases);
}

#[test]
fn an_error_is_the_applications_answer_unless_the_server_or_its_front_end_made_it() {
    let cases: &[Case] = &[
        ("the application's", |ended, _| last(ended).status = 502, "served"),
        (
            "gunicorn's own page",
            |ended, scene| {
                (last(ended).status, last(ended).connection_first, scene.kind) = (400, true, "gunicorn")
            },
            "server_error",
        ),
        (
            "the application's, on gunicorn",
            |ended, scene| (last(ended).status, scene.kind) = (400, "gunicorn"),
            "served",
        ),
        (
            "the front end's own",
            |ended, _| (last(ended).status, ended.origin.side) = (502, Side::Front),
            "front_end_gave_up",
        ),
        (
            "the front end no longer waited",
            |ended, _| (last(ended).status, ended.origin.side) = (504, Side::Front),
            "front_end_gave_up",
        ),
        (
            "its client left",
            |ended, _| (last(ended).status, ended.origin.side) = (499, Side::Front),
            "front_end_gave_up",
        ),
        ("another status", |ended, _| (last(ended).status, ended.origin.side) = (500, Side::Front), "served"),
        (
            "passed on",
            |ended, scene| {
                (last(ended).status, ended.origin.side, scene.passed_on) = (502, Side::Front, true)
            },
            "served",
        ),
        (
            "Apache's in the place of its daemon",
            |ended, scene| {
                (last(ended).status, ended.origin.side, scene.kind) = (503, Side::Front, "mod_wsgi")
            },
            "queue_timeout",
        ),
        (
            "the server behind it crashed",
            |ended, scene| {
                (last(ended).status, ended.origin.side) = (502, Side::Front);
                scene.inside = Some((Cause::WorkerCrashed, "SIGSEGV".to_owned()));
            },
            "worker_crashed",
        ),
    ];
    check(answered, cases);
}

/// An answered connection whose server does the TLS itself, kept for half a second. Its client's TLS sends up
/// to 50 bytes without a request.
fn encrypted() -> Ended {
    Ended { is_encrypted: true, quiet_bytes: Some(50), at_ns: 300 + KEPT_MIN_NS, ..answered() }
}

#[test]
fn a_farewell_in_tls_is_neither_a_request_nor_a_part_of_the_answer() {
    let cases: &[Case] = &[
        ("all is well", |_, _| {}, "served"),
        (
            "the server's farewell never came",
            |ended, _| ended.signs.reset_received = Some((900, 86)),
            "served",
        ),
        ("more never came", |ended, _| ended.signs.reset_received = Some((900, 87)), "client_left_reading"),
        ("a write failed", |ended, _| failed(ended, 500, true), "client_left_reading"),
        (
            "the farewell failed, as the client had left with its answer",
            |ended, _| {
                ended.signs.client_ended_ns = 300;
                failed(ended, 500, true);
            },
            "served",
        ),
        (
            "the client had left before the answer was whole",
            |ended, _| {
                ended.signs.client_ended_ns = 299;
                failed(ended, 500, true);
            },
            "client_left_reading",
        ),
        ("the client's farewell came late", |ended, _| ended.signs.reset_sent = Some((900, 51)), "served"),
        ("a request came late", |ended, _| ended.signs.reset_sent = Some((900, 52)), "keep_alive_race"),
        ("a request was thrown away", |ended, _| ended.signs.discarded_bytes = 52, "keep_alive_race"),
        (
            "how long a farewell is, is not known",
            |ended, _| (ended.signs.reset_sent, ended.quiet_bytes) = (Some((900, 500)), None),
            "served",
        ),
        (
            "the connection was not kept",
            |ended, _| (ended.signs.reset_sent, ended.at_ns) = (Some((900, 52)), 299 + KEPT_MIN_NS),
            "served",
        ),
        (
            "the server had ended its side with the answer",
            |ended, _| (ended.signs.reset_sent, ended.signs.shut_ns) = (Some((900, 52)), 310),
            "served",
        ),
        (
            "the process crashed as a request came",
            |ended, scene| {
                ended.signs.reset_sent = Some((900, 52));
                crashed(ended, scene);
            },
            "worker_crashed",
        ),
    ];
    check(encrypted, cases);
}
