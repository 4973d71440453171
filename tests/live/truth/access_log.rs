//! Requests against gunicorn's access log: the same requests, and the same interval.
//!
//! In: servers of both versions and both worker classes under mixed load. Out: verdicts.

use std::collections::BTreeMap;
use std::net::TcpListener;

use anyhow::Context as _;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Listen, Settings, Version};
use wsgi_trace_test_support::intervals::{Between, Intervals, Pair, kind};
use wsgi_trace_test_support::load::{Load, Sent};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Recipe as _;
use wsgi_trace_test_support::server::access_log::AccessLine;
use wsgi_trace_test_support::switches::Switches;
use wsgi_trace_test_support::trace::{Trace, Traced};
use wsgi_trace_test_support::yardstick::Yardstick;

const MIXED: &[&str] = &[
    "--requests",
    "240",
    "--seconds",
    "20",
    "--clients",
    "4",
    "--routes",
    "/fast=6,/cpu,/backend,/stream,/empty,/unchanged,/missing,/mixed,/error",
    "--kinds",
    "get=6,head,sized,chunked,expect,pipeline=0.3",
];

/// A window around a load.
struct Window {
    traced: Traced,
    sent: Vec<Sent>,
    /// The log just before the end of the window.
    before_end: Vec<AccessLine>,
    /// The log after it.
    after_end: Vec<AccessLine>,
}

/// Begins a window before the load and ends it when everything that was answered is logged.
fn window(server: &Gunicorn, loads: &[(&Address, &[&str])]) -> anyhow::Result<Window> {
    let trace = Trace::start(server.master())?;
    let running: Vec<Load> =
        loads.iter().map(|(address, options)| Load::start(address, options)).collect::<Result<_, _>>()?;
    let sent: Vec<Sent> = running.into_iter().map(Load::finish).collect::<Result<_, _>>()?;
    let answered = sent.iter().map(Sent::answered).sum();
    let before_end = server.access_log(answered)?;
    let traced = trace.end()?;
    Ok(Window { traced, sent, before_end, after_end: server.access_log(answered)? })
}

/// Every line of the log is one request with the same method, path and status, and the other way round.
fn assert_equal(window: &Window) -> anyhow::Result<()> {
    let Window { traced, sent, .. } = window;
    assert!(sent.iter().all(|sent| sent.answered() > 0));
    let count = |lines: &[AccessLine]| {
        let mut counts: BTreeMap<(String, String, u16), usize> = BTreeMap::new();
        for line in lines {
            *counts.entry((line.path.clone(), line.method.clone(), line.status)).or_default() += 1;
        }
        counts
    };
    let (before_end, after_end) = (count(&window.before_end), count(&window.after_end));
    let mut ours: BTreeMap<(String, String, u16), usize> = BTreeMap::new();
    for request in &traced.requests {
        if let Some(status) = request.status {
            let method = request.method.clone().unwrap_or_default();
            *ours.entry((request.path().to_owned(), method, status)).or_default() += 1;
        }
    }
    let by_id: BTreeMap<u64, _> =
        sent.iter().flat_map(|sent| &sent.requests).map(|request| (request.id, request)).collect();
    let missing: Vec<_> = before_end
        .iter()
        .filter(|(line, count)| ours.get(line) != Some(count))
        // gunicorn logs what it could not send, too: then the client has had no answer, and we have seen
        // none.
        .filter(|((path, method, _), _)| {
            let id = path.rsplit('/').next().and_then(|id| id.parse().ok());
            let unanswered = id.and_then(|id: u64| by_id.get(&id)).is_some_and(|sent| sent.status.is_none());
            let mut same = traced.requests.iter().filter(|request| request.path() == path);
            !(unanswered && same.next().is_some_and(|request| request.method.as_deref() == Some(method)))
        })
        .collect();
    let invented: Vec<_> =
        ours.iter().filter(|(request, count)| after_end.get(request) != Some(count)).collect();
    let losses = traced.value("/losses")?;
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing: {missing:?}\ninvented: {invented:?}\n{losses}"
    );
    // What has no answer by our account has none by its client's.
    for request in &traced.requests {
        let id = request.id().with_context(|| format!("nobody asked for {request:?}"))?;
        let sent = by_id.get(&id).with_context(|| format!("nobody asked for {request:?}"))?;
        if request.status.is_none() {
            assert_eq!(sent.status, None, "{request:?}");
        } else {
            assert!(!request.open && !request.truncated && !request.lossy, "{request:?}");
        }
    }
    traced.lost_nothing()
}

fn requests_equal_the_access_log(settings: &Settings, keep_alive: &str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(settings)?;
    let options = [MIXED, &["--keep-alive", keep_alive]].concat();
    assert_equal(&window(&server, &[(server.address(), &options)])?)
}

/// `name: settings, requests of a connection;` is a test; attributes stand before the name.
macro_rules! equal_to_the_access_log {
    ($($(#[$attribute:meta])* $name:ident: $settings:expr, $keep_alive:expr;)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() -> anyhow::Result<()> {
            requests_equal_the_access_log(&$settings, $keep_alive)
        }
    )*};
}

equal_to_the_access_log! {
    #[ignore = "make live: the same with another number of workers, or another release"]
    requests_of_gunicorn_23_sync_1_equal_the_access_log: Settings::sync(Version::V23, 1), "1";
    requests_of_gunicorn_27_sync_1_equal_the_access_log: Settings::sync(Version::V27, 1), "1";
    requests_of_gunicorn_23_sync_4_equal_the_access_log: Settings::sync(Version::V23, 4), "3";
    #[ignore = "make live: the same with another number of workers, or another release"]
    requests_of_gunicorn_27_sync_4_equal_the_access_log: Settings::sync(Version::V27, 4), "3";
    #[ignore = "make live: the same with another number of workers, or another release"]
    requests_of_gunicorn_23_gthread_1_4_equal_the_access_log: Settings::gthread(Version::V23, 1, 4), "5";
    requests_of_gunicorn_27_gthread_1_4_equal_the_access_log: Settings::gthread(Version::V27, 1, 4), "5";
    requests_of_gunicorn_23_gthread_2_4_equal_the_access_log: Settings::gthread(Version::V23, 2, 4), "5";
    #[ignore = "make live: the same with another number of workers, or another release"]
    requests_of_gunicorn_27_gthread_2_4_equal_the_access_log: Settings::gthread(Version::V27, 2, 4), "5";
    requests_of_gunicorn_23_gthread_1_4_without_keep_alive_equal_the_access_log:
        Settings::gthread(Version::V23, 1, 4).with(&["--keep-alive", "0"]), "3";
    #[ignore = "make live: the same with another number of workers, or another release"]
    requests_of_gunicorn_27_gthread_1_4_without_keep_alive_equal_the_access_log:
        Settings::gthread(Version::V27, 1, 4).with(&["--keep-alive", "0"]), "3";
    #[ignore = "make live: the same with another number of workers, or another release"]
    requests_of_gunicorn_23_gthread_2_4_without_keep_alive_equal_the_access_log:
        Settings::gthread(Version::V23, 2, 4).with(&["--keep-alive", "0"]), "1";
    requests_of_gunicorn_27_gthread_2_4_without_keep_alive_equal_the_access_log:
        Settings::gthread(Version::V27, 2, 4).with(&["--keep-alive", "0"]), "1";
    #[ignore = "make live: the same over another kind of socket"]
    requests_over_a_unix_socket_to_sync_equal_the_access_log: Settings::sync(Version::V23, 2).on(Listen::Unix), "1";
    requests_over_a_unix_socket_to_gthread_equal_the_access_log:
        Settings::gthread(Version::V27, 2, 4).on(Listen::Unix), "5";
    #[ignore = "make live: the same over another kind of socket"]
    requests_over_ipv6_equal_the_access_log: Settings::gthread(Version::V27, 1, 4).on(Listen::Ipv6), "5";
}

#[test]
fn requests_to_several_listeners_equal_the_access_log() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for class in [Settings::sync(Version::V27, 2), Settings::gthread(Version::V23, 2, 4)] {
        let second = TcpListener::bind("[::1]:0")?.local_addr()?.to_string();
        let server = Gunicorn::start(&class.with(&["--bind", &second]))?;
        let second = Address::Tcp(second);
        let other = [MIXED, &["--first-id", "5000001", "--seed", "2"]].concat();
        let window = window(&server, &[(server.address(), MIXED), (&second, &other)])?;
        assert_equal(&window)?;
        let listeners = window.traced.value("/listeners")?.as_array().context("no listeners")?;
        assert_eq!(listeners.len(), 2, "{listeners:?}");
    }
    Ok(())
}

/// gunicorn's `%(D)s` begins when the head is parsed and ends with the last write.
fn intervals_agree(all: [Settings; 2]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    for settings in all {
        let switches = Switches::start()?;
        let server = Gunicorn::start(&settings)?;
        let options = [
            &["--requests", "300", "--seconds", "20", "--clients", "2", "--keep-alive", "5"],
            &["--routes", "/fast=6,/cpu,/backend,/stream,/empty,/unchanged,/missing,/mixed"][..],
            &["--kinds", "get=6,head,sized,chunked,expect"],
        ]
        .concat();
        let yardstick = Yardstick::start()?;
        let window = window(&server, &[(server.address(), &options)])?;
        let speed = yardstick.end()?;
        let waits = switches.stop()?.waits();
        let ours: BTreeMap<_, _> =
            window.traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
        let mut intervals = Intervals::default();
        for line in &window.before_end {
            let request =
                *line.id().and_then(|id| ours.get(&id)).with_context(|| format!("not seen: {line:?}"))?;
            let ours_ns = request.service_ns.with_context(|| format!("not read: {request:?}"))?;
            let threads = window.traced.threads_of(request.pid)?;
            let pair = Pair::of(request, (ours_ns, line.duration_us * 1000), (&waits, &threads));
            intervals.add(kind(&line.path), pair);
        }
        assert!(intervals.count() >= 300);
        let Settings { version, worker_class, workers, threads, .. } = &settings;
        eprintln!("{version:?} {worker_class} {workers}×{threads}:");
        let wrong = intervals.wrong(Between {
            speed,
            is_woken_rarely: false,
            resolution_ns: 1000,
            shares_gil: settings.shares_gil(),
            stolen_ns: window.traced.number("/losses/conservation/stolen_ns")?,
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    Ok(())
}

#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn the_interval_of_the_access_log_agrees_with_ours() -> anyhow::Result<()> {
    intervals_agree([Settings::sync(Version::V23, 1), Settings::gthread(Version::V27, 1, 4)])
}

#[test]
#[ignore = "make live: the same with another number of workers, or another release"]
fn the_interval_of_the_access_log_agrees_with_ours_of_several_workers() -> anyhow::Result<()> {
    intervals_agree([Settings::sync(Version::V27, 4), Settings::gthread(Version::V23, 2, 4)])
}
