//! Bytes of a client of `serve`: `tests/support/hostile/http.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wsgi_trace_test_support::hostile::http::body(bytes));
