//! Waits for another process.
//!
//! In: servers with the problem, and cured. Out: verdicts.

use crate::{is_named_and_cured, is_named_in_light_mode};

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn back_end_under_the_gil_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("back-end-under-the-gil")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn back_end_under_the_gil_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("back-end-under-the-gil")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn one_socket_in_two_workers_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("one-socket-in-two-workers")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn one_socket_in_two_workers_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("one-socket-in-two-workers")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn worker_stopped_from_outside_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("worker-stopped-from-outside")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn worker_stopped_from_outside_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("worker-stopped-from-outside")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn small_writes_and_late_acknowledgements_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("small-writes-and-late-acknowledgements")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn small_writes_and_late_acknowledgements_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("small-writes-and-late-acknowledgements")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn hung_before_the_trace_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("hung-before-the-trace")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn hung_before_the_trace_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("hung-before-the-trace")
}
