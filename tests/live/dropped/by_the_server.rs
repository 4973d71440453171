//! The server does not serve: it cuts responses short, throws requests away, closes too early, has no
//! descriptor left.
//!
//! In: servers whose settings or applications do so. Out: verdicts.

use std::collections::BTreeMap;

use wsgi_trace_test_support::dropping::{Clients, Drops};
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

use crate::{BOTH_MODES, carry_out_in};

#[test]
fn what_the_server_does_not_serve_is_told_apart_from_what_it_serves() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for mode in BOTH_MODES {
        let plan = ["get:/fast:3", "get:/short/10", "pipelined:/fast", "get:/error", "get:/fast"];
        let outcome = carry_out_in(mode, &Settings::sync(Version::V27, 1), &plan)?;
        outcome.must_be(
            &["200", "200", "200", "cut", "closed", "500", "200"],
            4,
            &[("response_cut_short", 1), ("pipelined_discarded", 1), ("server_error", 1)],
        );
        let cut = outcome.drops.first("response_cut_short");
        assert!(cut.is_some_and(|example| example.evidence.starts_with("10 bytes")), "{cut:?}");
    }
    Ok(())
}

#[test]
fn a_body_that_nobody_read_makes_a_reset() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for mode in BOTH_MODES {
        // gunicorn 23 closes at once; the client may have the answer before the reset.
        let outcome = carry_out_in(mode, &Settings::sync(Version::V23, 1), &["post:/unread:3", "get:/fast"])?;
        let reset =
            outcome.seen.clients.iter().filter(|client| client.saw == "reset" || client.then == "reset");
        assert_eq!(reset.count(), 3, "{:?}", outcome.seen);
        assert_eq!(
            outcome.drops.counts(),
            BTreeMap::from([("closed_with_unread_data", 3)]),
            "{:?}",
            outcome.drops
        );
        assert_eq!(outcome.drops.served, 1);
    }
    Ok(())
}

#[test]
fn a_request_that_comes_as_the_server_closes_a_kept_connection_is_a_race() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for mode in BOTH_MODES {
        let settings = Settings::gthread(Version::V23, 1, 2).with(&["--keep-alive", "1"]);
        let outcome = carry_out_in(mode, &settings, &["--at-once", "3", "late:/fast:2", "get:/fast"])?;
        let late = outcome.seen.clients.iter().filter(|client| client.closed_first);
        assert!(
            late.clone().all(|client| matches!(client.saw.as_str(), "closed" | "reset")),
            "{:?}",
            outcome.seen
        );
        assert_eq!(late.count(), 2, "{:?}", outcome.seen);
        assert_eq!(outcome.drops.counts(), BTreeMap::from([("keep_alive_race", 2)]), "{:?}", outcome.drops);
        assert_eq!(outcome.drops.served, 1);
    }
    Ok(())
}

/// Starts the server with the limit, holds more connections than it allows, and looks at what becomes of
/// them.
fn with_few_descriptors(recipe: &dyn Recipe, limit: u64, plan: &[&str]) -> anyhow::Result<(u64, Drops, u64)> {
    let server = Server::start(recipe)?;
    for pid in std::iter::once(server.pid()).chain(server.worker_pids()) {
        limit_files(pid, limit)?;
    }
    let trace = Trace::start(server.pid())?;
    let seen = Clients::run(server.address(), plan)?;
    let drops = Drops::of(&trace.end()?)?;
    let answered = seen.count("200");
    println!("{}: {:?}; {drops:?}", recipe.about(), seen.counts());
    let limits: Vec<_> = drops.accept_failures.iter().map(|failure| failure.open_files_limit).collect();
    anyhow::ensure!(drops.accept_failures.iter().all(|failure| failure.error == "EMFILE"), "{drops:?}");
    anyhow::ensure!(limits.iter().all(|known| *known == Some(limit)) && !limits.is_empty(), "{drops:?}");
    Ok((answered, drops, seen.connected()))
}

fn limit_files(pid: u32, limit: u64) -> anyhow::Result<()> {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the pointer is to a whole structure; no old limit is asked for.
    let outcome = unsafe {
        libc::prlimit(
            libc::pid_t::try_from(pid)?,
            libc::RLIMIT_NOFILE,
            &raw const limit,
            std::ptr::null_mut(),
        )
    };
    anyhow::ensure!(outcome == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}

#[test]
#[ignore = "make live: a server without descriptors"]
fn clients_that_a_server_without_descriptors_turns_away_are_counted_with_its_limit() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    // Twisted keeps a descriptor back with which it accepts and closes.
    let plan = ["--at-once", "60", "--timeout", "3", "get:/sleep/800:60"];
    let (answered, drops, connected) = with_few_descriptors(&Twisted, 30, &plan)?;
    assert_eq!((drops.served, connected), (answered, 60), "{drops:?}");
    assert_eq!(drops.counts(), BTreeMap::from([("accept_failed", 60 - answered)]), "{drops:?}");
    Ok(())
}

#[test]
#[ignore = "make live: a server without descriptors"]
fn clients_that_wait_for_a_server_without_descriptors_have_that_for_a_cause() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let plan = ["--at-once", "60", "--timeout", "2", "get:/sleep/700:60"];
    let (answered, drops, _) = with_few_descriptors(&Waitress { threads: 4 }, 30, &plan)?;
    assert_eq!(drops.served, answered, "{drops:?}");
    assert!(drops.counts().contains_key("accept_failed"), "{drops:?}");
    assert_eq!(drops.counts().get("unknown"), None, "{drops:?}");
    Ok(())
}
