//! Findings about event loops: one that is held.
//!
//! In: servers whose application blocks their loop. Out: cases. It blocks by sleeping, so that the machine's
//! cores are not what is short.

use wsgi_trace_test_support::server::gevent::GunicornGevent;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};

use crate::case::{Case, Seen, load, same};

const BLOCKING: &[&[&str]] = &[&["--clients=1", "--routes=/block/60"], QUICK];
const SLEEPING: &[&[&str]] = &[&["--clients=1", "--routes=/sleep/60"], QUICK];
const QUICK: &[&str] = &["--clients=3", "--think-ms=10", "--routes=/fast"];

fn uvicorn(workers: usize) -> Uvicorn {
    Uvicorn { application: Application::Asgi, workers }
}

fn gevent(workers: usize) -> GunicornGevent {
    GunicornGevent { workers }
}

/// No other request could be served while one of those that block was.
fn one_loop(seen: &Seen) -> anyhow::Result<()> {
    let blocked = seen.sent.iter().filter(|sent| sent.path.starts_with("/block")).count() as f64;
    let waited = seen.cost()?;
    eprintln!("  {blocked} requests blocked the loop, others waited {waited} s");
    same("loops", seen.traced.value("/event_loops")?.as_array().map_or(0, Vec::len) as f64, 1.0)
}

crate::cases! {
    #[ignore = "make live"]
    a_blocked_loop_of_uvicorn => Case {
        finding: "loop-blocked",
        sick: load(uvicorn(1), BLOCKING),
        well: load(uvicorn(1), SLEEPING),
        witness: one_loop,
    };
    #[ignore = "make live"]
    a_blocked_loop_of_gevent => Case {
        finding: "loop-blocked",
        sick: load(gevent(1), BLOCKING),
        well: load(gevent(1), SLEEPING),
        witness: one_loop,
    };
}
