//! A front end answers in the server's place: its own timeout, the server's end, a full queue behind it,
//! Apache's and mod_wsgi's timeouts.
//!
//! In: servers behind front ends, clients that write down what they saw, nginx's own log. Out: verdicts.

use std::collections::BTreeMap;

use wsgi_trace_test_support::dropping::{Clients, Drops, Seen};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Listen, Settings, Version};
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::nginx::{Link, Nginx};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;
use wsgi_trace_test_support::{require_bpf, require_nginx};

use crate::carry_out;

/// What clients saw of nginx and a server traced together, what nginx logged, and the report.
fn behind_nginx(recipe: &dyn Recipe, arguments: &[&str]) -> anyhow::Result<(Seen, Vec<u16>, Drops)> {
    let server = Server::start(recipe)?;
    let nginx = server.pids().get(1).copied().filter(|_| recipe.traces_front_end());
    let trace = match nginx {
        Some(nginx) => Trace::start_with(server.pid(), &[&format!("--with-front-end={nginx}")])?,
        None => Trace::start(server.pid())?,
    };
    let seen = Clients::run(server.address(), arguments)?;
    let mut logged = Vec::new();
    if nginx.is_some() {
        logged = server.log(seen.clients.len())?.iter().map(|line| line.status).collect();
        logged.sort_unstable();
    }
    Ok((seen, logged, Drops::of(&trace.end()?)?))
}

fn counts(drops: &Drops) -> Vec<(&str, u64)> {
    drops.counts().into_iter().collect()
}

#[test]
#[ignore = "make live: waits for time-outs"]
fn nginx_that_loses_patience_has_given_up_and_its_client_that_does_has_left() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_nginx!(Ok(()));
    let _turn = shared()?;
    let patience = "proxy_read_timeout 1s;";
    let nginx = Nginx::before(Settings::sync(Version::V27, 2), Link::Tcp).with(patience);
    // nginx answers 504, and in the other case logs 499.
    let (seen, logged, drops) =
        behind_nginx(&nginx, &["--after", "0.3", "get:/fast", "get:/sleep/2500", "leave:/sleep/600"])?;
    assert_eq!((seen.count("200"), seen.count("504"), seen.count("left")), (1, 1, 1), "{seen:?}");
    assert_eq!(logged, [200, 499, 504]);
    assert_eq!(counts(&drops), [("client_left_waiting", 1), ("front_end_gave_up", 1)], "{drops:?}");
    assert_eq!(drops.served, 1, "{drops:?}");
    // A server that is traced alone sees the other end of its UNIX socket go.
    let nginx = Nginx::before(Settings::sync(Version::V27, 1), Link::Unix).with(patience).untraced();
    let (seen, _, drops) = behind_nginx(&nginx, &["get:/fast", "get:/sleep/1500", "get:/fast"])?;
    assert_eq!((seen.count("200"), seen.count("504")), (2, 1), "{seen:?}");
    assert_eq!(counts(&drops), [("front_end_gave_up", 1)], "{drops:?}");
    Ok(())
}

#[test]
#[ignore = "make live: a server behind nginx"]
fn an_error_of_nginx_has_the_cause_that_the_server_s_connection_ended_by() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_nginx!(Ok(()));
    let _turn = shared()?;
    let nginx = Nginx::before(Settings::sync(Version::V27, 2), Link::Tcp);
    let (seen, logged, drops) = behind_nginx(&nginx, &["get:/leave", "get:/fault", "get:/fast"])?;
    assert_eq!((seen.count("200"), seen.count("502")), (1, 2), "{seen:?}");
    assert_eq!(logged, [200, 502, 502]);
    assert_eq!(counts(&drops), [("worker_crashed", 1), ("worker_exited", 1)], "{drops:?}");
    // An exception ends uWSGI's connection without an answer.
    let nginx = Nginx::before(Uwsgi::new(1, 1), Link::Tcp);
    let (seen, _, drops) = behind_nginx(&nginx, &["get:/error", "get:/fast"])?;
    assert_eq!((seen.count("200"), seen.count("502")), (1, 1), "{seen:?}");
    assert_eq!(counts(&drops), [("closed_without_response", 1)], "{drops:?}");
    Ok(())
}

#[test]
#[ignore = "make live: a server behind nginx"]
fn clients_of_a_full_unix_queue_are_told_by_what_nginx_met() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_nginx!(Ok(()));
    let _turn = shared()?;
    let server = Settings::sync(Version::V27, 1).with(&["--backlog", "1"]).on(Listen::Unix);
    let plan = ["--at-once", "8", "get:/sleep/700:8"];
    let (seen, logged, drops) = behind_nginx(&Nginx::before(server, Link::Unix), &plan)?;
    let refused = seen.count("502");
    // One is served and two wait at a time; who comes when the server has just taken one is luck.
    assert!(refused >= 4, "{seen:?}");
    assert_eq!(logged.iter().filter(|status| **status == 502).count() as u64, refused);
    // Each call of nginx's that found the queue full counts as an attempt besides, where this kernel shows
    // it.
    let mut causes = drops.counts();
    let attempts = causes.remove("accept_queue_overflow");
    assert!(attempts.is_none_or(|attempts| attempts == refused), "{drops:?}");
    assert_eq!(causes.into_iter().collect::<Vec<_>>(), [("front_end_gave_up", refused)], "{drops:?}");
    assert_eq!(drops.served, seen.count("200"), "{drops:?}");
    let said = drops.first("front_end_gave_up").map(|example| example.evidence.as_str()).unwrap_or_default();
    assert!(said.contains("EAGAIN") && said.contains("queue"), "{said}");
    Ok(())
}

#[test]
#[ignore = "make live: waits for time-outs"]
fn requests_that_wait_too_long_for_a_daemon_of_mod_wsgi_s_are_its_queue_timeouts() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = ModWsgi::daemon(1, 1).with(&["--queue-timeout", "1"]);
    let outcome = carry_out(&server, &["--at-once", "3", "get:/sleep/1800:3"])?;
    let (seen, drops) = (&outcome.seen, &outcome.drops);
    assert_eq!(seen.counts(), BTreeMap::from([("200".to_owned(), 1), ("504".to_owned(), 2)]));
    assert_eq!(counts(drops), [("queue_timeout", 2)], "{drops:?}");
    assert_eq!(drops.served, 1, "{drops:?}");
    Ok(())
}

#[test]
#[ignore = "make live: waits for time-outs"]
fn a_daemon_of_mod_wsgi_s_that_ends_itself_for_a_long_request_is_a_timeout_with_that_request()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = ModWsgi::daemon(1, 1).with(&["--request-timeout", "1", "--shutdown-timeout", "1"]);
    let outcome = carry_out(&server, &["--timeout", "20", "get:/fast", "get:/sleep/20000"])?;
    let (seen, drops) = (&outcome.seen, &outcome.drops);
    assert_eq!(seen.count("200"), 1, "{seen:?}");
    assert_eq!(counts(drops), [("worker_timeout", 1)], "{drops:?}");
    let path = drops.first("worker_timeout").and_then(|first| first.request.as_ref()?.path.as_deref());
    assert_eq!(path, Some("/sleep/20000"), "{drops:?}");
    Ok(())
}
