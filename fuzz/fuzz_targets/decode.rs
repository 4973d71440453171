//! Raw kernel records through decode and order: `tests/support/hostile/decode.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wsgi_trace_test_support::hostile::decode::body(bytes));
