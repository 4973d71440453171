//! Who has a lock that is not given back, where several threads could have it.
//!
//! In: gunicorn with `hanging.py`, whose threads hang. Out: verdicts. The application is the witness: which
//! route takes which lock by `with`, and what it does then, is in its text.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::{Trace, Traced};

use crate::hung_before::{Hung, ask};

/// Routes that take a lock, and then others that wait for one; after one `/asks`, which could have either.
/// Watched for three seconds.
fn watched(taking: &[&str], waiting: &[&str], options: &[&str]) -> anyhow::Result<Traced> {
    let hung = Hung::start("gunicorn", 1)?;
    let (mut clients, mut taken) = (Vec::new(), Vec::new());
    for route in taking {
        clients.push(ask(hung.server.address(), route)?);
        // It has its lock when it tells.
        taken.push(hung.accept()?);
    }
    for mut connection in taken {
        connection.write_all(b"1")?;
    }
    for route in waiting {
        clients.push(ask(hung.server.address(), route)?);
    }
    let trace = Trace::start_with(hung.server.pid(), options)?;
    std::thread::sleep(Duration::from_secs(3));
    let traced = trace.end()?;
    drop(clients);
    Ok(traced)
}

/// Leaves of waits for a lock.
fn behind_locks(traced: &Traced) -> anyhow::Result<Vec<&Value>> {
    let leaves = traced.value("/chains/leaves")?.as_array().context("no leaves")?;
    let waits = |leaf: &&Value| leaf.pointer("/hops/0").is_some_and(|hop| hop == "lock_wait");
    Ok(leaves.iter().filter(waits).collect())
}

/// A route that takes a lock and sleeps, and one that waits for the lock.
type Routes = (&'static str, &'static str);

/// One has the lock and sleeps, one asks a back end and has it not: who waits, waits for the first.
fn the_one_that_has_it_is_told((holds, waits): Routes, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let traced = watched(&[holds], &[waits], options)?;
    let leaves = behind_locks(&traced)?;
    let [leaf] = leaves.as_slice() else { anyhow::bail!("{leaves:#?}") };
    ensure!(leaf["kind"] == "sleep" && leaf["reason"].is_null(), "{leaf:#}");
    let line = leaf["line"].as_str().unwrap_or_default();
    ensure!(line.ends_with(holds.trim_start_matches('/')), "{leaf:#}");
    Ok(())
}

/// Each has a lock and waits for that of the other, while a third could have either.
fn two_in_both_orders_are_a_cycle(options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let traced = watched(&["/takes_first", "/takes_last"], &[], options)?;
    let leaves = behind_locks(&traced)?;
    let is_cycle = |leaf: &&Value| leaf["kind"] == "not_released" && leaf["unreleased"] == "cycle";
    ensure!(!leaves.is_empty() && leaves.iter().all(is_cycle), "{leaves:#?}");
    Ok(())
}

const LIGHT: &[&str] = &["--light"];
/// By `with lock:`.
const BY_BLOCK: Routes = ("/holds", "/waits");
/// By `RLock.acquire()`: the lock itself says who has it.
const BY_CALL: Routes = ("/holds_without_with", "/waits_for_the_other");

#[test]
fn who_has_a_lock_by_with_is_told_though_another_could_have_it() -> anyhow::Result<()> {
    the_one_that_has_it_is_told(BY_BLOCK, &[])
}

#[test]
fn whom_a_lock_itself_names_is_told_though_another_could_have_it_in_light_mode() -> anyhow::Result<()> {
    the_one_that_has_it_is_told(BY_CALL, LIGHT)
}

#[test]
fn two_locks_taken_in_both_orders_are_a_cycle_in_light_mode() -> anyhow::Result<()> {
    two_in_both_orders_are_a_cycle(LIGHT)
}

#[test]
#[ignore = "make live: make test has each in the other mode"]
fn locks_that_hang_are_told_alike_in_both_modes() -> anyhow::Result<()> {
    the_one_that_has_it_is_told(BY_BLOCK, LIGHT)?;
    the_one_that_has_it_is_told(BY_CALL, &[])?;
    two_in_both_orders_are_a_cycle(&[])
}
