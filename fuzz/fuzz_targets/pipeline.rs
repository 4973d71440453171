//! Records and marks of windows, built of the input, through the pipeline:
//! `tests/support/hostile/pipeline.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wsgi_trace_test_support::hostile::pipeline::body(bytes));
