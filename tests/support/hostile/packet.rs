//! A uwsgi packet of any bytes: nothing panics, before and after redaction, and a whole one ends within its
//! bytes.
//!
//! In: the bytes after a packet's first. Out: nothing.
use profiler_core::machine::wire::http1::packet::{Parsed, parse};

/// Takes one input.
pub fn body(bytes: &[u8]) {
    let mut packet = vec![0];
    packet.extend_from_slice(bytes);
    if let Parsed::Whole(_, length_bytes, _) = parse(&packet) {
        assert!(length_bytes <= packet.len());
    }
}
