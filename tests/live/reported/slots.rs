//! Waits for a slot, or for a process that serves.
//!
//! In: servers with the problem, and cured. Out: verdicts.

use crate::{is_named_and_cured, is_named_in_light_mode};

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn pool_smaller_than_threads_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("pool-smaller-than-threads")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn pool_smaller_than_threads_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("pool-smaller-than-threads")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn websockets_hold_threads_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("websockets-hold-threads")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn websockets_hold_threads_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("websockets-hold-threads")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn lock_held_at_the_fork_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("lock-held-at-the-fork")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn lock_held_at_the_fork_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("lock-held-at-the-fork")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn router_gives_up_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("router-gives-up")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn router_gives_up_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("router-gives-up")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn reload_waits_for_a_request_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("reload-waits-for-a-request")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn reload_waits_for_a_request_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("reload-waits-for-a-request")
}
