//! A uwsgi packet: `tests/support/hostile/packet.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wsgi_trace_test_support::hostile::packet::body(bytes));
