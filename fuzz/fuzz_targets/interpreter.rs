//! What is read of an interpreter: `tests/support/hostile.rs` says what must hold.
//!
//! In: bytes. Out: nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wsgi_trace::fact::python::read_hostile(bytes));
