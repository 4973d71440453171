//! A whole recording through every form of report: `tests/support/hostile/report.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use wsgi_trace_test_support::hostile::{mutate, report};

fuzz_target!(|bytes: &[u8]| report::body(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::recording(data, size, max_size, seed, &mut |bytes, size, max_size| fuzzer_mutate(bytes, size, max_size))
});
