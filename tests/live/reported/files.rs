//! Waits for files, pipes and locks on files.
//!
//! In: servers with the problem, and cured. Out: verdicts.

use crate::{is_named_and_cured, is_named_in_light_mode};

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn heartbeat_on_a_slow_disk_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("heartbeat-on-a-slow-disk")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn heartbeat_on_a_slow_disk_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("heartbeat-on-a-slow-disk")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn log_into_a_full_pipe_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("log-into-a-full-pipe")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn log_into_a_full_pipe_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("log-into-a-full-pipe")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn writers_of_one_database_is_named_and_cured() -> anyhow::Result<()> {
    is_named_and_cured("writers-of-one-database")
}

#[test]
#[ignore = "make live: it takes long, and wants a quiet machine"]
fn writers_of_one_database_is_named_in_light_mode() -> anyhow::Result<()> {
    is_named_in_light_mode("writers-of-one-database")
}
