//! Findings about the application's own locks: requests that wait for one another inside it.
//!
//! In: an application that asks its back end one request at a time, and one that asks as often as it is
//! asked. Out: cases.

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::cheroot::Cheroot;

use crate::case::{Case, Seen, between, load};

const IN_TURN: &[&[&str]] = &[&["--clients=5", "--routes=/truth/turn/20"]];
const AT_ONCE: &[&[&str]] = &[&["--clients=5", "--routes=/truth/backend/20"]];
/// How long the back end takes.
const ASKED_NS: u64 = 20_000_000;

/// What requests slept beyond their own time at the back end they waited for the lock.
fn waited_for_their_turn(seen: &Seen) -> anyhow::Result<()> {
    let beyond_ns: u64 =
        seen.witnessed()?.iter().map(|(_, line)| line.asleep_ns().saturating_sub(ASKED_NS)).sum();
    let beyond = beyond_ns as f64 / 1e9;
    between("request-seconds of waiting for a lock", seen.cost()?, (beyond * 0.9, beyond * 1.05))
}

crate::cases! {
    #[ignore = "make live"]
    requests_of_gunicorn_that_take_turns => Case {
        finding: "own-locks",
        sick: load(Settings::gthread(Version::V27, 1, 6), IN_TURN),
        well: load(Settings::gthread(Version::V27, 1, 6), AT_ONCE),
        witness: waited_for_their_turn,
    };
    #[ignore = "make live"]
    requests_of_cheroot_that_take_turns => Case {
        finding: "own-locks",
        sick: load(Cheroot { threads: 6 }, IN_TURN),
        well: load(Cheroot { threads: 6 }, AT_ONCE),
        witness: waited_for_their_turn,
    };
}
