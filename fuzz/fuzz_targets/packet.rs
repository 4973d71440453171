//! A uwsgi packet of any bytes: nothing panics, before and after redaction, and a whole one ends within its bytes.
//!
//! In: the bytes after a packet's first. Out: nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_core::machine::http1::packet::{Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    let mut packet = vec![0];
    packet.extend_from_slice(bytes);
    if let Parsed::Whole(_, length_bytes, _) = parse(&packet) {
        assert!(length_bytes <= packet.len());
    }
});
