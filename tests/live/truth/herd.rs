//! What connections wake: counted against the number of workers that were asleep on the listener when each came.
//!
//! In: servers whose workers share a listener, or do not. Out: verdicts. The witness is `/proc`: before each connection
//! every waiter is in its waiting call, so the kernel must wake them all, or (one listener each) just one.

use wsgi_trace_tests::gate::shared;
use wsgi_trace_tests::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_tests::raw::{RawClient, until_all_inside};
use wsgi_trace_tests::require_bpf;
use wsgi_trace_tests::trace::{Trace, Traced};

/// `pselect6`: a sync worker waits for connections.
const PSELECT6: u32 = 270;
/// `epoll_wait`: the main thread of a gthread worker waits.
const EPOLL_WAIT: u32 = 232;

const CONNECTIONS: u64 = 100;

/// Connections one at a time, each when every worker waits.
fn one_at_a_time(settings: &Settings, waiting: u32) -> anyhow::Result<Traced> {
    let server = Gunicorn::start(settings)?;
    let trace = Trace::start(server.master())?;
    for number in 0..CONNECTIONS {
        until_all_inside(&server.worker_pids(), waiting)?;
        let mut client = RawClient::connect(server.address())?;
        client.get(&format!("/fast/{number}"))?;
        assert_eq!(client.status()?, Some(200));
    }
    until_all_inside(&server.worker_pids(), waiting)?;
    trace.end()
}

/// Arrivals and woken threads of all listeners, and how many listeners there are.
fn woken(traced: &Traced) -> anyhow::Result<(u64, u64, usize)> {
    let listeners = traced.value("/listeners")?.as_array().map_or(0, Vec::len);
    let mut sums = (0, 0, listeners);
    for index in 0..listeners {
        sums.0 += traced.number(&format!("/listeners/{index}/wakes/arrivals"))?;
        sums.1 += traced.number(&format!("/listeners/{index}/wakes/woken"))?;
    }
    Ok(sums)
}

#[test]
fn every_idle_worker_is_woken_for_each_connection_to_a_shared_listener() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for (settings, waiting, workers) in
        [(Settings::sync(Version::V27, 8), PSELECT6, 8), (Settings::sync(Version::V23, 3), PSELECT6, 3)]
    {
        let traced = one_at_a_time(&settings, waiting)?;
        assert_eq!(woken(&traced)?, (CONNECTIONS, workers * CONNECTIONS, 1), "{settings:?}");
        // All but one of those woken come in vain; the documented bound is a lower one.
        let expected = (workers - 1) * CONNECTIONS;
        let in_vain =
            traced.number("/listeners/0/wakes/slept_again")? + traced.number("/listeners/0/empty_returns")?;
        assert!((expected * 98 / 100..=expected).contains(&in_vain), "{in_vain} of {expected} in vain");
        let waits = traced.number("/listeners/0/accept_wait/count")?;
        assert_eq!(waits, CONNECTIONS, "every connection's wait is known");
    }
    Ok(())
}

#[test]
fn the_threads_of_a_pool_are_no_herd() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let traced = one_at_a_time(&Settings::gthread(Version::V27, 1, 4), EPOLL_WAIT)?;
    let (arrivals, woken, _) = woken(&traced)?;
    assert_eq!(arrivals, CONNECTIONS);
    // The main thread looks around once a second: a connection that comes just then finds it awake.
    assert!((CONNECTIONS - 2..=CONNECTIONS).contains(&woken), "{woken} woken");
    Ok(())
}

#[test]
fn one_worker_is_woken_where_each_has_a_listener_of_its_own() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let settings = Settings::sync(Version::V27, 4).with(&["--reuse-port"]);
    let traced = one_at_a_time(&settings, PSELECT6)?;
    let (arrivals, woken, listeners) = woken(&traced)?;
    assert_eq!((arrivals, woken), (CONNECTIONS, CONNECTIONS));
    assert!(listeners >= 4, "{listeners} listeners");
    assert_ne!(traced.finding("herd")?["answer"], "present");
    Ok(())
}
