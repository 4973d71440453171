//! Waits for the interpreter.
//!
//! In: servers with the problem, and cured. Out: verdicts.

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
