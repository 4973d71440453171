//! Which recordings there must be: every kind of server and every way to look has one that shows it.
//!
//! In: the recordings. Out: a failure that names the kind that none shows.

use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;
use wsgi_trace_test_support::replayed::Replayed;
use wsgi_trace_test_support::scenario::all;

/// What makes a recording one of a kind, seen in what it gives.
type Shows = fn(&Replayed) -> bool;

fn is(replayed: &Replayed, name: &str, worker_class: &str) -> bool {
    let server = &replayed.last.server;
    server.name == name && server.worker_class == worker_class && replayed.last.requests.completed > 10
}

fn is_light(replayed: &Replayed) -> bool {
    replayed.last.attached.is_light() && replayed.last.requests.completed > 10
}

fn has_time(replayed: &Replayed, phase: Phase) -> bool {
    replayed.last.requests.phases.get(phase) > 0
}

/// On a loop several requests were open at once, and loops were distinguished from pools.
fn interleaves(window: &Snapshot) -> bool {
    window.requests.peak_in_flight > 1 && window.event_loops.iter().any(|one| one.turns > 50)
}

/// Requests left the loop for a thread.
fn leaves_the_loop(window: &Snapshot) -> bool {
    window.event_loops.iter().any(|one| one.pooled > 5)
}

/// A WebSocket and a stream of events had ended, and one of each had not.
fn lasts(window: &Snapshot) -> bool {
    let rows = &window.requests.lasting;
    rows.len() == 2 && rows.iter().all(|row| row.count > row.open && row.open > 0)
}

const KINDS: [(&str, Shows); 36] = [
    ("gunicorn sync", |one| is(one, "gunicorn", "sync")),
    ("gunicorn gthread", |one| is(one, "gunicorn", "gthread")),
    ("gunicorn gevent", |one| is(one, "gunicorn", "gevent") && interleaves(&one.last)),
    ("gevent pywsgi", |one| is(one, "gevent", "gevent") && interleaves(&one.last)),
    ("uvicorn ASGI", |one| is(one, "uvicorn", "asyncio") && interleaves(&one.last)),
    ("Starlette with threads", |one| {
        has_setting(one, "starlette_app:application") && leaves_the_loop(&one.last)
    }),
    ("a2wsgi", |one| has_setting(one, "a2wsgi_app:application") && leaves_the_loop(&one.last)),
    ("Twisted", |one| is(one, "twisted", "reactor") && leaves_the_loop(&one.last)),
    ("Waitress", |one| is(one, "waitress", "pool")),
    ("uWSGI with processes", |one| is(one, "uwsgi", "sync")),
    ("uWSGI with threads", |one| is(one, "uwsgi", "threads")),
    ("mod_wsgi daemon", |one| is(one, "mod_wsgi", "daemon")),
    ("mod_wsgi embedded", |one| is(one, "mod_wsgi", "embedded")),
    ("a front end that is traced", |one| one.last.front_end.as_ref().is_some_and(|front| front.joined > 10)),
    ("TLS in the server", |one| {
        let requests = &one.last.requests;
        // Connections were kept: some began with a handshake, others went on.
        requests.not_http > 10 && requests.not_http == requests.completed + requests.open.count
    }),
    ("TLS in the server, whose OpenSSL is read", |one| {
        let requests = &one.last.requests;
        one.last.attached.reads_tls() && requests.not_http == 0 && requests.inferred_framing > 10
    }),
    ("light mode", is_light),
    ("light mode, all slots busy", |one| is_light(one) && one.last.slots.exhausted_ns > 0),
    ("light mode, waits for the interpreter lock", |one| is_light(one) && one.last.gil.waits.count() > 100),
    ("light mode, clients slow to send", |one| is_light(one) && has_time(one, Phase::ClientReadStall)),
    ("light mode, clients slow to receive", |one| is_light(one) && has_time(one, Phase::ClientWriteStall)),
    ("light mode, clients that left", |one| is_light(one) && drops(one, &["client_left_waiting"])),
    ("light mode at a UNIX socket", |one| {
        is_light(one) && one.last.sockets.listeners.iter().any(|listener| listener.seen.family == "unix")
    }),
    ("light mode, TLS in the server", |one| is_light(one) && one.last.requests.not_http > 10),
    ("light mode, an event loop", |one| {
        is_light(one) && one.last.slots.not_measured.is_some() && has_time(one, Phase::Unexplained)
    }),
    ("light mode, requests handed to a pool", |one| is_light(one) && is(one, "waitress", "pool")),
    ("light mode, a window that rolled", |one| is_light(one) && !one.windows.is_empty()),
    ("connections that last", |one| !one.last.attached.is_light() && lasts(&one.last)),
    ("light mode, connections that last", |one| one.last.attached.is_light() && lasts(&one.last)),
    ("clients that left", |one| {
        drops(one, &["client_left_waiting", "client_left_reading", "client_left_in_queue"])
    }),
    ("answers that were cut short", |one| {
        drops(one, &["response_cut_short", "pipelined_discarded", "server_error"])
    }),
    ("waits for the interpreter lock", |one| one.last.gil.waits.count() > 10),
    ("threads that are slots, whatever loop's library is loaded", |one| {
        has_setting(one, "stack_flask:app") && is(one, "uwsgi", "threads") && one.last.event_loops.is_empty()
    }),
    ("a pool of connections that has run dry", |one| {
        let phases = &one.last.requests.phases;
        has_setting(one, "stack_django:app") && phases.get(Phase::LockWait) > phases.get(Phase::BackendWait)
    }),
    ("a question for each row", |one| {
        one.last.by_endpoint.list.iter().any(|of| of.count > 3 && of.round_trips.total() == 31 * of.count)
    }),
    ("a window that rolled", |one| {
        // What began in the one ended in the other.
        let went_over = one.windows.first().is_some_and(|first| first.requests.open.count > 0);
        went_over && one.windows.iter().chain([&one.last]).all(|window| window.requests.completed > 10)
    }),
];

fn has_setting(one: &Replayed, value: &str) -> bool {
    one.last.server.settings.iter().any(|setting| setting.value == value)
}

fn drops(one: &Replayed, causes: &[&str]) -> bool {
    causes.iter().all(|cause| one.last.dropped.causes.iter().any(|counted| counted.cause.name() == *cause))
}

#[test]
fn every_kind_of_server_and_every_way_to_look_has_a_recording() {
    let replayed: Vec<Replayed> = all()
        .map(|scenario| Replayed::of(&scenario.recording(), &mut |_| {}).expect(scenario.name))
        .collect();
    let missing: Vec<&str> =
        KINDS.iter().filter(|(_, shows)| !replayed.iter().any(shows)).map(|(kind, _)| *kind).collect();
    assert!(missing.is_empty(), "no recording shows {missing:?}");
}
