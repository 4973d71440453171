//! Waits for the interpreter.
//!
//! In: servers with the problem, and cured. Out: verdicts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::reported::{self, State};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::Trace;

use crate::{is_named_and_cured, is_named_in_light_mode};

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn main_thread_spins_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("main-thread-spins")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn main_thread_spins_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("main-thread-spins")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn collections_of_a_large_heap_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("collections-of-a-large-heap")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn collections_of_a_large_heap_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("collections-of-a-large-heap")
}

#[test]
fn what_a_reset_left_behind_for_ever_waits_for_nobody_after_the_reset() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let reported = reported::named("main-thread-spins").context("there is no such problem")?;
    let mut scene = (reported.begin)(State::Ill)?;
    let trace = Trace::start(scene.server.pid())?;
    scene.prepare()?;
    let reset_by_ns = monotonic_ns();
    std::thread::sleep(Duration::from_secs(3));
    let traced = trace.end()?;
    let open: Vec<_> = traced.requests.iter().filter(|request| request.open).collect();
    ensure!(!open.is_empty(), "the server closed it: {}", traced.ndjson);
    for request in open {
        // As it is reset nobody has accepted it. A moment later somebody has read it.
        let after_ns = (request.start_ns + request.total_ns).saturating_sub(reset_by_ns);
        ensure!(after_ns < 1_500_000_000, "{after_ns} ns after the reset: {}", traced.ndjson);
    }
    Ok(())
}
