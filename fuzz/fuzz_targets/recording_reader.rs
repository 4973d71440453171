//! A file as a recording: `tests/support/hostile/recording_reader.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use wsgi_trace_test_support::hostile::{mutate, recording_reader};

fuzz_target!(|bytes: &[u8]| recording_reader::body(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::recording(data, size, max_size, seed, &mut |bytes, size, max_size| fuzzer_mutate(bytes, size, max_size))
});
