//! What is read of an interpreter: its file, its memory, the lines that say where it is.
//!
//! In: bytes, taken for each of them. Out: no panic, no endless loop.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wsgi_trace::fact::python::read_hostile(bytes));
