//! A pool of connections that has run dry: requests wait inside the application, and neither slots nor the
//! database are short.
//!
//! In: pools of two and of eight connections, behind eight threads. Out: verdicts against the application's
//! clock around getting one.

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::require_stacks;
use wsgi_trace_test_support::server::stack::{Application, On, Stack};

use super::{Gil, Watched, watch};
use crate::window::window_around;

/// Connections of a pool that is too small.
const DRY: u32 = 2;
const ROUTES: &str = "--routes=/postgres/12";

/// The wait for the pool is said first, its figures are those of the clocks, and nobody is told to add
/// threads.
fn says_that_the_pool_is_dry(stack: Stack, clients: &str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let seen =
        watch(&stack, Gil::Calm, &[clients, "--requests=250", "--seconds=20", "--keep-alive=5", ROUTES])?;
    seen.says_first("back-end")?;
    seen.says_none_of(&["healthy", "loop-blocked"])?;
    seen.advises_no_more_threads()?;
    // Behind each wait for a connection is one who has it, and asks the database.
    let inflicted = seen.figure("back-end", "inflicted_seconds")?;
    let waited = seen.witnessed_seconds("lock");
    eprintln!(
        "  {inflicted:.2} s behind others at the back end; by the clocks {waited:.2} s for a connection"
    );
    ensure!(inflicted >= waited * 0.5, "{inflicted} s behind others, by the clocks {waited}");
    Ok(())
}

/// With as many connections as threads there is no such finding.
fn says_nothing_of_a_pool(stack: Stack) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let load = ["--clients=8", "--think-ms=20", "--seconds=2", "--keep-alive=5", ROUTES];
    let seen = watch(&stack, Gil::Contended, &load)?;
    seen.says_none_of(&["back-end", "sleeping", "lock-not-released"])
}

fn django(on: On, pool: u32) -> Stack {
    Stack::new(Application::Django, on, pool)
}

fn flask(on: On, pool: u32) -> Stack {
    Stack::new(Application::Flask, on, pool)
}

#[test]
#[ignore = "make live-all"]
fn django_waits_for_psycopg_s_pool_on_gunicorn() -> anyhow::Result<()> {
    says_that_the_pool_is_dry(django(On::Gthread(8), DRY), "--clients=8")
}

#[test]
#[ignore = "make live-all"]
fn sqlalchemy_s_pool_is_dry_on_waitress() -> anyhow::Result<()> {
    says_that_the_pool_is_dry(flask(On::Waitress(8), DRY), "--clients=8")
}

/// More clients than threads: some wait for a thread that waits for a connection.
#[test]
#[ignore = "make live-all"]
fn sqlalchemy_s_pool_is_dry_on_a_full_cheroot() -> anyhow::Result<()> {
    says_that_the_pool_is_dry(flask(On::Cheroot(8), DRY), "--clients=12")
}

#[test]
#[ignore = "make live-all"]
fn django_s_pool_is_large_enough_on_gunicorn() -> anyhow::Result<()> {
    says_nothing_of_a_pool(django(On::Gthread(8), 8))
}

#[test]
#[ignore = "make live-all"]
fn sqlalchemy_s_pool_is_large_enough_on_waitress() -> anyhow::Result<()> {
    says_nothing_of_a_pool(flask(On::Waitress(8), 8))
}

/// Connections of a pool that is large enough for eight threads.
const LARGE: u32 = 8;
/// Of a wait of 40 ms that the pool lets two through at a time, a larger one lets four times as many.
const WAITS: &[&str] =
    &["--clients=16", "--requests=240", "--seconds=30", "--keep-alive=1000", "--routes=/postgres/40"];
/// How much faster the larger pool must be, of the four times that it could.
const RISES_AT_LEAST: f64 = 2.0;
/// What is no change; threads that helped would let up to twice as many through.
const SAME_WITHIN: f64 = 0.15;

/// What a stack got through by its clients' own clocks (requests a second), and what the report says of it.
fn measured(stack: Stack) -> anyhow::Result<(f64, Watched)> {
    let _alone = exclusive()?;
    let window = window_around(&stack, WAITS)?;
    let requests = &window.sent.requests;
    let failed = requests.iter().filter(|sent| sent.status != Some(200)).count();
    ensure!(failed == 0, "{failed} of {} requests failed", requests.len());
    let first_ns = requests.iter().map(|sent| sent.sent_ns).min().context("no requests")?;
    let last_ns = requests.iter().map(|sent| sent.end_ns).max().context("no requests")?;
    let a_second = requests.len() as f64 * 1e9 / (last_ns - first_ns) as f64;
    let findings = window.traced.value("/findings")?.as_array().context("no findings")?.clone();
    let watched = Watched { window, findings };
    eprintln!("{stack:?}: {a_second:.1} requests a second; present: {:?}", watched.present());
    Ok((a_second, watched))
}

/// A larger pool, as the finding advises, lets more through and ends the finding; more threads, of which it
/// says that they would wait as well, do not.
fn the_advice_holds(dry: Stack, more_threads: On) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let (before, seen) = measured(dry)?;
    seen.says_first("back-end")?;
    seen.advises_no_more_threads()?;
    let (with_threads, seen) = measured(Stack { on: more_threads, ..dry })?;
    seen.says_first("back-end")?;
    let (with_pool, _) = measured(Stack { pool: LARGE, ..dry })?;
    let (threads, pool) = (with_threads / before, with_pool / before);
    eprintln!("  {pool:.2} times as many with a larger pool, {threads:.2} with more threads");
    ensure!(pool >= RISES_AT_LEAST, "{before} requests a second, {with_pool} with a larger pool");
    ensure!(
        (threads - 1.0).abs() <= SAME_WITHIN,
        "{before} requests a second, {with_threads} with more threads"
    );
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn a_larger_pool_of_psycopg_s_lets_more_through_and_more_threads_do_not() -> anyhow::Result<()> {
    the_advice_holds(django(On::Gthread(8), DRY), On::Gthread(16))
}

#[test]
#[ignore = "make live-all"]
fn a_larger_pool_of_sqlalchemy_s_lets_more_through_and_more_threads_do_not() -> anyhow::Result<()> {
    the_advice_holds(flask(On::Waitress(8), DRY), On::Waitress(16))
}
