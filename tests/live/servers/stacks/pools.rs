//! A pool of connections that has run dry: requests wait inside the application, and neither slots nor the database are short.
//!
//! In: pools of two and of eight connections, behind eight threads. Out: verdicts against the application's clock around getting one.

use anyhow::ensure;
use wsgi_trace_tests::require_bpf;
use wsgi_trace_tests::require_stacks;
use wsgi_trace_tests::server::stack::{Application, On, Stack};

use super::{Gil, watch};

/// Connections of a pool that is too small.
const DRY: u32 = 2;
const ROUTES: &str = "--routes=/postgres/12";

/// The wait for the pool is said first, its figures are those of the clocks, and nobody is told to add threads.
fn says_that_the_pool_is_dry(stack: Stack, clients: &str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let seen =
        watch(&stack, Gil::Calm, &[clients, "--requests=250", "--seconds=20", "--keep-alive=5", ROUTES])?;
    seen.says_first("own-locks")?;
    seen.says_none_of(&["healthy", "loop-blocked", "loop-saturated"])?;
    seen.advises_no_more_threads()?;
    // So many had a connection; they also did a little before and after.
    let through = seen.figure("own-locks", "not_waiting_at_once_count")?;
    ensure!((through - f64::from(DRY)).abs() < 0.5, "{through} got through of a pool of {DRY}");
    let (lock, backend) = (seen.witnessed_seconds("lock"), seen.witnessed_seconds("backend"));
    let ratio = seen.figure("own-locks", "lock_wait_service_ratio")?;
    eprintln!(
        "  {ratio:.3} of service time, {through:.2} at once; by the clocks {lock:.2} s beside {backend:.2} s"
    );
    // The clocks leave out what Python and the server did; each request's own wait was compared before.
    let most = lock / (lock + backend);
    ensure!((0.5..=most).contains(&ratio), "{ratio} of service time, by the clocks {most} at most");
    Ok(())
}

/// With as many connections as threads there is no such finding.
fn says_nothing_of_a_pool(stack: Stack) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let load = ["--clients=8", "--think-ms=20", "--seconds=2", "--keep-alive=5", ROUTES];
    let seen = watch(&stack, Gil::Contended, &load)?;
    seen.says_first("back-end")?;
    seen.says_none_of(&["own-locks"])
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
