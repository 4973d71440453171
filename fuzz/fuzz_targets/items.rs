//! Records and facts of any content through the pipeline and every form of report:
//! `tests/support/hostile/items.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use wsgi_trace_test_support::hostile::{items, mutate};

fuzz_target!(|bytes: &[u8]| items::body(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::framed(data, size, max_size, seed, &mut |bytes, size, max_size| fuzzer_mutate(bytes, size, max_size))
});
