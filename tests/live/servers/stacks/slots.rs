//! Threads that read, work and answer one request at a time are slots, whatever their process has loaded
//! (greenlet, an asyncio-capable SQLAlchemy), and no more connections wait than there are clients.
//!
//! In: Flask, SQLAlchemy and redis-py on servers with threads. Out: verdicts.

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::require_stacks;
use wsgi_trace_test_support::server::stack::{Application, On, Stack};

use super::{Gil, Watched, watch};

/// Two stores, and nothing.
const ROUTES: &str = "--routes=/postgres/15=2,/redis/15=2,/both/8=2,/fast";
/// What only a loop can have.
const OF_LOOPS: [&str; 1] = ["loop-blocked"];

fn flask(on: On, pool: u32) -> Stack {
    Stack::new(Application::Flask, on, pool)
}

/// Nothing of the report is about loops.
fn has_no_loop(seen: &Watched) -> anyhow::Result<()> {
    let traced = &seen.window.traced;
    let loops = traced.value("/event_loops")?.as_array().context("no list of loops")?;
    ensure!(loops.is_empty(), "loops: {loops:?}");
    let slots = traced.value("/slots/list")?.as_array().context("no list of slots")?;
    ensure!(slots.iter().all(|slot| slot["is_event_loop"] == false), "a slot is a loop: {slots:?}");
    let waiting = traced.requests.iter().find(|request| request.phase_ns("loop_wait") > 0);
    ensure!(waiting.is_none(), "it waited for a loop: {waiting:?}");
    seen.says_none_of(&OF_LOOPS)
}

/// More clients than slots: the slots are what is short, and it is said.
fn more_clients_than_slots(on: On, gil: Gil) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let seen = watch(&flask(on, 8), gil, &["--clients=8", "--requests=250", "--seconds=20", ROUTES])?;
    has_no_loop(&seen)?;
    seen.says_none_of(&["lock-not-released", "healthy", "full-beside-free"])?;
    ensure!(seen.present().contains(&"back-end"), "back-end is not said\n{}", seen.all());
    Ok(())
}

/// Fewer clients than slots: no slot is short, and no connection waits for one.
fn fewer_clients_than_slots(on: On, gil: Gil) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let seen = watch(&flask(on, 8), gil, &["--clients=4", "--requests=250", "--seconds=20", ROUTES])?;
    has_no_loop(&seen)?;
    seen.says_none_of(&["back-end", "full-beside-free", "lock-not-released"])
}

#[test]
#[ignore = "make live-all"]
fn eight_clients_exhaust_four_threads_of_uwsgi() -> anyhow::Result<()> {
    more_clients_than_slots(On::Uwsgi(1, 4), Gil::Calm)
}

#[test]
#[ignore = "make live-all"]
fn eight_clients_exhaust_four_threads_of_cheroot() -> anyhow::Result<()> {
    more_clients_than_slots(On::Cheroot(4), Gil::Contended)
}

#[test]
#[ignore = "make live-all"]
fn four_clients_do_not_fill_six_slots_of_uwsgi() -> anyhow::Result<()> {
    fewer_clients_than_slots(On::Uwsgi(2, 3), Gil::Calm)
}

#[test]
#[ignore = "make live-all"]
fn four_clients_do_not_fill_eight_threads_of_gunicorn() -> anyhow::Result<()> {
    fewer_clients_than_slots(On::Gthread(8), Gil::Contended)
}
