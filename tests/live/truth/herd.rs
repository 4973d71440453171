//! What connections wake: counted against the kernel's own record of every wakeup.
//!
//! In: servers whose workers wait for their listener in different ways. Out: verdicts. The witness is an
//! instance of the kernel's tracer that records each `sched_waking` of the server's threads. It counts
//! between "the client connects" and "everybody sleeps again", one connection at a time. What it counts must
//! be the report's figure exactly.

use wsgi_trace_test_support::busy::Busy;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::raw::{RawClient, Sleeps, resting, until_accepted};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::scheduler::Scheduler;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waiters::Waiters;
use wsgi_trace_test_support::server::{Listen, Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// When a connection is announced to its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    /// At the end of its handshake.
    ByConnecting,
    /// With its first data (`TCP_DEFER_ACCEPT`).
    ByData,
}

/// What both say of the same connections.
#[derive(Debug)]
struct Told {
    connections: u64,
    /// By the kernel's tracer; `None`: it lost events, or there is none here.
    witnessed: Option<u64>,
    /// Threads that a timeout of their own had woken as a connection came, by the tracer.
    by_timers: u64,
    /// The tracer's lines where the network woke a thread more than once for one connection.
    more_than_once: Vec<String>,
    traced: Traced,
    arrivals: u64,
    woken: u64,
    accepted: u64,
    wasted: u64,
    listeners: usize,
}

/// Connections one at a time, each when all whom the one before woke (`each`) have been awake and everybody
/// sleeps.
fn one_at_a_time(
    recipe: &dyn Recipe,
    announced: Announced,
    (connections, each): (u64, u64),
) -> anyhow::Result<Told> {
    let server = Server::start(recipe)?;
    let mut pids = server.worker_pids();
    pids.push(server.pid());
    let rest = resting(&pids)?;
    let trace = Trace::start(server.pid())?;
    let scheduler = Scheduler::start(&pids)?;
    let mut open = None;
    for number in 0..connections {
        let before = rest.until_again(&pids, open)?;
        let sleeps = Sleeps::of(&pids);
        scheduler.begin()?;
        let mut client = RawClient::connect(server.address())?;
        if announced == Announced::ByConnecting {
            // Who accepted it waits for the request now.
            open = Some(until_accepted(&pids, before)?);
            sleeps.until_awake_since(&pids, each)?;
            scheduler.end()?;
        }
        client.get(&format!("/fast/{number}"))?;
        assert_eq!(client.status()?, Some(200));
        if announced == Announced::ByData {
            // Before the client closes: its FIN wakes who waits for it, and is no arrival.
            sleeps.until_awake_since(&pids, each)?;
            scheduler.end()?;
        }
        client.leave();
    }
    rest.until_again(&pids, open)?;
    let woken = scheduler.woken()?;
    let told = told(trace.end()?, connections, Some(woken.by_network))?;
    Ok(Told { by_timers: woken.by_timers, more_than_once: woken.more_than_once, ..told })
}

fn told(traced: Traced, connections: u64, witnessed: Option<u64>) -> anyhow::Result<Told> {
    let listeners = traced.value("/listeners")?.as_array().map_or(0, Vec::len);
    let sum = |key: &str| -> u64 {
        let of = |index| traced.value(&format!("/listeners/{index}/{key}")).ok()?.as_u64();
        (0..listeners).filter_map(of).sum()
    };
    let [arrivals, woken] = ["wakes/arrivals", "wakes/woken"].map(sum);
    let [accepted, wasted] = ["woken/accepted", "woken/wasted"].map(sum);
    Ok(Told {
        connections,
        witnessed,
        by_timers: 0,
        more_than_once: Vec::new(),
        arrivals,
        woken,
        accepted,
        wasted,
        listeners,
        traced,
    })
}

impl Told {
    /// What holds whatever the server: the witness's figure is ours, and everybody who was woken is accounted
    /// for.
    fn assert_exact(&self, what: &str) {
        let Self { connections, arrivals, woken, accepted, wasted, .. } = self;
        assert_eq!(arrivals, connections, "{what}: arrivals\n{}", self.account());
        if let Some(witnessed) = self.witnessed {
            assert_eq!(
                *woken,
                witnessed,
                "{what}: woken, by us and by the kernel's tracer\n{}",
                self.account()
            );
        }
        assert_eq!(
            accepted + wasted,
            *woken,
            "{what}: {accepted} accepted, {wasted} wasted wakeups\n{}",
            self.account()
        );
    }

    /// Everybody was woken by each connection, and one of them accepted it: but for those whom a timeout of
    /// their own had woken as it came.
    fn assert_all_woken(&self, all: u64) {
        let Self { connections, by_timers, woken, accepted, .. } = self;
        let awake = all.saturating_sub(*woken);
        assert!(
            *woken <= all && awake <= *by_timers,
            "{woken} of {all} woken, {by_timers} by timers\n{}",
            self.account()
        );
        assert!(connections - accepted <= awake, "{accepted} accepted, {awake} awake\n{}", self.account());
    }

    /// What became of each, and what was lost: without that nobody can say later why they differ.
    fn account(&self) -> String {
        let of = |index| self.traced.value(&format!("/listeners/{index}")).map(ToString::to_string);
        let listeners: Vec<String> = (0..self.listeners).filter_map(|index| of(index).ok()).collect();
        let value = |key| self.traced.value(key).map(ToString::to_string).unwrap_or_default();
        let tracer = self.more_than_once.join("\n");
        format!("{}\n{}\n{}\n{tracer}", listeners.join("\n"), value("/processes"), value("/losses"))
    }
}

impl Told {
    /// `4 epoll exclusive`, for each listener that anybody waits for.
    fn waiters(&self) -> anyhow::Result<String> {
        let mut told = Vec::new();
        for index in 0..self.listeners {
            for way in
                self.traced.value(&format!("/listeners/{index}/waiters"))?.as_array().into_iter().flatten()
            {
                let mut words = vec![way["threads"].to_string()];
                words.extend(["how", "lock"].iter().filter_map(|key| way[*key].as_str()).map(str::to_owned));
                let flags = ["is_exclusive", "is_one_shot", "is_edge_triggered", "is_shared", "is_nested"];
                words.extend(
                    flags
                        .iter()
                        .filter(|key| way[**key] == true)
                        .map(|key| key.trim_start_matches("is_").to_owned()),
                );
                told.push(words.join(" "));
            }
        }
        Ok(told.join("; "))
    }
}

fn exact(recipe: &dyn Recipe, announced: Announced, (connections, each): (u64, u64)) -> anyhow::Result<Told> {
    let told = one_at_a_time(recipe, announced, (connections, each))?;
    eprintln!(
        "{}: {} connections woke {} (witness: {:?}, {} by timers), {} accepted, {} wasted",
        recipe.about(),
        told.connections,
        told.woken,
        told.witnessed,
        told.by_timers,
        told.accepted,
        told.wasted
    );
    told.assert_exact(&recipe.about());
    Ok(told)
}

#[test]
fn every_idle_worker_is_woken_for_each_connection_to_a_shared_listener() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let told = exact(&Settings::sync(Version::V27, 8), Announced::ByConnecting, (40, 8))?;
    assert_eq!((told.woken, told.accepted, told.wasted, told.listeners), (320, 40, 280, 1));
    assert_eq!(told.waiters()?, "8 poll");
    let waits = told.traced.number("/listeners/0/accept_wait/count")?;
    assert_eq!(waits, 40, "every connection's wait is known");
    Ok(())
}

#[test]
fn losers_are_exact_when_the_machine_is_busy() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let _busy = Busy::start()?;
    let told = exact(&Settings::sync(Version::V23, 3), Announced::ByConnecting, (30, 3))?;
    assert_eq!((told.woken, told.accepted, told.wasted), (90, 30, 60));
    Ok(())
}

/// `name: server, how connections are announced, woken per connection, who waits and how`; all run by `make
/// live`.
macro_rules! exact {
    ($($name:ident: $recipe:expr, $announced:ident, $woken:expr, $waiters:expr;)*) => {
        $(
            #[test]
            #[ignore = "make live: the same as above for another server, a few seconds each"]
            fn $name() -> anyhow::Result<()> {
                require_bpf!(Ok(()));
                let _turn = shared()?;
                let told = exact(&$recipe, Announced::$announced, (60, $woken))?;
                told.assert_all_woken(60 * $woken);
                assert_eq!(told.waiters()?, $waiters, "{}", told.account());
                Ok(())
            }
        )*
    };
}

const fn waiters(mode: &'static str, listen: Listen) -> Waiters {
    Waiters { mode, workers: 4, listen }
}

exact! {
    one_worker_is_woken_where_each_has_a_listener_of_its_own:
        Settings::sync(Version::V27, 4).with(&["--reuse-port"]), ByConnecting, 1, "1 poll; 1 poll; 1 poll; 1 poll";
    the_threads_of_a_pool_are_no_herd: Settings::gthread(Version::V27, 1, 4), ByConnecting, 1, "1 epoll";
    gthread_workers_are_a_herd: Settings::gthread(Version::V27, 4, 2), ByConnecting, 4, "4 epoll";
    uwsgi_processes_are_woken_by_data: Uwsgi::new(8, 1), ByData, 8, "8 epoll";
    uwsgi_thunder_lock_wakes_one: Uwsgi::new(8, 1).with(&["--thunder-lock"]), ByData, 1, "8 lock futex";
    apache_prefork_wakes_one: ModWsgi::embedded(1, 5).with(&["--server-mpm=prefork"]), ByData, 1, "5 accept";
    accept_wakes_one: waiters("accept", Listen::Ipv4), ByConnecting, 1, "4 accept";
    select_wakes_all: waiters("select", Listen::Ipv4), ByConnecting, 4, "4 poll";
    poll_wakes_all: waiters("poll", Listen::Ipv4), ByConnecting, 4, "4 poll";
    epoll_wakes_all: waiters("epoll", Listen::Ipv4), ByConnecting, 4, "4 epoll";
    epoll_exclusive_wakes_one: waiters("exclusive", Listen::Ipv4), ByConnecting, 1, "4 epoll exclusive";
    epoll_one_shot_wakes_all: waiters("oneshot", Listen::Ipv4), ByConnecting, 4, "4 epoll one_shot";
    epoll_edge_triggered_wakes_all: waiters("edge", Listen::Ipv4), ByConnecting, 4, "4 epoll edge_triggered";
    epoll_in_epoll_wakes_all: waiters("nested", Listen::Ipv4), ByConnecting, 4, "4 epoll nested";
    behind_an_fcntl_lock_one_waits: waiters("fcntl", Listen::Ipv4), ByConnecting, 1, "4 lock fcntl";
    behind_a_flock_one_waits: waiters("flock", Listen::Ipv4), ByConnecting, 1, "4 lock flock";
    deferred_accept_wakes_by_data: waiters("defer", Listen::Ipv4), ByData, 4, "4 epoll";
    reuse_port_wakes_one: waiters("reuse", Listen::Ipv4), ByConnecting, 1, "1 epoll; 1 epoll; 1 epoll; 1 epoll";
    over_ipv6_all_are_woken: waiters("epoll", Listen::Ipv6), ByConnecting, 4, "4 epoll";
    over_unix_all_are_woken: waiters("epoll", Listen::Unix), ByConnecting, 4, "4 epoll";
    over_unix_accept_wakes_one: waiters("accept", Listen::Unix), ByConnecting, 1, "4 accept";
    over_unix_gunicorn_is_a_herd: Settings::sync(Version::V27, 4).on(Listen::Unix), ByConnecting, 4, "4 poll";
}

/// Of several threads that wait in one instance the connection wakes one, which wakes the next as it leaves.
/// That is no wakeup by the connection, and the next may be first to accept.
#[test]
#[ignore = "make live: the same as above for another server, a few seconds"]
fn epoll_shared_after_fork_wakes_one() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let told = exact(&waiters("shared", Listen::Ipv4), Announced::ByConnecting, (60, 1))?;
    assert_eq!((told.woken, told.waiters()?.as_str()), (60, "4 epoll shared"));
    Ok(())
}

/// A client's end wakes who waits for it, as a connection would; it is none.
#[test]
#[ignore = "make live: the same as above for ends of connections, a few seconds"]
fn an_end_that_wakes_is_no_arrival() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    const CONNECTIONS: u64 = 20;
    let server = Server::start(&Settings::gthread(Version::V27, 1, 2))?;
    let mut pids = server.worker_pids();
    pids.push(server.pid());
    let rest = resting(&pids)?;
    let trace = Trace::start(server.pid())?;
    let scheduler = Scheduler::start(&pids)?;
    for number in 0..CONNECTIONS {
        let before = rest.until_again(&pids, None)?;
        let mut client = RawClient::connect(server.address())?;
        client.get(&format!("/fast/{number}"))?;
        assert_eq!(client.status()?, Some(200));
        let open = until_accepted(&pids, before.saturating_sub(1))?;
        scheduler.begin()?;
        client.leave();
        rest.until_again(&pids, Some(open))?;
        scheduler.end()?;
    }
    let witnessed = scheduler.woken()?.by_network;
    let told = told(trace.end()?, CONNECTIONS, None)?;
    eprintln!("{CONNECTIONS} ends woke {witnessed} by the tracer; {} woken by connections", told.woken);
    assert!(witnessed >= CONNECTIONS, "the ends woke nobody: {witnessed}");
    told.assert_exact("ends of connections");
    assert_eq!(told.woken, CONNECTIONS, "one thread waits for the listener");
    Ok(())
}

/// Who waits, and how, once as many requests have been served one after the other.
fn waiters_after(recipe: &dyn Recipe, requests: usize) -> anyhow::Result<Vec<String>> {
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    for number in 0..requests {
        let mut client = RawClient::connect(server.address())?;
        client.get(&format!("/fast/{number}"))?;
        assert_eq!(client.status()?, Some(200));
    }
    let told = told(trace.end()?, 0, None)?;
    eprintln!("{}: {}", recipe.about(), told.waiters()?);
    Ok(told.waiters()?.split("; ").map(str::to_owned).collect())
}

/// With more than one listener Apache's children take turns by a mutex; mod_wsgi's threads by a condition
/// each.
#[test]
#[ignore = "make live: the locks of Apache and mod_wsgi, some seconds"]
fn apache_s_accept_mutex_and_mod_wsgi_s_turns_are_told_as_locks() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let prefork = ModWsgi::embedded(1, 5).with(&["--server-mpm=prefork"]).listening_twice();
    assert_eq!(waiters_after(&prefork, 40)?, ["5 lock futex", "5 lock futex"]);
    let daemon = waiters_after(&ModWsgi::daemon(1, 4), 40)?;
    // Apache's child listens for itself; threads that had no turn in the window are not seen to wait for one.
    let is_locked = |way: &String| way.ends_with(" lock futex");
    assert!(daemon.len() == 2 && daemon.iter().filter(|way| is_locked(way)).count() == 1, "{daemon:?}");
    Ok(())
}
